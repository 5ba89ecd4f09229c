"""Growing delays. The source of randomness is a parameter: a function returning 0.0 to 1.0."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(kw_only=True)
class Backoff:
    """Delays that double from `first` to `longest` seconds, each shortened at random by up to half.

    The randomness keeps a hundred workers from reconnecting at the same moment.

    Attributes:
        first: the first delay before it is shortened, in seconds.
        longest: the longest delay, in seconds.
        random: returns a number from 0.0 to 1.0.
        attempts: the number of delays returned since the last `reset()`.
    """

    first: float
    longest: float
    random: Callable[[], float] = random.random
    attempts: int = 0

    def next_delay(self) -> float:
        """Returns the seconds to wait before the next attempt, and counts the attempt."""
        # A float overflows at 2**1024; long before that, the delay is the longest.
        delay = min(self.longest, self.first * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return delay * (1 - self.random() / 2)

    def reset(self) -> None:
        """Starts over with the first delay."""
        self.attempts = 0


_PATIENCE = 10
_FIRST_REST = 0.001
_LONGEST_REST = 0.1


def rest_between_calls(empty_calls: int) -> float:
    """Returns how long a worker should wait before it asks for a job again.

    At first it need not wait: if many workers are woken for every job, most of them find none.
    Then the delay is a millisecond, which doubles with every further call, up to a tenth of a
    second. That reduces the 12,000 requests per second that gearmand 1.1.20 can provoke to 10, and
    delays no job by more than that.

    Args:
        empty_calls: the number of times in a row that the worker was woken and found no job.

    Returns:
        The delay in seconds.
    """
    if empty_calls < _PATIENCE:
        return 0.0
    return min(_LONGEST_REST, _FIRST_REST * 2.0 ** min(empty_calls - _PATIENCE, 30))
