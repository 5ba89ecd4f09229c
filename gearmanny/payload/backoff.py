"""Delays that grow. Pure: randomness comes in as a function that returns a number from 0 to 1."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


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
