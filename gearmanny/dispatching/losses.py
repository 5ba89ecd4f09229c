"""Jobs that were handed over, and that nobody has claimed: when to ask job servers for them, and
what follows from the answers.

Pure: the current time is an argument, in seconds of any monotonic clock; randomness is a function
that returns a number from 0 to 1.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from enum import Enum, auto

from gearmanny.records.values import HandedOver

LOOK_AFTER = 1.5
"""Seconds after a hand-over in which nobody asks for the job: a caller that died before it sent its
job is made up for soon, and a job that is on its way is left alone."""

CONFIRMED_FOR = 28.0
"""Further seconds in which nobody asks for a job that a job server was found to have."""

MISSING_FOR = 0.5
"""Seconds between the two answers by which a job is missing: it may have been on its way at the
first one."""

MERCY = 60.0
"""Seconds after a job server was met, went or came, in which hand-overs that get lost do not
count: no worker is to blame."""

_SETTLING = 2.0
"""Seconds in which a job server that went may come back, before others get its jobs."""

_SPREAD = 0.5
"""Seconds over which the dispatchers that saw a job server come back begin to ask: those that
begin later find less to ask for."""

_MOST = 1000
"""Missing jobs that are remembered."""


class Verdict(Enum):
    """What is done about a job that was asked for."""

    CONFIRM = auto()
    """A job server has it."""
    WAIT = auto()
    """It is missing, and asked for again."""
    AGAIN = auto()
    """It is lost, and handed over again."""


class Losses:
    """The knowledge of one dispatcher about what job servers may have lost."""

    def __init__(self, random: Callable[[], float] = random.random) -> None:
        """
        Args:
            random: returns a number from 0 to 1.
        """
        self._random = random
        self._missing: dict[tuple[str, int], float] = {}
        self._upheaval = -math.inf
        self._in_doubt_from = math.inf
        self._handed_again: set[str] = set()

    def server_went(self, now: float) -> None:
        """Takes in that the connection to a job server has ended.

        Args:
            now: the current time.
        """
        self._upheaval = now
        self._in_doubt_from = min(self._in_doubt_from, now + _SETTLING)

    def server_met(self, now: float) -> None:
        """Takes in that this dispatcher has reached a job server for the first time: nobody knows
        what that has lost before, and others may be reached soon.

        Args:
            now: the current time.
        """
        self.server_came(now)
        self._in_doubt_from += _SETTLING

    def server_came(self, now: float) -> None:
        """Takes in that a job server is there again, perhaps without the jobs that it had.

        Args:
            now: the current time.
        """
        self._upheaval = now
        self._handed_again.clear()
        self._in_doubt_from = now + self._random() * _SPREAD

    @property
    def doubt_begins(self) -> float:
        """When jobs are in doubt: see `is_in_doubt`; never: infinity."""
        return self._in_doubt_from

    def is_in_doubt(self, now: float) -> bool:
        """Returns whether all jobs are to be asked for that were handed over before a job server
        went or came.

        Args:
            now: the current time.
        """
        return self._in_doubt_from <= now < self._in_doubt_from + CONFIRMED_FOR + LOOK_AFTER

    def is_settling(self, now: float) -> bool:
        """Returns whether a job server that went may come back, so that nothing is known of its
        jobs.

        Args:
            now: the current time.
        """
        return now < self._in_doubt_from < math.inf

    def age(self, now: float) -> float:
        """Returns how many seconds ago jobs were handed over, or confirmed, that are asked for.

        Args:
            now: the current time.
        """
        if not self.is_in_doubt(now):
            return LOOK_AFTER
        return now - self._in_doubt_from - CONFIRMED_FOR

    def none_left(self, now: float) -> None:
        """Takes in that there were no jobs of that age.

        Args:
            now: the current time.
        """
        if self.is_in_doubt(now):
            self._in_doubt_from = math.inf
            self._handed_again.clear()

    def counts(self, now: float) -> bool:
        """Returns whether workers may be to blame for a job that is lost.

        Args:
            now: the current time.
        """
        return now - self._upheaval >= MERCY

    def pause(self, now: float) -> float:
        """Returns the seconds for which a job that is handed over again is left alone: workers that
        have not been told of the store yet may refuse it, and are being replaced.

        Args:
            now: the current time.
        """
        return CONFIRMED_FOR if self.counts(now) else 0.0

    def judge(self, job: HandedOver, now: float, *, is_known: bool) -> Verdict:
        """Returns what is done about a job.

        Args:
            job: as it was handed over.
            now: the current time.
            is_known: whether a job server has it.
        """
        key = (job.id, job.number)
        if is_known:
            self._missing.pop(key, None)
            return Verdict.CONFIRM
        since = self._missing.setdefault(key, now)
        # Once only: a job that workers refuse is missing as soon as it was handed over.
        at_once = self.is_in_doubt(now) and job.id not in self._handed_again
        if at_once or now - since >= MISSING_FOR:
            del self._missing[key]
            if at_once:
                self._handed_again.add(job.id)
            return Verdict.AGAIN
        while len(self._missing) > _MOST:
            del self._missing[next(iter(self._missing))]
        return Verdict.WAIT
