"""The step of a worker for jobs that have a record: each is claimed before it runs, and finished in
its store before its job server is answered.

It is a step and not a hook: it decides whether a job runs, and with which arguments, and it sees
the result. It uses the connection of the store, which no task can break.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from gearmanny.records.contract import Store
from gearmanny.records.ids import Travelling
from gearmanny.records.scheduling import NewSchedule
from gearmanny.records.values import Claimed, Snapshot
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.claiming import Claimant
from gearmanny.working.ends import Ends
from gearmanny.working.held import Held
from gearmanny.working.membership import Facts, membership_of
from gearmanny.working.patience import Patience


class Claims(Ends):
    """The jobs with a record that a loop runs."""

    def __init__(
        self,
        store: Store,
        stopping: Callable[[], bool],
        *,
        max_deaths: int | None,
        max_result: int | None,
        forget_arguments: bool,
    ) -> None:
        """
        Args:
            store: of the records.
            stopping: returns whether the worker stops.
            max_deaths: how many processes a job may kill; None for any number.
            max_result: bytes of the largest result; None for any size.
            forget_arguments: whether a job that succeeded keeps no arguments.
        """
        self._store = store
        self._max_result = max_result
        self._forgets = forget_arguments
        self._membership = membership_of(store)
        self._patience = Patience(self._membership, stopping)
        self._claimant = Claimant(store, self._membership, stopping, max_deaths)
        self._held: dict[int, Held] = {}
        """By `id()` of the job."""

    def open(self, facts: Facts, schedules: Sequence[NewSchedule] = ()) -> None:
        """Begins to show that this process lives.

        Args:
            facts: about it.
            schedules: those in its code.
        """
        self._membership.join(facts, self._tend, schedules)

    def close(self) -> None:
        """Ends that. Jobs that were begun and not ended go back to the queue: coroutines that were
        cancelled, perhaps before their first line."""
        self.give_back_all()
        self._membership.leave(self._tend)

    def claim(self, job: GearmanJob, travelling: Travelling, *asked: Any) -> Claimed:
        """Claims a job, as `Claimant.claim` does.

        Args:
            job: the job.
            travelling: what its unique id says.
            asked: the other arguments of that.

        Raises:
            BaseException: as that does.
        """
        self._membership.resume()
        claimed = self._claimant.claim(travelling, *asked)
        self._held[id(job)] = Held(claimed)
        return claimed

    def holds(self, job: GearmanJob) -> bool:
        """Returns whether a job has a record that this process has to finish."""
        return id(job) in self._held

    def look(self, job: GearmanJob) -> Snapshot | None:
        """Returns the record of a job that is held, as soon as the store can be reached.

        Args:
            job: the job.
        """
        look = partial(self._store.look, self._held[id(job)].claim.id)
        return self._patience.until_available(look)

    def failures(self, job: GearmanJob) -> int:
        """Returns how often the task failed before, for a job that is held.

        Args:
            job: the job.
        """
        return self._held[id(job)].failures

    def interruptible(
        self, job: GearmanJob, interrupt: Callable[[], object]
    ) -> AbstractContextManager[None]:
        """Returns a block in which a task is interrupted when its job is cancelled, or was
        cancelled already.

        Args:
            job: a job that is held.
            interrupt: interrupts the task; called by another thread, or by this one at once.
        """
        return self._held[id(job)].interruptible(interrupt)

    def _tend(self) -> None:
        if self._held:
            self._look_for_cancelled()
            for held in list(self._held.values()):
                if time.monotonic() >= held.silent_until:
                    self._write_progress(held)

    def _look_for_cancelled(self) -> None:
        cancelled = set(self._store.cancelling([self._membership.process()]))
        for held in list(self._held.values()):
            if held.claim in cancelled:
                held.cancel()

    def progress(self, job: GearmanJob, done: int, total: int) -> None:
        """Notes how far a job is. That is written once a second at most, and at once where nothing
        was lately, by another thread: a report must not wait for a database. The last one is
        written when the task has ended.

        Args:
            job: the job.
            done: how much is done.
            total: of how much.
        """
        held = self._held.get(id(job))
        if held is not None:
            held.progress = done, total
            if time.monotonic() >= held.silent_until:
                self._membership.hurry()

    def save_metadata(self, job: GearmanJob, metadata: str) -> bool:
        """Keeps what a job that is held notes of itself, as soon as the store can be reached.

        Args:
            job: the job.
            metadata: the text of JSON.

        Returns:
            Whether the job is still that of this process.

        Raises:
            GivenBack: the worker stops, and the store cannot be reached.
        """
        save = partial(self._store.save_metadata, self._held[id(job)].claim, metadata)
        return self._patience.until_available(save)
