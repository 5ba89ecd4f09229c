"""Binary packets: their types, their arguments, packing and incremental parsing.

A packet is a 12-byte header (magic, u32 type, u32 body length, big-endian)
and a body of arguments separated by NUL. The last argument is the rest of the
body and may hold NULs itself, so a body is split as often as its type has
separators and not once more.

A body over the limit is not kept. Where its arguments begin with names, which
tell whose it is, these are given out as soon as they are here, and the rest of
the body goes nowhere. The same happens once there is not enough memory for a
payload: what was kept of it is freed first.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

from gearmanny.errors import ProtocolError
from gearmanny.payload.sizes import MAX_PACKET, Oversized
from gearmanny.protocol.incoming import IncomingPayload, Packet

REQUEST = b"\0REQ"
"""Magic of what clients and workers send to the job server."""
RESPONSE = b"\0RES"
"""Magic of what the job server sends."""

_LONGEST_NAMES = 16 * 1024
"""Bytes of all arguments but the last. gearmand 1.1.20 takes no more than 8 KiB of them."""

_HEADER = struct.Struct(">4sII")


class PacketType(enum.IntEnum):
    """The packet types of gearmand 1.1.20 (its PROTOCOL file)."""

    TEXT = 0
    """Not on the wire: a line of the text commands, which may stand between requests."""
    CAN_DO = 1
    CANT_DO = 2
    RESET_ABILITIES = 3
    PRE_SLEEP = 4
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    GRAB_JOB = 9
    NO_JOB = 10
    JOB_ASSIGN = 11
    WORK_STATUS = 12
    WORK_COMPLETE = 13
    WORK_FAIL = 14
    GET_STATUS = 15
    ECHO_REQ = 16
    ECHO_RES = 17
    SUBMIT_JOB_BG = 18
    ERROR = 19
    STATUS_RES = 20
    SUBMIT_JOB_HIGH = 21
    SET_CLIENT_ID = 22
    CAN_DO_TIMEOUT = 23
    ALL_YOURS = 24
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
    SUBMIT_JOB_SCHED = 35
    SUBMIT_JOB_EPOCH = 36
    SUBMIT_REDUCE_JOB = 37
    SUBMIT_REDUCE_JOB_BACKGROUND = 38
    GRAB_JOB_ALL = 39
    GET_STATUS_UNIQUE = 41
    STATUS_RES_UNIQUE = 42


_WORK_SEPARATORS = {
    PacketType.WORK_STATUS: 2,
    PacketType.WORK_COMPLETE: 1,
    PacketType.WORK_FAIL: 0,
    PacketType.WORK_EXCEPTION: 1,
    PacketType.WORK_DATA: 1,
    PacketType.WORK_WARNING: 1,
}
"""What a job server passes on from worker to client."""

_RESPONSES = {
    **_WORK_SEPARATORS,
    PacketType.NOOP: 0,
    PacketType.JOB_CREATED: 0,
    PacketType.NO_JOB: 0,
    PacketType.ERROR: 1,
    PacketType.STATUS_RES: 4,
    PacketType.OPTION_RES: 0,
    PacketType.JOB_ASSIGN_UNIQ: 3,
    PacketType.STATUS_RES_UNIQUE: 5,
}
"""NULs between the arguments of each packet that a job server sends us."""

_REQUESTS = {
    **_WORK_SEPARATORS,
    PacketType.CAN_DO: 0,
    PacketType.CANT_DO: 0,
    PacketType.RESET_ABILITIES: 0,
    PacketType.PRE_SLEEP: 0,
    PacketType.SUBMIT_JOB: 2,
    PacketType.GRAB_JOB: 0,
    PacketType.GET_STATUS: 0,
    PacketType.ECHO_REQ: 0,
    PacketType.SUBMIT_JOB_BG: 2,
    PacketType.SUBMIT_JOB_HIGH: 2,
    PacketType.SET_CLIENT_ID: 0,
    PacketType.CAN_DO_TIMEOUT: 1,
    PacketType.ALL_YOURS: 0,
    PacketType.OPTION_REQ: 0,
    PacketType.GRAB_JOB_UNIQ: 0,
    PacketType.SUBMIT_JOB_HIGH_BG: 2,
    PacketType.SUBMIT_JOB_LOW: 2,
    PacketType.SUBMIT_JOB_LOW_BG: 2,
    PacketType.SUBMIT_JOB_SCHED: 0,
    PacketType.SUBMIT_JOB_EPOCH: 3,
    PacketType.SUBMIT_REDUCE_JOB: 0,
    PacketType.SUBMIT_REDUCE_JOB_BACKGROUND: 0,
    PacketType.GRAB_JOB_ALL: 0,
    PacketType.GET_STATUS_UNIQUE: 0,
}
"""NULs between the arguments of each packet that a job server is sent. None where it answers
that it does not do that."""

_LONGEST_LINE = 8 * 1024
"""Bytes of a text command."""

_WITH_PAYLOAD = {
    PacketType.WORK_COMPLETE,
    PacketType.WORK_EXCEPTION,
    PacketType.WORK_DATA,
    PacketType.WORK_WARNING,
    PacketType.JOB_ASSIGN_UNIQ,
    PacketType.SUBMIT_JOB,
    PacketType.SUBMIT_JOB_BG,
    PacketType.SUBMIT_JOB_HIGH,
    PacketType.SUBMIT_JOB_HIGH_BG,
    PacketType.SUBMIT_JOB_LOW,
    PacketType.SUBMIT_JOB_LOW_BG,
    PacketType.SUBMIT_JOB_EPOCH,
}
"""Packets that may be over our limit without the connection being at fault: what it passes on for
strangers, and what one of many callers or jobs behind it made too large. That one fails alone."""


def pack(type: PacketType, *arguments: bytes, magic: bytes = REQUEST) -> tuple[bytes, bytes]:
    """Returns the bytes of one packet: what precedes the last argument, and that argument as it
    is, because it may be large. Only the last argument may hold NULs."""
    *names, last = arguments or (b"",)
    prefix = b"\0".join((*names, b""))
    return _HEADER.pack(magic, type, len(prefix) + len(last)) + prefix, last


class PacketParser:
    """Cuts a stream of bytes into packets: responses of a job server, or requests to one.

    Between requests, lines of text may stand: what does not begin with NUL is one.
    """

    def __init__(
        self, max_packet: int = MAX_PACKET, *, magic: bytes = RESPONSE, dropped_at_once: bool = True
    ) -> None:
        """
        Args:
            max_packet: bytes of the longest body to keep.
            magic: `RESPONSE` or `REQUEST`, what every packet begins with.
            dropped_at_once: whether a packet is given out as soon as it is known that its payload
                is not kept, or when all of that has arrived.
        """
        self._max_packet = max_packet
        self._magic = magic
        self._separators = _RESPONSES if magic == RESPONSE else _REQUESTS
        self._buffer = bytearray()
        self._needed = _HEADER.size
        self._payload = IncomingPayload(dropped_at_once=dropped_at_once)

    @property
    def begun(self) -> int:
        """The bytes that are kept of a packet that is not whole yet."""
        return len(self._buffer) + self._payload.begun

    def drop_payload(self) -> None:
        """Keeps nothing of a packet that is not whole yet: `Oversized` stands for its payload.

        Raises:
            ProtocolError: it has no payload that may be missing. The stream cannot be read
                further: close the connection.
        """
        self._payload.drop()
        if self._buffer:
            raise self._no_memory()

    def feed(self, received: bytes | memoryview) -> Iterator[Packet]:
        """Takes the bytes that arrived; yields the packets that they completed.

        What is whole comes out before what is wrong raises. Consume it to its end. `Oversized`
        stands in the place of a payload over the limit, or without enough memory for it.

        Raises:
            ProtocolError: on what is not sent in this direction, and on too long a packet
                without a payload. The stream cannot be read further: close the connection.
        """
        if self._payload.missing:
            packet, received = self._payload.take(received)
            if packet is not None:
                yield packet
        data = self._with_what_was_left(received) if self._buffer else bytes(received)
        start, end, expected, separators_of = 0, len(data), self._magic, self._separators
        while start < end:
            body = start + _HEADER.size
            if body > end or data[start]:
                if not (line := self._line(data, start)):
                    break
                yield PacketType.TEXT, [line]
                start += len(line)
                continue
            magic, type_, length = _HEADER.unpack_from(data, start)
            separators = separators_of.get(type_)
            if magic != expected or separators is None:
                raise ProtocolError(self._refusal(magic, type_))
            stop = body + length
            if stop > end or length > self._max_packet:
                names = self._names(type_, separators, length, data, body)
                if names is None:
                    break
                body += sum(map(len, names)) + separators
                exceeded = self._max_packet if length > self._max_packet else None
                packet, rest = self._payload.begin(
                    memoryview(data)[body:], type_, names, stop - body, exceeded
                )
                start = end - len(rest)
                if packet is not None:
                    yield packet
                continue
            # Not split(): that needs a copy of the body first, which may be large.
            arguments: list[bytes] = []
            for _ in range(separators):
                separator = data.find(b"\0", body, stop)
                if separator < 0:
                    raise ProtocolError(_too_few(type_, separators, len(arguments)))
                arguments.append(data[body:separator])
                body = separator + 1
            try:
                arguments.append(data[body:stop])
            except MemoryError:
                if type_ not in _WITH_PAYLOAD:
                    raise
                arguments.append(Oversized.of(stop - body, None))
            start = stop
            yield type_, arguments
        if start < end:
            self._buffer += data[start:]

    def _with_what_was_left(self, data: bytes | memoryview) -> bytes:
        """Returns the bytes to look at now: none while what is begun cannot be whole."""
        try:
            self._buffer += data
            # A large body arrives in many pieces: look at it again only when it is whole.
            if len(self._buffer) < self._needed:
                return b""
            whole = bytes(self._buffer)
        except MemoryError:
            raise self._no_memory() from None
        self._buffer.clear()
        return whole

    def _no_memory(self) -> ProtocolError:
        self._buffer.clear()
        return ProtocolError(f"there is not enough memory for a packet of {self._needed} bytes")

    def _line(self, data: bytes, start: int) -> bytes:
        """Returns the line of text that begins here. Empty when it, or a header, is not whole."""
        self._needed = _HEADER.size
        if self._magic == RESPONSE or not data[start]:
            if len(data) - start >= _HEADER.size:
                magic, type_, _ = _HEADER.unpack_from(data, start)
                raise ProtocolError(self._refusal(magic, type_))
            return b""
        line_end = data.find(b"\n", start, start + _LONGEST_LINE) + 1
        if line_end:
            return data[start:line_end]
        if len(data) - start >= _LONGEST_LINE:
            raise ProtocolError(f"a line is over the limit of {_LONGEST_LINE} bytes")
        self._needed = 0
        return b""

    def _names(
        self, type: int, separators: int, length: int, data: bytes, body: int
    ) -> list[bytes] | None:
        """Returns all arguments but the last, of a body that is over the limit or not all here;
        None if they are not all here, or not worth looking for yet."""
        oversized = length > self._max_packet
        self._needed = _HEADER.size + length
        if type not in _WITH_PAYLOAD:
            if not oversized:
                return None
            raise ProtocolError(
                f"a packet of {length} bytes is over the limit of {self._max_packet} bytes"
            )
        longest = min(length, _LONGEST_NAMES)
        begun = data[body : body + longest]
        *names, _ = begun.split(b"\0", separators)
        if len(names) == separators:
            return names
        if len(begun) < longest:
            self._needed = _HEADER.size + len(begun) + 1
        elif oversized:
            raise ProtocolError(_too_few(type, separators, len(names)))
        return None

    def _refusal(self, magic: bytes, type: int) -> str:
        sender = "job server" if self._magic == RESPONSE else "client or worker"
        if magic != self._magic:
            return f"not a Gearman {sender}: a packet begins with {magic!r}, not {self._magic!r}"
        return f"no {sender} sends packets of type {type}"


def _too_few(type: int, separators: int, ended: int) -> str:
    return f"{PacketType(type).name} takes {separators + 1} arguments, the peer sent {ended + 1}"
