"""The payload of a packet that arrives in pieces: kept, or let go by."""

from __future__ import annotations

import io

from gearmanny.payload.sizes import Oversized

Packet = tuple[int, list[bytes]]
"""Its type, a `PacketType` as a plain int, and its arguments: as many as the type has. A packet
without arguments holds one empty one."""


class IncomingPayload:
    """The last argument of one packet after another, each with the packet that it belongs to."""

    def __init__(self, *, dropped_at_once: bool) -> None:
        """Args: dropped_at_once: whether a packet is given out before all of its payload has
        arrived, if that is not kept."""
        self._dropped_at_once = dropped_at_once
        self.missing = 0
        """Bytes still to come, whether they are kept or not."""
        self._begun: tuple[int, list[bytes], int] | None = None
        self._dropped: Oversized | None = None
        """What stands for the payload where it is not kept."""
        # Its getvalue() hands the bytes over without a copy.
        self._kept = io.BytesIO()

    @property
    def begun(self) -> int:
        """The bytes that are kept of a payload that is not whole yet."""
        return self._kept.tell()

    def drop(self) -> None:
        """Keeps nothing of a payload that is not whole yet."""
        if self._begun is not None:
            _, _, size = self._begun
            self._dropped = Oversized.of(size, None)
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
            What `take` returns.
        """
        self.missing = size
        self._begun = type, names, size
        self._dropped = None if exceeded is None else Oversized.of(size, exceeded)
        return self.take(received)

    def take(self, received: bytes | memoryview) -> tuple[Packet | None, memoryview]:
        """Takes its part of the bytes that arrived.

        Returns:
            The packet once it can be given out, and the bytes that follow the payload. Where that
            is not kept, or there is not enough memory for it, `Oversized` stands in its place.
        """
        view = memoryview(received)
        piece, rest = view[: self.missing], view[self.missing :]
        self.missing -= len(piece)
        if self._begun is None:
            return None, rest
        type_, names, _ = self._begun
        payload = b""
        if self._dropped is None:
            try:
                self._kept.write(piece)
                if not self.missing:
                    payload = self._kept.getvalue()
            except MemoryError:
                self.drop()
        if self.missing and (self._dropped is None or not self._dropped_at_once):
            return None, rest
        packet = type_, [*names, payload if self._dropped is None else self._dropped]
        self._kept = io.BytesIO()
        self._begun = self._dropped = None
        return packet, rest
