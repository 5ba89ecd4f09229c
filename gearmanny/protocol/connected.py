"""A connection of a job server: what it submitted, what it works on, and what it has not read."""

from __future__ import annotations

from gearmanny.protocol.outgoing import Data, take_next
from gearmanny.protocol.packets import RESPONSE, PacketType, pack
from gearmanny.protocol.queue import Function, Job
from gearmanny.protocol.room import UNLIMITED

_NOOP = b"".join(pack(PacketType.NOOP, magic=RESPONSE))

_PIECE_BYTES = 100
"""What a piece of what is to be sent takes in memory besides its bytes."""


class Unread:
    """What all connections together have not taken yet of what is sent to them."""

    def __init__(self, limit: int = UNLIMITED) -> None:
        """Args: limit: bytes that one connection may leave before it is sent no more."""
        self.limit = limit
        self.total = 0
        """Bytes."""


class Connection:
    """One connection to the job server: of a client, of a worker, or of both in one."""

    def __init__(
        self, number: int, address: str, ready: dict[Connection, None], unread: Unread
    ) -> None:
        self.number = number
        self.address = address
        self.client_id = b"-"
        self.wants_exceptions = False
        self.awaited: set[Job] = set()
        """Jobs whose answers go here."""
        self.offered: dict[Function, float] = {}
        """What it works on, and the seconds that a job may take; 0 for as long as it likes."""
        self.held: dict[bytes, Job] = {}
        """Jobs that it works on, by handle."""
        self.asleep = False
        self.unread = 0
        """Bytes that it has not taken yet."""
        self.deaf = False
        """Whether it is sent nothing any longer, because it left too much unread. Close it."""
        self._ready = ready
        self._all_unread = unread
        self._outgoing: list[Data] = []

    def send(self, type: PacketType, *arguments: bytes) -> None:
        """Queues a packet."""
        self.send_bytes(*pack(type, *arguments, magic=RESPONSE))

    def send_bytes(self, *data: bytes, times: int = 1) -> None:
        """Queues bytes as they are, as often as told."""
        everybody = self._all_unread
        if self.unread > everybody.limit:
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
            everybody.total += size

    def data_to_send(self) -> Data:
        """Returns the next of the queued bytes, each once; empty when all are sent."""
        if not self._outgoing:
            return b""
        pieces = len(self._outgoing)
        data = take_next(self._outgoing)
        self._count(-len(data) - _PIECE_BYTES * (pieces - len(self._outgoing)))
        return data

    def give_up(self) -> None:
        """Sends nothing any longer to a connection that does not read."""
        self.deaf = True
        self._ready[self] = None
        self._outgoing.clear()
        self._count(-self.unread)

    def _count(self, size: int) -> None:
        self.unread += size
        self._all_unread.total += size

    def wake(self) -> None:
        """Calls a worker that sleeps."""
        if self.asleep:
            self.asleep = False
            self.send_bytes(_NOOP)
