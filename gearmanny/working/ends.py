"""The end of a job with a record in its process: finished in its store, or back in the queue."""

from __future__ import annotations

import contextlib
import logging
import time
from functools import partial

from gearmanny.errors import GearmanException, StoreUnavailable
from gearmanny.payload.failures import encode_failure
from gearmanny.payload.sizes import check_result
from gearmanny.records.contract import Store
from gearmanny.records.states import Event
from gearmanny.records.values import Payload, Settled
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.held import Held
from gearmanny.working.membership import INTERVAL
from gearmanny.working.patience import Patience

logger = logging.getLogger("gearmanny.worker")


class ClaimLost(GearmanException):
    """Raised in the transaction of a task, to have it rolled back: somebody else has the job."""


class Ends:
    """The ends of jobs: the part of `Claims` that lets them go."""

    _store: Store
    _patience: Patience
    _held: dict[int, Held]
    _max_result: int | None
    _forgets: bool

    def is_cancelled(self, job: GearmanJob) -> bool:
        """Returns whether a job was cancelled while it ran.

        Args:
            job: the job.
        """
        held = self._held.get(id(job))
        return held is not None and held.is_cancelled

    def succeed(self, job: GearmanJob, result: Payload, kept: str | None = None) -> bool:
        """Writes the result of a job, if it has a record.

        Args:
            job: the job.
            result: as it travels.
            kept: what stands for its arguments where those are forgotten; None for nothing.

        Returns:
            Whether the job ended with that. If not, somebody else has its record.

        Raises:
            EncodingError: it is larger than `max_result`.
            GivenBack: the worker stops, and the store cannot be reached.
        """
        return self._finish(job, Event.SUCCEEDED, result, None, kept)

    def fail(self, job: GearmanJob, error: str) -> bool:
        """Writes the failure of a job, if it has a record; one that was cancelled ends with that.

        Args:
            job: the job.
            error: as it travels: JSON.

        Returns:
            Whether the job ended with that. If not, somebody else has its record.

        Raises:
            GivenBack: the worker stops, and the store cannot be reached.
        """
        event = Event.INTERRUPTED if self.is_cancelled(job) else Event.FAILED
        try:
            return self._finish(job, event, None, error)
        except Exception:
            self._held.pop(id(job), None)
            logger.exception(
                "the failure of %s cannot be recorded",
                job.task,
                extra={"action": "store_failed"},
            )
            return False

    def _finish(
        self,
        job: GearmanJob,
        event: Event,
        result: Payload | None,
        error: str | None,
        kept: str | None = None,
    ) -> bool:
        held = self._held.get(id(job))
        if held is None:
            return True
        check_result(job.task, result, self._max_result)
        self._write_last_progress(held)
        finish = partial(
            self._store.finish,
            *(held.claim, event, result, error),
            forget_arguments=self._forgets and (kept or True),
        )
        is_valid = self._patience.until_available(finish)
        self._held.pop(id(job), None)
        if not is_valid:
            _log_loss(job)
        return is_valid

    def try_later(self, job: GearmanJob, error: str, delay: float) -> Event | None:
        """Puts a job back into the queue, for its next attempt.

        Args:
            job: a job that is held.
            error: what the last one failed with, as it travels: JSON.
            delay: seconds until the next one.

        Returns:
            How it went there, or how it ended because it was too late for that; None where
            somebody else has it.

        Raises:
            GivenBack: the worker stops, and the store cannot be reached.
        """
        held = self._held[id(job)]
        self._write_last_progress(held)
        give_back = partial(self._store.give_back, held.claim, Event.RETRIED, delay, error)
        try:
            returned = self._patience.until_available(give_back)
        except Exception as failure:  # it is too late for that, or too early
            return Event.FAILED if self.fail(job, encode_failure(failure).decode()) else None
        self._held.pop(id(job), None)
        if returned is None:
            _log_loss(job)
            return None
        return returned.event

    def _write_last_progress(self, held: Held) -> None:
        # Not that of an atomic task: on SQLite, nobody else can write before its COMMIT.
        with contextlib.suppress(Exception):  # it must not cost the result
            self._write_progress(held)

    def _write_progress(self, held: Held) -> None:
        """Writes how far a job is, if that was reported since the last time."""
        with held.writing:
            progress, held.progress = held.progress, None
            if progress is not None:
                held.silent_until = time.monotonic() + INTERVAL
                self._store.progress(held.claim, *progress)

    def give_back(self, job: GearmanJob) -> None:
        """Puts a job back into the queue, if it has a record."""
        held = self._held.pop(id(job), None)
        if held is not None:
            self._return(held)

    def give_back_all(self) -> None:
        """Puts all jobs back into the queue that were begun and have not ended."""
        with contextlib.suppress(KeyError):  # the last one has just ended, in another thread
            while self._held:
                self._return(self._held.popitem()[1])

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
