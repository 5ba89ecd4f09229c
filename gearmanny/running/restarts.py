"""When a process that ended is restarted, and how many crashes are too many.

Pure: the current time is an argument, in seconds of any monotonic clock; randomness is a function
that returns a number from 0 to 1.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from gearmanny.payload.backoff import Backoff


@dataclass
class RestartTable:
    """Restarts a process at once if it lived long enough, and ever later otherwise."""

    short_life: float = 5.0
    """Seconds that are long enough."""
    first: float = 0.5
    """Seconds before the first of several restarts in a row."""
    longest: float = 30.0
    """Seconds between restarts, at most."""
    max_crashes: int | None = None
    """Crashes within `crash_window` that are a crash loop; None: any number is fine."""
    crash_window: float = 60.0
    """Seconds."""
    random: Callable[[], float] = random.random
    """Returns a number from 0 to 1."""
    _backoffs: dict[Hashable, Backoff] = field(default_factory=dict, init=False)
    _crashes: dict[Hashable, deque[float]] = field(default_factory=dict, init=False)

    def delay(self, name: Hashable, started: float, ended: float) -> float:
        """Returns the seconds to wait before a process is restarted.

        Args:
            name: its place, whose restarts in a row are counted.
            started: when it started.
            ended: when it ended.
        """
        backoff = self._backoffs.setdefault(
            name, Backoff(first=self.first, longest=self.longest, random=self.random)
        )
        if ended - started >= self.short_life:
            backoff.reset()
            return 0.0
        return backoff.next_delay()

    def is_crash_loop(self, name: Hashable, ended: float) -> bool:
        """Counts a crash.

        Args:
            name: the place of the process.
            ended: when it crashed.

        Returns:
            Whether there were too many in that place within `crash_window`.
        """
        if self.max_crashes is None:
            return False
        crashes = self._crashes.setdefault(name, deque(maxlen=self.max_crashes))
        crashes.append(ended)
        return len(crashes) == self.max_crashes and ended - crashes[0] <= self.crash_window
