"""The processes of the runner of a dispatcher, and what follows from the ends of processes."""

from __future__ import annotations

import os

from gearmanny.dispatching import counting, log
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.dispatching.schedule import Chore, Schedule
from gearmanny.net.doorbell import ring
from gearmanny.net.forks import nudge
from gearmanny.records.contract import Store
from gearmanny.records.values import Process

_NOTICE_COMES = 1.0
"""Seconds after the end of a process in which the runner sends its notice."""


class Children:
    """Looks after the processes of a runner, as far as their records are concerned."""

    def __init__(self, store: Store, options: DispatchOptions, schedule: Schedule) -> None:
        """
        Args:
            store: where the records are.
            options: those of the dispatcher, with the id of its runner.
            schedule: of its chores.
        """
        self._store = store
        self._options = options
        self._schedule = schedule
        self.ended: dict[int, bool] = {}
        """Processes of the runner that have ended, and whether that was ordered."""
        self.cancelled: set[str] = set()
        """Ids of jobs that were cancelled while they ran, as the store said."""
        self._alive: dict[str, int] = {}
        """Processes of the runner that live: their pids, by their ids."""
        self._gone: set[str] = set()
        """Ids of processes of the runner that have ended without a notice."""

    def look_after(self, now: float) -> None:
        """Takes back the jobs of those that have ended, and gives a sign of life for the others.

        Args:
            now: the time, by `time.monotonic`.
        """
        runner = self._options.runner
        if not runner:
            return
        ended = dict(self.ended)
        alive: dict[str, int] = {}
        gone: set[str] = set()
        for process in self._store.processes():
            if process.runner != runner:
                continue
            if process.pid in ended:
                self.take_back(process, process.id, counts=not ended[process.pid], now=now)
            elif _exists(process.pid):
                alive[process.id] = process.pid
            elif process.id in self._gone:  # whoever was to be told of that has been replaced
                self.take_back(process, process.id, counts=True, now=now)
            else:
                gone.add(process.id)
        if alive.keys() - self._alive.keys():
            self._schedule.hurry(Chore.INTERRUPT, now)
        self._gone, self._alive = gone, alive
        if gone:
            self._schedule.hurry(Chore.CHILDREN, now + _NOTICE_COMES)
        self._store.beat(list(alive))
        for pid in ended:
            del self.ended[pid]

    def interrupt(self, now: float) -> None:
        """Has processes of this machine look at once for jobs that they have to interrupt, as they
        do every second where they can.

        Args:
            now: the time, by `time.monotonic`.
        """
        ours = self._store.cancelling(list(self._alive)) if self._alive else []
        for id in self.cancelled.union(claim.id for claim in ours):
            job = self._store.look(id)
            if job is not None and job.cancelling and job.process is not None:
                ring(job.process)
                if job.process in self._alive:
                    nudge(self._alive[job.process])
                elif self._options.runner:  # it may be a new one
                    self._schedule.hurry(Chore.CHILDREN, now)
        self.cancelled.clear()

    def take_back(self, process: Process | str, id: str, *, counts: bool, now: float) -> None:
        """Takes back the jobs of a process that has ended.

        Args:
            process: as the log names it.
            id: its id.
            counts: whether its jobs may be to blame.
            now: the time, by `time.monotonic`.
        """
        returned = self._store.take_back(id, counts=counts, max_deaths=self._options.deaths_allowed)
        log.taken_back(process, returned)
        for job in returned:
            for listener in counting.listeners:
                listener(job)
        self._schedule.hurry(Chore.HAND_OVER, now)


def _exists(pid: int) -> bool:
    """Returns whether a process of this host exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
