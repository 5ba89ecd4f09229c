"""The payload of a packet that arrives in pieces: kept, or let go by."""

from __future__ import annotations

import io

from gearmanny.payload.sizes import Oversized

Packet = tuple[int, list[bytes]]
"""Its type, a `PacketType` as a plain int, and its arguments: as many as the type has. A packet
without arguments holds one empty one."""


class IncomingPayload:
    """The last argument of one packet after another, each with the packet that it belongs to."""

    def __init__(self) -> None:
        self.missing = 0
        """Bytes still to come, whether they are kept or not."""
        self._begun: tuple[int, list[bytes], int] | None = None
        # Its getvalue() hands the bytes over without a copy.
        self._kept = io.BytesIO()

    def begin(
        self,
        received: memoryview,
        type: int,
        names: list[bytes],
        size: int,
        exceeded: int | None,
    ) -> tuple[Packet | None, memoryview]:
        """Begins a payload, and takes its part of the bytes that arrived.

        Args:
            received: the bytes, from the beginning of the payload.
            type: of its packet.
            names: the other arguments of that.
            size: bytes of the payload.
            exceeded: the limit that the packet is over; None if the payload is to be kept.

        Returns:
            What `take` returns; the packet of a payload that is not kept at once.
        """
        self.missing = size
        if exceeded is None:
            self._begun = type, names, size
            return self.take(received)
        _, rest = self.take(received)
        return (type, [*names, Oversized.of(size, exceeded)]), rest

    def take(self, received: bytes | memoryview) -> tuple[Packet | None, memoryview]:
        """Takes its part of the bytes that arrived.

        Returns:
            The packet once it can be given out, and the bytes that follow the payload. Where
            there is not enough memory for it, what was kept is freed, and `Oversized` stands in
            its place.
        """
        view = memoryview(received)
        piece, rest = view[: self.missing], view[self.missing :]
        self.missing -= len(piece)
        if self._begun is None:
            return None, rest
        try:
            self._kept.write(piece)
            if self.missing:
                return None, rest
            payload = self._kept.getvalue()
        except MemoryError:
            payload = None
        self._kept = io.BytesIO()
        type_, names, size = self._begun
        self._begun = None
        return (type_, [*names, Oversized.of(size, None) if payload is None else payload]), rest
