"""An idempotent job whose connection was lost: when it is sent again, and where to. No I/O.

To a job server where it was not lost it is sent at once. One where it was lost is given time
to come back, longer with every loss: a job server that ends every connection must not keep
its callers busy.
"""

from __future__ import annotations

from typing import Any

from gearmanny.calling.pool import Pool
from gearmanny.errors import GearmanException
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host
from gearmanny.payload.backoff import Backoff
from gearmanny.protocol.client import Request

_MOST_LOSSES = 10
"""Losses after which a job is given up: perhaps it is what ends the connections."""

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 1.0
"""Seconds before job servers where a job was lost are asked again, at first and at most."""


class Again:
    """How one job is sent again after a loss."""

    __slots__ = (
        "_backoff", "_closings", "_due", "_key", "_losses", "_lost_at", "_pool", "lost", "patience",
        "request",
    )  # fmt: skip

    def __init__(self, request: Request, key: str | None, pool: Pool[Any, Any]) -> None:
        """
        Args:
            request: what is sent.
            key: the one that chooses the job server, if any.
            pool: the connections of the client.
        """
        self.request = request
        self.lost: GearmanException | None = None
        """Why the job has to be sent again; None while it is under way."""
        self._key = key
        self._pool = pool
        self._closings = pool.closings
        self._backoff = Backoff(first=_FIRST_DELAY, longest=_LONGEST_DELAY)
        self._losses = 0
        self._lost_at: set[Host] = set()

    @property
    def is_over(self) -> bool:
        """Whether the client was closed since the job was first sent."""
        return self._pool.closings != self._closings

    @property
    def is_hopeless(self) -> bool:
        """Whether the next loss is one too many."""
        return self._losses + 1 >= _MOST_LOSSES

    def lose(self, error: GearmanException, host: Host) -> None:
        """Notes that the connection to a host ended before the job was answered."""
        self._losses += 1
        self._lost_at.add(host)
        # A job server that restarts gets the time for it that making a connection may take.
        self.patience = Deadline(self._pool.servers.connect_timeout)
        self._due = Deadline(self._backoff.next_delay())
        self.lost = error

    def fresh_hosts(self) -> list[Host]:
        """Returns the hosts where the job was not lost yet, as far as they are not known to be
        away: these are asked at once."""
        hosts = self.hosts()
        return [h for h in hosts if h not in self._lost_at and not self._pool.is_avoided(h)]

    def hosts(self) -> list[Host]:
        """Returns all hosts, in the order in which they are tried."""
        return self._pool.order(self._key)

    def pause(self, deadline: Deadline) -> tuple[float, bool]:
        """Returns the seconds to wait before all hosts are asked, or until a deadline that comes
        before that; and whether they may be asked then."""
        pause, left = self._due.remaining(), deadline.remaining()
        assert pause is not None
        return (pause, True) if left is None or left >= pause else (left, False)

    def fail(self) -> bool:
        """Notes that no host could be reached. Returns whether there is time for another
        attempt."""
        left = self.patience.remaining()
        if left == 0:
            return False
        delay = self._backoff.next_delay()
        self._due = Deadline(delay if left is None else min(delay, left))
        return True
