"""Which processes show no sign of life.

Pure: the current time is an argument, in seconds of any monotonic clock.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

_LONGEST = 60.0
"""Seconds between two looks: what the system lets one wait is limited."""

P = TypeVar("P", bound=Hashable)


@dataclass(slots=True)
class _Seen:
    count: int | None
    since: float
    stalled: bool = False


class Stalls(Generic[P]):
    """Compares the pulses of processes with those of the last look."""

    def __init__(self, timeout: float) -> None:
        """
        Args:
            timeout: seconds without a beat that are too long.
        """
        self.interval = timeout / 4 if timeout == math.inf else min(timeout / 4, _LONGEST)
        """Seconds between two looks, at most."""
        self._timeout = timeout
        self._seen: dict[P, _Seen] = {}
        self._looked_at = 0.0

    @property
    def stalled(self) -> list[P]:
        """The processes that were stalled at the last look."""
        return [process for process, seen in self._seen.items() if seen.stalled]

    def look(self, pulses: Mapping[P, int | None], now: float) -> dict[P, bool]:
        """Takes in how often each process has beaten.

        Args:
            pulses: the beats of each process; None if it is not to be watched.
            now: the current time.

        Returns:
            The processes for which that has changed: whether they are stalled now.
        """
        # A watcher that slept was stopped itself, and the processes perhaps with it.
        slept = now - self._looked_at > 2 * self.interval
        self._looked_at = now
        changed = {}
        seen, self._seen = self._seen, {}
        for process, count in pulses.items():
            last = seen.get(process) or _Seen(count, now)
            self._seen[process] = last
            if count is None or count != last.count:
                if last.stalled:
                    changed[process] = False
                self._seen[process] = _Seen(count, now)
            elif slept:
                last.since = now
            elif not last.stalled and now - last.since >= self._timeout:
                last.stalled = changed[process] = True
        return changed
