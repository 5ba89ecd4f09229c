"""Which jobs have killed the processes that ran them, and how often."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from gearmanny.working.jobtable import RunningJob

_MOST = 1000
"""Jobs that are remembered; of more, those whose last death is longest ago are forgotten."""


class Deaths:
    """Counts the processes that each job has killed. Pure."""

    def __init__(self, max_deaths: int | None) -> None:
        """
        Args:
            max_deaths: how many processes a job may kill; None for any number.
        """
        self._max_deaths = max_deaths
        self._ends: OrderedDict[RunningJob, list[str]] = OrderedDict()

    def count(self, jobs: Iterable[RunningJob], end: str) -> dict[RunningJob, str]:
        """Counts a process that ended while it ran some jobs.

        Args:
            jobs: those that it ran.
            end: how it ended, such as `"was ended by SIGSEGV"`.

        Returns:
            The jobs that are not to be run again, each with the ends of the processes that ran it.
        """
        condemned = {}
        for job in jobs:
            ends = self._ends.setdefault(job, [])
            self._ends.move_to_end(job)
            ends.append(end)
            if self._max_deaths is not None and len(ends) >= self._max_deaths:
                condemned[job] = _told(self._ends.pop(job))
        while len(self._ends) > _MOST:
            self._ends.popitem(last=False)
        return condemned


def _told(ends: list[str]) -> str:
    """Returns how processes ended, in words: `"was ended by SIGSEGV (3 times)"`."""
    times = {end: ends.count(end) for end in ends}
    return ", ".join(f"{end} ({count} times)" if count > 1 else end for end, count in times.items())
