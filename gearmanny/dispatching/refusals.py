"""Job servers that refuse jobs, because their queue is full: when they are tried again.

Pure: the current time is an argument, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

from gearmanny.payload.backoff import Backoff

S = TypeVar("S", bound=Hashable)


class Refusals:
    """The functions whose jobs each job server refuses for the time being."""

    def __init__(self) -> None:
        self._until: dict[tuple[Hashable, str], float] = {}
        self._backoffs: dict[tuple[Hashable, str], Backoff] = {}

    def add(self, server: Hashable, function: str, now: float) -> bool:
        """Takes in a refusal.

        Args:
            server: the job server.
            function: that of the job.
            now: the current time.

        Returns:
            Whether it is the first one in a row.
        """
        key = (server, function)
        backoff = self._backoffs.setdefault(key, Backoff(first=1.0, longest=30.0))
        if now >= self._until.get(key, now):  # of several that were sent together, one counts
            self._until[key] = now + backoff.next_delay()
            return backoff.attempts == 1
        return False

    def accepted(self, server: Hashable, function: str) -> None:
        """Takes in that a job was accepted.

        Args:
            server: the job server.
            function: that of the job.
        """
        if self._until:
            self._until.pop((server, function), None)
            self._backoffs.pop((server, function), None)

    def willing(self, servers: Sequence[S], function: str, now: float) -> list[S]:
        """Returns those of some job servers that may accept jobs.

        Args:
            servers: the job servers.
            function: that of the jobs.
            now: the current time.
        """
        if not self._until:
            return list(servers)
        return [each for each in servers if self._until.get((each, function), now) <= now]
