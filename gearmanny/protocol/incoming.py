"""The payload of a packet that arrives in pieces, and is stored or discarded."""

from __future__ import annotations

import io

from gearmanny.payload.sizes import Oversized

Packet = tuple[int, list[bytes]]
"""A type, which is a `PacketType` as a plain int, and as many arguments as the type has. A packet
without arguments has a single empty one."""


_RESERVED_AHEAD = 32
"""Bytes of memory that are reserved at most for each byte that has arrived. A buffer that grows in
steps is moved in memory, and loses the huge pages that the kernel may have given it."""


class IncomingPayload:
    """The last argument of an incomplete packet. One object serves all packets of a connection."""

    def __init__(self, *, dropped_at_once: bool) -> None:
        """
        Args:
            dropped_at_once: whether a packet whose payload is discarded is delivered before all
                of that payload has arrived.
        """
        self._dropped_at_once = dropped_at_once
        self.missing = 0
        """Bytes of the payload that have not arrived yet."""
        self.begun = 0
        """Bytes of memory that an incomplete payload takes."""
        self._packet: tuple[int, list[bytes], int] | None = None
        """The type of its packet, the other arguments, and its own size."""
        self._dropped: Oversized | None = None
        """Replacement for the payload if it is discarded."""
        # getvalue() of a BytesIO does not copy.
        self._kept = io.BytesIO()

    def drop(self) -> None:
        """Discards an incomplete payload; `Oversized` replaces it."""
        if self._packet is not None:
            _, _, size = self._packet
            self._dropped = Oversized.of(size, None)
            self._empty()

    def begin(
        self,
        received: memoryview,
        type: int,
        names: list[bytes],
        size: int,
        exceeded: int | None,
    ) -> tuple[Packet | None, memoryview]:
        """Begins a payload, and consumes its part of the received bytes.

        Args:
            received: the received bytes, from the beginning of the payload.
            type: the type of the packet.
            names: the other arguments of the packet.
            size: the size of the payload, in bytes.
            exceeded: the limit that the packet is over, in bytes; None to store the payload.

        Returns:
            The packet if it can be delivered, else None; and the bytes after the payload.
        """
        self.missing = size
        self._packet = type, names, size
        self._dropped = None if exceeded is None else Oversized.of(size, exceeded)
        return self.take(received)

    def take(self, received: bytes | memoryview) -> tuple[Packet | None, memoryview]:
        """Consumes the payload's part of the received bytes.

        Args:
            received: the received bytes.

        Returns:
            The packet if it can be delivered, else None; and the bytes after the payload.
            `Oversized` replaces a payload that is discarded or does not fit into memory.
        """
        view = memoryview(received)
        piece, rest = view[: self.missing], view[self.missing :]
        self.missing -= len(piece)
        if self._packet is None:
            return None, rest
        type_, names, size = self._packet
        payload = b""
        if self._dropped is None:
            try:
                self._keep(piece, size)
                if not self.missing:
                    payload = self._kept.getvalue()
            except MemoryError:
                self.drop()
        if self.missing and (self._dropped is None or not self._dropped_at_once):
            return None, rest
        packet = type_, [*names, payload if self._dropped is None else self._dropped]
        self._empty()
        self._packet = self._dropped = None
        return packet, rest

    def _keep(self, piece: memoryview, size: int) -> None:
        arrived = size - self.missing
        if self.begun < size <= arrived * _RESERVED_AHEAD:
            before = self._kept
            # Neither copied nor touched: the kernel gives these pages when they are written to.
            self._kept = io.BytesIO(bytes(size))
            self._kept.write(before.getbuffer())
            self.begun = size
        self._kept.write(piece)
        self.begun = max(self.begun, arrived)

    def _empty(self) -> None:
        self._kept = io.BytesIO()
        self.begun = 0
