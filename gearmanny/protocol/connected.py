"""A connection to the job server: its jobs, its functions, and the bytes it has not read yet."""

from __future__ import annotations

from gearmanny.protocol.outgoing import Data, take_next
from gearmanny.protocol.packets import RESPONSE, PacketType, pack
from gearmanny.protocol.queue import Function, Job
from gearmanny.protocol.room import UNLIMITED

_NOOP = b"".join(pack(PacketType.NOOP, magic=RESPONSE))

_PIECE_BYTES = 100
"""Estimated memory of a queued piece of data, besides its bytes."""


class Unread:
    """The number of bytes that are queued for all connections, and not yet sent."""

    def __init__(self, limit: int = UNLIMITED) -> None:
        """
        Args:
            limit: bytes that one connection may leave unread before it is given up.
        """
        self.limit = limit
        self.total = 0
        """Unread bytes of all connections."""


class ServerConnection:
    """A connection to the job server, used by a client, a worker, or both at once."""

    def __init__(
        self, number: int, address: str, ready: dict[ServerConnection, None], unread: Unread
    ) -> None:
        self.number = number
        self.address = address
        self.client_id = b"-"
        self.wants_exceptions = False
        self.awaited: set[Job] = set()
        """Jobs whose answers this connection gets."""
        self.offered: dict[Function, float] = {}
        """The functions it offers, each with the seconds that a job may take; 0 for no limit."""
        self.held: dict[bytes, Job] = {}
        """Jobs that it is running, by handle."""
        self.asleep = False
        self.unread = 0
        """Bytes that are queued and not yet sent, with an overhead for each piece of data."""
        self.deaf = False
        """Whether it was given up, because it left too much unread. The driver closes it."""
        self._ready = ready
        self._all_unread = unread
        self._outgoing: list[Data] = []

    def send(self, type: PacketType, *arguments: bytes) -> None:
        """Queues a packet.

        Args:
            type: its type.
            arguments: its arguments. Only the last may contain NULs.
        """
        self.send_bytes(*pack(type, *arguments, magic=RESPONSE))

    def send_bytes(self, *data: bytes, times: int = 1) -> None:
        """Queues bytes as they are.

        Args:
            data: the bytes.
            times: how often to queue them.
        """
        all_unread = self._all_unread
        if self.unread > all_unread.limit:
            self.give_up()
        if not self.deaf:
            self._ready[self] = None
            size = _PIECE_BYTES * len(data)
            for piece in data:
                size += len(piece)
            if times > 1:
                data, size = data * times, size * times
            self._outgoing += data
            self.unread += size
            all_unread.total += size

    def data_to_send(self) -> Data:
        """Returns the next queued bytes and removes them; empty when there are none."""
        if not self._outgoing:
            return b""
        pieces = len(self._outgoing)
        data = take_next(self._outgoing)
        self._count(-len(data) - _PIECE_BYTES * (pieces - len(self._outgoing)))
        return data

    def give_up(self) -> None:
        """Discards what is queued, and sends nothing more: the peer does not read."""
        self.deaf = True
        self._ready[self] = None
        self._outgoing.clear()
        self._count(-self.unread)

    def _count(self, size: int) -> None:
        self.unread += size
        self._all_unread.total += size

    def wake(self) -> None:
        """Sends NOOP to a worker that sleeps."""
        if self.asleep:
            self.asleep = False
            self.send_bytes(_NOOP)
