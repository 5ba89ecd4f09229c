"""Binary packets: their types, their arguments, packing and incremental parsing.

A packet is a 12-byte header (magic, u32 type, u32 body length, big-endian)
and a body of arguments separated by NUL. The last argument is the rest of the
body and may hold NULs itself, so a body is split as often as its type has
separators and not once more.

A body over the limit is not kept. Where its arguments begin with names, which
tell whose it is, these are given out as soon as they are here, and the rest of
the body goes nowhere.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

from gearmanny.errors import ProtocolError
from gearmanny.limits import MAX_PACKET, Oversized

REQUEST = b"\0REQ"
"""Magic of what clients and workers send to the job server."""
RESPONSE = b"\0RES"
"""Magic of what the job server sends."""

_LONGEST_NAMES = 16 * 1024
"""Bytes of all arguments but the last. gearmand 1.1.20 takes no more than 8 KiB of them."""

_HEADER = struct.Struct(">4sII")


class PacketType(enum.IntEnum):
    """The packet types of gearmand 1.1.20 that clients and workers meet (its PROTOCOL file)."""

    CAN_DO = 1
    CANT_DO = 2
    PRE_SLEEP = 4
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    NO_JOB = 10
    WORK_STATUS = 12
    WORK_COMPLETE = 13
    WORK_FAIL = 14
    GET_STATUS = 15
    SUBMIT_JOB_BG = 18
    ERROR = 19
    STATUS_RES = 20
    SUBMIT_JOB_HIGH = 21
    SET_CLIENT_ID = 22
    WORK_EXCEPTION = 25
    OPTION_REQ = 26
    OPTION_RES = 27
    WORK_DATA = 28
    WORK_WARNING = 29
    GRAB_JOB_UNIQ = 30
    JOB_ASSIGN_UNIQ = 31
    SUBMIT_JOB_HIGH_BG = 32
    SUBMIT_JOB_LOW = 33
    SUBMIT_JOB_LOW_BG = 34
    SUBMIT_JOB_EPOCH = 36
    GET_STATUS_UNIQUE = 41
    STATUS_RES_UNIQUE = 42


_SEPARATORS = {
    PacketType.NOOP: 0,
    PacketType.JOB_CREATED: 0,
    PacketType.NO_JOB: 0,
    PacketType.WORK_STATUS: 2,
    PacketType.WORK_COMPLETE: 1,
    PacketType.WORK_FAIL: 0,
    PacketType.ERROR: 1,
    PacketType.STATUS_RES: 4,
    PacketType.WORK_EXCEPTION: 1,
    PacketType.OPTION_RES: 0,
    PacketType.WORK_DATA: 1,
    PacketType.WORK_WARNING: 1,
    PacketType.JOB_ASSIGN_UNIQ: 3,
    PacketType.STATUS_RES_UNIQUE: 5,
}
"""NULs between the arguments of each packet that a job server sends us."""

_WITH_PAYLOAD = {
    PacketType.WORK_COMPLETE,
    PacketType.WORK_EXCEPTION,
    PacketType.WORK_DATA,
    PacketType.WORK_WARNING,
    PacketType.JOB_ASSIGN_UNIQ,
}
"""Packets that strangers fill, and that may therefore be over our limit without any fault of the
job server's."""

Packet = tuple[int, list[bytes]]
"""Its type, a `PacketType` as a plain int, and its arguments: as many as the type has. A packet
without arguments holds one empty one."""


def pack(type: PacketType, *arguments: bytes) -> tuple[bytes, bytes]:
    """Returns the bytes of one request: what precedes the last argument, and that argument as it
    is, because it may be large. Only the last argument may hold NULs."""
    *names, last = arguments or (b"",)
    prefix = b"\0".join((*names, b""))
    return _HEADER.pack(REQUEST, type, len(prefix) + len(last)) + prefix, last


class PacketParser:
    """Cuts a stream of bytes from the job server into packets."""

    def __init__(self, max_packet: int = MAX_PACKET) -> None:
        """Args: max_packet: bytes of the longest body to keep."""
        self._max_packet = max_packet
        self._buffer = bytearray()
        self._needed = _HEADER.size
        self._unwanted = 0
        """Bytes still to come of a body that is not kept."""

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Takes the bytes that arrived; yields the packets that they completed.

        What is whole comes out before what is wrong raises. Consume it to its end. Of a payload
        over the limit, `Oversized` stands in its place.

        Raises:
            ProtocolError: on a wrong magic, a type that no job server sends, too
                few arguments, or too long a body of a packet without a payload. The
                stream cannot be read further: close the connection.
        """
        if self._unwanted:
            skipped = min(self._unwanted, len(data))
            self._unwanted -= skipped
            data = data[skipped:]
        if self._buffer:
            self._buffer += data
            # A large body arrives in many pieces: look at it again only when it is whole.
            if len(self._buffer) < self._needed:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        start, end = 0, len(data)
        while True:
            body = start + _HEADER.size
            if body > end:
                self._needed = _HEADER.size
                break
            magic, type_, length = _HEADER.unpack_from(data, start)
            separators = _SEPARATORS.get(type_)
            if magic != RESPONSE or separators is None:
                raise ProtocolError(_refusal(magic, type_))
            stop = body + length
            if length > self._max_packet:
                names = self._names(type_, separators, length, data, body)
                if names is None:
                    self._needed = end - start + 1
                    break
                left = length - sum(map(len, names)) - separators
                start = min(stop, end)
                self._unwanted = stop - start
                yield type_, [*names, Oversized.of(left, self._max_packet)]
                continue
            if stop > end:
                self._needed = stop - start
                break
            # Not split(): that needs a copy of the body first, which may be large.
            arguments: list[bytes] = []
            for _ in range(separators):
                separator = data.find(b"\0", body, stop)
                if separator < 0:
                    raise ProtocolError(_too_few(type_, separators, len(arguments)))
                arguments.append(data[body:separator])
                body = separator + 1
            arguments.append(data[body:stop])
            start = stop
            yield type_, arguments
        if start < end:
            self._buffer += data[start:]

    def _names(
        self, type: int, separators: int, length: int, data: bytes, body: int
    ) -> list[bytes] | None:
        """Returns all arguments but the last of a body over the limit; None: not all here yet."""
        if type not in _WITH_PAYLOAD:
            raise ProtocolError(
                f"a packet of {length} bytes is over the limit of {self._max_packet} bytes"
            )
        longest = min(length, _LONGEST_NAMES)
        begun = data[body : body + longest]
        *names, _ = begun.split(b"\0", separators)
        if len(names) == separators:
            return names
        if len(begun) == longest:
            raise ProtocolError(_too_few(type, separators, len(names)))
        return None


def _refusal(magic: bytes, type: int) -> str:
    if magic != RESPONSE:
        return f"not a Gearman job server: a packet begins with {magic!r}, not {RESPONSE!r}"
    return f"no job server sends packets of type {type}"


def _too_few(type: int, separators: int, ended: int) -> str:
    return f"{PacketType(type).name} takes {separators + 1} arguments, the peer sent {ended + 1}"
