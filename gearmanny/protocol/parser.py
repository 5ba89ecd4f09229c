"""Incremental parsing of packets.

A body over the limit is discarded. If its last argument is a payload, the
arguments before it, which tell whose payload it is, are still delivered, as soon
as they have arrived. The same happens if there is not enough memory for a
payload: the part that was stored is freed first.
"""

from __future__ import annotations

from collections.abc import Iterator

from gearmanny.errors import ProtocolError
from gearmanny.payload.sizes import MAX_PACKET, Oversized
from gearmanny.protocol.incoming import IncomingPayload, Packet
from gearmanny.protocol.packets import (
    HEADER,
    REQUESTS,
    RESPONSE,
    RESPONSES,
    WITH_PAYLOAD,
    PacketType,
)

_LONGEST_NAMES = 16 * 1024
"""Bytes of all arguments but the last. gearmand 1.1.20 accepts at most 8 KiB."""

_LONGEST_LINE = 8 * 1024
"""Bytes of the longest text command."""


class PacketParser:
    """Splits a stream of bytes into packets: the responses of a job server, or requests to one.

    Between requests there may be lines of text, which do not begin with a NUL.
    """

    def __init__(
        self, max_packet: int = MAX_PACKET, *, magic: bytes = RESPONSE, dropped_at_once: bool = True
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
        self._separators = RESPONSES if magic == RESPONSE else REQUESTS
        self._buffer = bytearray()
        self._needed = HEADER.size
        self._payload = IncomingPayload(dropped_at_once=dropped_at_once)

    @property
    def begun(self) -> int:
        """Bytes of memory that an incomplete packet takes."""
        return len(self._buffer) + self._payload.begun

    def drop_payload(self) -> None:
        """Discards what is stored of an incomplete packet; `Oversized` replaces its payload.

        Raises:
            ProtocolError: the packet has no payload that can be replaced. Close the connection.
        """
        self._payload.drop()
        if self._buffer:
            raise self._no_memory()

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
            body = start + HEADER.size
            if body > end or data[start]:
                if not (line := self._line(data, start)):
                    break
                yield PacketType.TEXT, [line]
                start += len(line)
                continue
            magic, type_, length = HEADER.unpack_from(data, start)
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
                if type_ not in WITH_PAYLOAD:
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
            raise self._no_memory() from None
        self._buffer.clear()
        return whole

    def _no_memory(self) -> ProtocolError:
        self._buffer.clear()
        return ProtocolError(f"there is not enough memory for a packet of {self._needed} bytes")

    def _line(self, data: bytes, start: int) -> bytes:
        """Returns the line of text that begins here; empty if it, or a header, is incomplete."""
        self._needed = HEADER.size
        if self._magic == RESPONSE or not data[start]:
            if len(data) - start >= HEADER.size:
                magic, type_, _ = HEADER.unpack_from(data, start)
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
        self._needed = HEADER.size + length
        if type not in WITH_PAYLOAD:
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
            self._needed = HEADER.size + len(begun) + 1
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
