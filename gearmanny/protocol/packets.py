"""Binary packets: their types and arguments, packing, and incremental parsing.

A packet is a 12-byte header (magic, u32 type, u32 body length, big-endian)
and a body of arguments separated by NUL. The last argument is the rest of the
body and may contain NULs itself, so a body is split exactly as often as its
type has separators.

A body over the limit is discarded. If its last argument is a payload, the
arguments before it, which tell whose payload it is, are still delivered, as soon
as they have arrived. The same happens if there is not enough memory for a
payload: the part that was stored is freed first.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator

from gearmanny.errors import ProtocolError
from gearmanny.payload.sizes import MAX_PACKET, Oversized
from gearmanny.protocol.incoming import IncomingPayload, Packet

REQUEST = b"\0REQ"
"""Magic of the packets that clients and workers send."""
RESPONSE = b"\0RES"
"""Magic of the packets that the job server sends."""

_LONGEST_NAMES = 16 * 1024
"""Bytes of all arguments but the last. gearmand 1.1.20 accepts at most 8 KiB."""

_HEADER = struct.Struct(">4sII")


class PacketType(enum.IntEnum):
    """The packet types of gearmand 1.1.20 (its PROTOCOL file)."""

    TEXT = 0
    """A text command, which may be sent between requests. Not a type on the wire."""
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
"""NULs between the arguments of each packet that a job server forwards from worker to client."""

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
"""NULs between the arguments of each packet that a job server sends."""

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
"""NULs between the arguments of each packet that a job server receives. 0 for those that it does
not support and answers with an ERROR."""

_LONGEST_LINE = 8 * 1024
"""Bytes of the longest text command."""

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
"""Packets with a payload. One of these over the limit is the fault of a single job or caller, and
only that one fails; any other packet over the limit is the fault of the peer."""


def pack(type: PacketType, *arguments: bytes, magic: bytes = REQUEST) -> tuple[bytes, bytes]:
    """Packs a packet.

    Args:
        type: its type.
        arguments: its arguments. Only the last may contain NULs.
        magic: `REQUEST` or `RESPONSE`.

    Returns:
        The bytes in two parts: everything before the last argument, and the last argument itself,
        which is not copied because it may be large.
    """
    *names, last = arguments or (b"",)
    prefix = b"\0".join((*names, b""))
    return _HEADER.pack(magic, type, len(prefix) + len(last)) + prefix, last


class PacketParser:
    """Splits a stream of bytes into packets: the responses of a job server, or requests to one.

    Between requests there may be lines of text, which do not begin with a NUL.
    """

    def __init__(
        self,
        max_packet: int = MAX_PACKET,
        *,
        magic: bytes = RESPONSE,
        dropped_at_once: bool = True,
    ) -> None:
        """
        Args:
            max_packet: the longest body to keep, in bytes.
            magic: the magic of the packets: `RESPONSE` or `REQUEST`.
            dropped_at_once: whether a packet whose payload is discarded is delivered before all
                of that payload has arrived.
        """
        self._max_packet = max_packet
        self._magic = magic
        self._separators = _RESPONSES if magic == RESPONSE else _REQUESTS
        self._buffer = bytearray()
        self._needed = _HEADER.size
        self._payload = IncomingPayload(dropped_at_once=dropped_at_once)

    def feed(self, received: bytes | memoryview) -> Iterator[Packet]:
        """Parses received bytes; yields the packets that are complete. Exhaust the iterator.

        `Oversized` replaces a payload that is over the limit or does not fit into memory.

        Raises:
            ProtocolError: the bytes are not packets that are sent in this direction, or a packet
                without a payload is over the limit. Close the connection.
        """
        if self._payload.missing:
            packet, received = self._payload.take(received)
            if packet is not None:
                yield packet
        data = self._with_buffered(received) if self._buffer else bytes(received)
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
            # Not split(), which would need a copy of the body, and that may be large.
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

    def _with_buffered(self, data: bytes | memoryview) -> bytes:
        """Returns the bytes to parse: none as long as the packet at their start is incomplete."""
        try:
            self._buffer += data
            # A large body arrives in many pieces: parse it only when it is complete.
            if len(self._buffer) < self._needed:
                return b""
            whole = bytes(self._buffer)
        except MemoryError:
            self._buffer.clear()
            raise ProtocolError(
                f"there is not enough memory for a packet of {self._needed} bytes"
            ) from None
        self._buffer.clear()
        return whole

    def _line(self, data: bytes, start: int) -> bytes:
        """Returns the line of text that begins here; empty if it, or a header, is incomplete."""
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
            raise ProtocolError(f"a text command is over the limit of {_LONGEST_LINE} bytes")
        self._needed = 0
        return b""

    def _names(
        self, type: int, separators: int, length: int, data: bytes, body: int
    ) -> list[bytes] | None:
        """Returns all arguments but the last of a body that is over the limit or incomplete; None
        if they have not all arrived, or if the whole packet is to be awaited."""
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
        return f"a {sender} does not send packets of type {type}"


def _too_few(type: int, separators: int, ended: int) -> str:
    return f"{PacketType(type).name} takes {separators + 1} arguments, but got {ended + 1}"
