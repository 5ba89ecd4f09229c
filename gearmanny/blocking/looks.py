"""Looks at the records of jobs, where several are waited for together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gearmanny.blocking.group import Group
from gearmanny.calling.call import Call
from gearmanny.calling.records import OUTAGE
from gearmanny.errors import StoreUnavailable, UnknownJob
from gearmanny.net.deadline import Deadline

_SHORTEST, _LONGEST = 0.02, 1.0
"""Seconds between two looks. They double, until something is found."""


class Looks:
    """Looks at recorded jobs from time to time."""

    def __init__(self, jobs: Mapping[Call[Any], Callable[[], bool]]) -> None:
        """
        Args:
            jobs: their calls, each with a function that returns whether it has ended.
        """
        self._jobs = dict(jobs)
        self._pause = _SHORTEST
        self._outage = Deadline(0)
        """When the database has to be back."""

    def look(self, group: Group, deadline: Deadline) -> Deadline:
        """Notes the jobs that have ended, or are forgotten, which `get_result` says.

        Args:
            group: takes the notes.
            deadline: when nobody waits any more.

        Returns:
            When to look next, at the latest.

        Raises:
            StoreUnavailable: the database cannot be reached, and could not at the first look, or
                for too long.
        """
        found = 0
        try:
            for call, has_ended in list(self._jobs.items()):
                if _is_over(has_ended):
                    del self._jobs[call]
                    group.notice(call)
                    found += 1
            self._outage = Deadline(OUTAGE)
        except StoreUnavailable:
            if self._outage.has_passed():
                raise
        self._pause = _SHORTEST if found else min(self._pause * 2, _LONGEST)
        return deadline.within(self._pause)


def _is_over(has_ended: Callable[[], bool]) -> bool:
    try:
        return has_ended()
    except UnknownJob:
        return True
