"""The schedule of a dispatcher: what it does when.

Pure: the current time is an argument, in seconds of any monotonic clock; randomness is a function
that returns a number from 0 to 1.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum, auto

from gearmanny.payload.backoff import Backoff


class Chore(Enum):
    """A thing that a dispatcher does again and again. The most urgent comes first."""

    CHILDREN = auto()
    """Look after the processes of its own runner: take back the jobs of those that have ended, and
    give a sign of life for the others."""
    INTERRUPT = auto()
    """Have processes look for jobs that were cancelled while they run."""
    TICK = auto()
    """Make the jobs of schedules that are due."""
    HAND_OVER = auto()
    """Hand over what is due."""
    LOOK = auto()
    """Look for jobs that were handed over and got lost."""
    BURY = auto()
    """Take back the jobs of processes of others that are dead."""
    COUNT = auto()
    """Say in the log what waits."""
    PRUNE = auto()
    """Forget old records."""


EVERY = {
    Chore.CHILDREN: 8.0,
    Chore.INTERRUPT: 1.0,
    Chore.TICK: 1.0,
    Chore.HAND_OVER: 1.0,
    Chore.LOOK: 1.0,
    Chore.BURY: 1.0,
    Chore.COUNT: 300.0,
    Chore.PRUNE: 60.0,
}
"""Seconds from one time to the next, at most. Each time, up to a quarter is taken off at random, so
that several dispatchers do not come in step."""

SPACING = 0.05
"""Seconds from one time to the next, at least, however much there is to do."""


class Schedule:
    """The times of all chores of one dispatcher.

    Nothing is due while the store is away, and for a growing time after each attempt to reach it.
    """

    def __init__(self, now: float, random: Callable[[], float] = random.random) -> None:
        """
        Args:
            now: the current time. Everything is due at once, except what is rarely done.
            random: returns a number from 0 to 1.
        """
        self._random = random
        self._at = {chore: now if every <= 60 else now + every for chore, every in EVERY.items()}
        self._last = dict.fromkeys(Chore, now - SPACING)
        self._backoff = Backoff(first=0.2, longest=2.0, random=random)
        self._resting_until = now

    @property
    def is_away(self) -> bool:
        """Whether the store was away when it was asked last."""
        return self._backoff.attempts > 0

    def wakes_at(self) -> float:
        """Returns when something is due."""
        return max(self._resting_until, min(self._at.values()))

    def due(self, now: float) -> list[Chore]:
        """Returns the chores that are due, the most urgent first, and notes when each is due
        again.

        Args:
            now: the current time.
        """
        if now < self._resting_until:
            return []
        found = [chore for chore in Chore if self._at[chore] <= now]
        for chore in found:
            self._last[chore] = now
            self._at[chore] = now + EVERY[chore] * (1 - self._random() / 4)
        return found

    def hurry(self, chore: Chore, at: float) -> None:
        """Makes a chore due earlier.

        Args:
            chore: the chore.
            at: when; later where the last time was less than `SPACING` before.
        """
        self._at[chore] = min(self._at[chore], max(at, self._last[chore] + SPACING))

    def store_failed(self, chore: Chore, now: float) -> None:
        """Takes in that the store is away, so that a chore was not done.

        Args:
            chore: it is due when the store is asked again.
            now: the current time.
        """
        self._resting_until = now + self._backoff.next_delay()
        self._at[chore] = now

    def store_answered(self) -> None:
        """Takes in that the store is there."""
        self._backoff.reset()
