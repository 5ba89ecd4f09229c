"""The table by which a supervisor restarts what ended.

Pure: the current time comes in as an argument, in seconds of any monotonic
clock; randomness as a function that returns a number from 0 to 1.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from gearmanny.payload.backoff import Backoff


@dataclass
class RestartTable:
    """When to restart what ended: at once after a useful life, ever later otherwise."""

    short_life: float = 5.0
    """Seconds. What ended sooner than this died at once."""
    first: float = 0.5
    """Seconds before the first of several restarts in a row."""
    longest: float = 30.0
    """Seconds: restarts are never further apart."""
    max_crashes: int | None = None
    """How many crashes within `crash_window` are a loop; None: no number is."""
    crash_window: float = 60.0
    """Seconds."""
    random: Callable[[], float] = random.random
    _backoffs: dict[Hashable, Backoff] = field(default_factory=dict, init=False)
    _crashes: dict[Hashable, deque[float]] = field(default_factory=dict, init=False)

    def delay(self, name: Hashable, started: float, ended: float) -> float:
        """Returns how long to wait before restarting what ran from `started` to `ended`."""
        backoff = self._backoffs.setdefault(
            name, Backoff(first=self.first, longest=self.longest, random=self.random)
        )
        if ended - started >= self.short_life:
            backoff.reset()
            return 0.0
        return backoff.next_delay()

    def is_crash_loop(self, name: Hashable, ended: float) -> bool:
        """Counts a crash; returns whether there were too many of that name in too short a time."""
        if self.max_crashes is None:
            return False
        crashes = self._crashes.setdefault(name, deque(maxlen=self.max_crashes))
        crashes.append(ended)
        return len(crashes) == self.max_crashes and ended - crashes[0] <= self.crash_window
