"""The step of a worker for jobs that have a record: each is claimed before it runs, and finished in
its store before its job server is answered.

It is a step and not a hook: it decides whether a job runs, and with which arguments, and it sees
the result. It uses the connection of the store, which no task can break.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from gearmanny.errors import GearmanException, StoreUnavailable
from gearmanny.payload.failures import encode_failure
from gearmanny.payload.sizes import check_result
from gearmanny.records.contract import Store
from gearmanny.records.ids import Travelling
from gearmanny.records.scheduling import NewSchedule
from gearmanny.records.states import Event
from gearmanny.records.values import Claimed, Payload, Settled, Snapshot
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.claiming import Claimant
from gearmanny.working.held import Held
from gearmanny.working.membership import Facts, membership_of
from gearmanny.working.patience import Patience

logger = logging.getLogger("gearmanny.worker")


class ClaimLost(GearmanException):
    """Raised in the transaction of a task, to have it rolled back: somebody else has the job."""


class Claims:
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
        while self._held:
            self._return(self._held.popitem()[1])
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

    def is_cancelled(self, job: GearmanJob) -> bool:
        """Returns whether a job was cancelled while it ran.

        Args:
            job: the job.
        """
        held = self._held.get(id(job))
        return held is not None and held.is_cancelled

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
            self._write_progress()

    def _look_for_cancelled(self) -> None:
        cancelled = set(self._store.cancelling([self._membership.process()]))
        for held in list(self._held.values()):
            if held.claim in cancelled:
                held.cancel()

    def progress(self, job: GearmanJob, done: int, total: int) -> None:
        """Notes how far a job is. That is written about once a second, by another thread: a report
        must not wait for a database.

        Args:
            job: the job.
            done: how much is done.
            total: of how much.
        """
        held = self._held.get(id(job))
        if held is not None:
            held.progress = done, total
            self._membership.resume()

    def _write_progress(self) -> None:
        for held in list(self._held.values()):
            progress, held.progress = held.progress, None
            if progress is not None:
                self._store.progress(held.claim, *progress)

    def succeed(self, job: GearmanJob, result: Payload) -> None:
        """Writes the result of a job, if it has a record.

        Args:
            job: the job.
            result: as it travels.

        Raises:
            EncodingError: it is larger than `max_result`.
            GivenBack: the worker stops, and the store cannot be reached.
        """
        self._finish(job, Event.SUCCEEDED, result, None)

    def fail(self, job: GearmanJob, error: str) -> None:
        """Writes the failure of a job, if it has a record; one that was cancelled ends with that.

        Args:
            job: the job.
            error: as it travels: JSON.

        Raises:
            GivenBack: the worker stops, and the store cannot be reached.
        """
        event = Event.INTERRUPTED if self.is_cancelled(job) else Event.FAILED
        try:
            self._finish(job, event, None, error)
        except Exception:
            self._held.pop(id(job), None)
            logger.exception(
                "the failure of %s cannot be recorded",
                job.task,
                extra={"action": "store_failed"},
            )

    def _finish(
        self, job: GearmanJob, event: Event, result: Payload | None, error: str | None
    ) -> None:
        held = self._held.get(id(job))
        if held is None:
            return
        check_result(job.task, result, self._max_result)
        finish = partial(
            self._store.finish,
            *(held.claim, event, result, error),
            forget_arguments=self._forgets,
        )
        is_valid = self._patience.until_available(finish)
        self._held.pop(id(job), None)
        if not is_valid:
            _log_loss(job)

    def try_later(self, job: GearmanJob, error: str, delay: float) -> None:
        """Puts a job back into the queue, for its next attempt.

        Args:
            job: a job that is held.
            error: what the last one failed with, as it travels: JSON.
            delay: seconds until the next one.

        Raises:
            GivenBack: the worker stops, and the store cannot be reached.
        """
        give_back = partial(
            self._store.give_back, self._held[id(job)].claim, Event.RETRIED, delay, error
        )
        try:
            returned = self._patience.until_available(give_back)
        except Exception as failure:  # it is too late for that, or too early
            self.fail(job, encode_failure(failure).decode())
            return
        self._held.pop(id(job), None)
        if returned is None:
            _log_loss(job)

    def give_back(self, job: GearmanJob) -> None:
        """Puts a job back into the queue, if it has a record."""
        held = self._held.pop(id(job), None)
        if held is not None:
            self._return(held)

    def _return(self, held: Held) -> None:
        try:
            self._store.give_back(held.claim, Event.GIVEN_BACK)
        except StoreUnavailable as error:
            logger.warning(
                "the record %s says that its job runs until this process is known to be gone: %s",
                held.claim.id,
                error,
                extra={"action": "job_left_running", "id": held.claim.id},
            )

    def finish_within(self, job: GearmanJob, result: Payload, connection: object) -> None:
        """Writes the result of a job, if it has a record, in the transaction of its task.

        Args:
            job: the job.
            result: as it travels.
            connection: of the driver, that has the transaction.

        Raises:
            EncodingError: it is larger than `max_result`.
            ClaimLost: somebody else has the job.
        """
        held = self._held.get(id(job))
        if held is None:
            return
        check_result(job.task, result, self._max_result)
        if not self._store.finish(
            *(held.claim, Event.SUCCEEDED, result),
            connection=connection,
            forget_arguments=self._forgets,
        ):
            raise ClaimLost(f"Somebody else has {job.task}().")
        held.is_committing = True

    def committed(self, job: GearmanJob) -> None:
        """Notes that the transaction of a task is committed, and its job finished with that.

        Args:
            job: the job.
        """
        self._held.pop(id(job), None)

    def settle(self, job: GearmanJob, error: Exception) -> tuple[Settled, bool] | None:
        """Returns what became of a transaction that ended with an error, and whether the error was
        that of the transaction; None where the error is that of the task, which is known not to be
        committed.

        Args:
            job: the job.
            error: the exception.

        Raises:
            GivenBack: the worker stops, and the store cannot be reached.
        """
        held = self._held.get(id(job))
        if held is None:
            return None
        if isinstance(error, ClaimLost):
            self._held.pop(id(job))
            return Settled.TAKEN, True
        is_transient = self._store.is_transient(error)
        if not held.is_committing and not is_transient:
            return None
        held.is_committing = False
        settled = self._patience.until_available(partial(self._store.settle, held.claim))
        if settled is not Settled.LOST:
            self._held.pop(id(job))
        return settled, is_transient


def _log_loss(job: GearmanJob) -> None:
    logger.warning(
        "what became of %s is dropped: somebody else has taken its record over",
        job.task,
        extra={"action": "job_dropped", "function": job.task, "handle": job.handle},
    )
