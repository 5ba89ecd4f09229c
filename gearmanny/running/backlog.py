"""The jobs that wait for a runner which ends when there are none."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from gearmanny.admin import FunctionStatus, JobServer
from gearmanny.errors import GearmanException, StoreUnavailable
from gearmanny.net.hosts import HOSTS, parse_hosts
from gearmanny.records.contract import Store
from gearmanny.records.ids import parse_unique
from gearmanny.records.states import State
from gearmanny.running.options import RunnerOptions
from gearmanny.working.jobtable import RunningJob

_INTERVAL = 0.2
"""Seconds between two looks."""

_LOOKS = 3
"""Looks in a row that find nothing. One is not enough: servers and processes are looked at one
after another, and a job may be between two of them; so may one that the last one has submitted."""

_PATIENCE = 6.0
"""Seconds for which jobs may wait at a job server while none begins, before they are taken for jobs
that are due later, which it counts, too. Workers ask a silent server every four seconds."""

_ANSWERS_WITHIN = 2.0
"""Seconds for a job server. One that takes longer is away."""


class Quiet:
    """Decides when a runner has nothing left to do. Pure: the time is an argument, in seconds."""

    def __init__(self) -> None:
        self._looks = 0
        self._since: float | None = None

    def note(self, *, waiting: bool, working: bool, due: bool, now: float) -> bool:
        """Takes in what was seen.

        Args:
            waiting: whether jobs wait at a job server.
            working: whether a process runs a job.
            due: whether jobs are due that job servers have not got yet, or none can be asked.
            now: the current time.

        Returns:
            Whether nothing is left.
        """
        if working or due:
            self._looks, self._since = 0, None
            return False
        if self._since is None:
            self._since = now
        self._looks = 0 if waiting else self._looks + 1
        return self._looks >= _LOOKS or now - self._since >= _PATIENCE


class Backlog:
    """Looks whether jobs are left for the workers of a runner. It keeps no connection: children
    hold what their parent holds when it forks."""

    def __init__(self, functions: Collection[str], options: RunnerOptions) -> None:
        """
        Args:
            functions: those that the workers are known to offer.
            options: those of the runner.
        """
        self._functions = set(functions)
        self._quiet = Quiet()
        self._failed = False
        self._suspects: set[str] = set()
        """The ids of records of jobs that processes died of."""
        worker = options.worker
        self._servers = [
            JobServer(str(host), _ANSWERS_WITHIN, tls=worker.tls)
            for host in worker.hosts or parse_hosts(HOSTS)
        ]
        self._records = worker.records
        self._dispatches = options.dispatch
        self.looks_at = -math.inf
        """When to look again, by `time.monotonic`."""

    def is_worked_off(self, pids: Iterable[int | None], *, working: bool, now: float) -> bool:
        """Looks, and returns whether nothing is left.

        Args:
            pids: the processes of the runner.
            working: whether one of them runs a job, or does not serve yet.
            now: the current time, by `time.monotonic`.
        """
        self.looks_at = now + _INTERVAL
        if working:
            return self._quiet.note(waiting=False, working=True, due=False, now=now)
        asked = [self._ask(server, pids) for server in self._servers]
        answers = [rows for rows in asked if rows is not None]
        waiting = any(
            row.total > row.running
            for rows in answers
            for row in rows
            if row.function in self._functions
        )
        due = not answers or self._are_due()
        return self._quiet.note(waiting=waiting, working=False, due=due, now=now)

    def note_end(self, jobs: Iterable[RunningJob], *, failed: bool) -> None:
        """Takes in that a process has ended.

        Args:
            jobs: those that it died of. One that has a record may be failed there, without another
                process that runs it.
            failed: whether it has answered a job with a failure.
        """
        self._failed = self._failed or failed
        recorded = [parse_unique(job.unique.encode()) for job in jobs]
        self._suspects |= {each.id for each in recorded if each is not None}

    def has_failed(self) -> bool:
        """Returns whether a job has failed for good, of those of processes that have ended."""
        if self._failed:
            return True
        if not self._suspects or self._records is None:
            return False
        with contextlib.suppress(StoreUnavailable), contextlib.closing(self._records) as store:
            found = [store.look(id) for id in self._suspects]
            return any(each is not None and each.state is State.FAILED for each in found)
        return True  # nobody can say that it has not

    def _ask(self, server: JobServer, pids: Iterable[int | None]) -> list[FunctionStatus] | None:
        """Returns the rows of a job server; None if it is away."""
        ours = tuple(f"-{pid}@" for pid in pids)
        try:
            for worker in server.workers():  # some functions are registered by setUp()
                if any(pid in worker.client_id for pid in ours):
                    self._functions.update(worker.functions)
            return server.status()
        except GearmanException:
            return None

    def _are_due(self) -> bool:
        if self._records is None or not self._dispatches:
            return False
        with contextlib.suppress(StoreUnavailable), contextlib.closing(self._records) as store:
            return self._wait_in(store)
        return True

    def _wait_in(self, store: Store) -> bool:
        now = datetime.now(UTC)
        return any(
            count.waiting for count in store.counts() if count.function in self._functions
        ) or any(
            schedule.next is not None and schedule.next <= now
            for schedule in store.schedules.all()
            if schedule.function in self._functions and schedule.offered and not schedule.paused
        )
