"""Binary packets: their types, their arguments, packing and incremental parsing.

A packet is a 12-byte header (magic, u32 type, u32 body length, big-endian)
and a body of arguments separated by NUL. The last argument is the rest of the
body and may hold NULs itself, so a body is split as often as its type has
separators and not once more.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

from gearmanny.errors import ProtocolError

REQUEST = b"\0REQ"
"""Magic of what clients and workers send to the job server."""
RESPONSE = b"\0RES"
"""Magic of what the job server sends."""

MAX_PACKET = 256 * 1024 * 1024
"""Bytes of the longest body that is accepted. A header is 12 bytes from a
stranger: it must not be able to make us reserve 4 GB."""

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
    SUBMIT_JOB_BG = 18
    ERROR = 19
    SET_CLIENT_ID = 22
    WORK_EXCEPTION = 25
    OPTION_REQ = 26
    OPTION_RES = 27
    WORK_DATA = 28
    WORK_WARNING = 29
    GRAB_JOB_UNIQ = 30
    JOB_ASSIGN_UNIQ = 31


_SEPARATORS = {
    PacketType.NOOP: 0,
    PacketType.JOB_CREATED: 0,
    PacketType.NO_JOB: 0,
    PacketType.WORK_STATUS: 2,
    PacketType.WORK_COMPLETE: 1,
    PacketType.WORK_FAIL: 0,
    PacketType.ERROR: 1,
    PacketType.WORK_EXCEPTION: 1,
    PacketType.OPTION_RES: 0,
    PacketType.WORK_DATA: 1,
    PacketType.WORK_WARNING: 1,
    PacketType.JOB_ASSIGN_UNIQ: 3,
}
"""NULs between the arguments of each packet that a job server sends us."""


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
        """Args: max_packet: bytes of the longest body to accept."""
        self._max_packet = max_packet
        self._buffer = bytearray()
        self._needed = _HEADER.size

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Takes the bytes that arrived; yields the packets that they completed.

        What is whole comes out before what is wrong raises. Consume it to its end.

        Raises:
            ProtocolError: on a wrong magic, a type that no job server sends, too
                few arguments or too long a body. The stream cannot be read
                further: close the connection.
        """
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
            if magic != RESPONSE or separators is None or length > self._max_packet:
                raise ProtocolError(self._refusal(magic, type_, length))
            stop = body + length
            if stop > end:
                self._needed = stop - start
                break
            # Not split(): that needs a copy of the body first, which may be large.
            arguments: list[bytes] = []
            for _ in range(separators):
                separator = data.find(b"\0", body, stop)
                if separator < 0:
                    raise ProtocolError(
                        f"{PacketType(type_).name} takes {separators + 1} arguments, "
                        f"the peer sent {len(arguments) + 1}"
                    )
                arguments.append(data[body:separator])
                body = separator + 1
            arguments.append(data[body:stop])
            start = stop
            yield type_, arguments
        if start < end:
            self._buffer += data[start:]

    def _refusal(self, magic: bytes, type: int, length: int) -> str:
        if magic != RESPONSE:
            return f"not a Gearman job server: a packet begins with {magic!r}, not {RESPONSE!r}"
        if type not in _SEPARATORS:
            return f"no job server sends packets of type {type}"
        return f"a packet of {length} bytes is over the limit of {self._max_packet} bytes"
