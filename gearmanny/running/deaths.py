"""The processes that each job has killed, and what follows for the job."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from gearmanny.records.ids import parse_unique
from gearmanny.working.jobtable import RunningJob

_MOST = 1000
"""Jobs that are remembered; of more, those whose last death is longest ago are forgotten."""

ALONE = ""
"""The verdict on a job that is to run alone."""


class Deaths:
    """Counts the processes that each job has killed. Pure."""

    def __init__(self, max_deaths: int | None) -> None:
        """
        Args:
            max_deaths: how many processes a job may kill; None for any number.
        """
        self._max_deaths = max_deaths
        self._ends: OrderedDict[RunningJob, list[str]] = OrderedDict()

    def judge(self, jobs: Collection[RunningJob], end: str) -> dict[RunningJob, str]:
        """Takes in that a process ended while it ran some jobs.

        One of several is guilty, and nobody knows which: so they run alone from then on, and none
        of them is charged with this end. A job that has a record is not judged here: the record
        counts the processes that died of it.

        Args:
            jobs: those that it ran.
            end: how it ended, such as `"was ended by SIGSEGV"`.

        Returns:
            The jobs that are not to be run as others are: those to run `ALONE`, and those not to
            run at all, with the ends of the processes that ran them.
        """
        if self._max_deaths is None:
            return {}
        unrecorded = [job for job in jobs if parse_unique(job.unique.encode()) is None]
        if len(jobs) > 1:
            return dict.fromkeys(unrecorded, ALONE)
        verdicts = {}
        for job in unrecorded:
            ends = self._ends.setdefault(job, [])
            self._ends.move_to_end(job)
            ends.append(end)
            if len(ends) >= self._max_deaths:
                verdicts[job] = _summary(self._ends.pop(job))
        while len(self._ends) > _MOST:
            self._ends.popitem(last=False)
        return verdicts


def _summary(ends: list[str]) -> str:
    """Returns how processes ended, in words: `"was ended by SIGSEGV (3 times)"`."""
    times = {end: ends.count(end) for end in ends}
    return ", ".join(f"{end} ({count} times)" if count > 1 else end for end, count in times.items())
