"""Delays that grow, and the table by which a supervisor restarts what ended.

Pure: the current time comes in as an argument, in seconds of any monotonic
clock; randomness as a function that returns a number from 0 to 1.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Backoff:
    """Delays that double from `first` to `longest` seconds, shortened by up to a half.

    The jitter keeps a hundred workers from returning to a server at the same moment.
    """

    first: float
    longest: float
    random: Callable[[], float] = random.random
    attempts: int = 0

    def next_delay(self) -> float:
        """Returns the seconds to wait before the next attempt, and counts it."""
        # A float overflows at 2**1024, and long before that any delay is the longest.
        delay = min(self.longest, self.first * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return delay * (1 - self.random() / 2)

    def reset(self) -> None:
        """Starts again from the first delay."""
        self.attempts = 0


_PATIENCE = 10
_FIRST_REST = 0.001
_LONGEST_REST = 0.1


def rest_between_calls(empty_calls: int) -> float:
    """Returns the seconds to let pass between questions for a job, after so many calls in a row
    that brought none.

    None at first: where many workers are called for every job, most calls are empty. Then a
    millisecond, doubled by every further call, up to a tenth of a second: that makes 10 questions
    a second of the 12,000 that gearmand 1.1.20 can provoke, and keeps no job waiting for longer.
    """
    if empty_calls < _PATIENCE:
        return 0.0
    return min(_LONGEST_REST, _FIRST_REST * 2.0 ** min(empty_calls - _PATIENCE, 30))


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
