"""The end of a job: its answer, a line in the log, and the `after_job` of the worker."""

from __future__ import annotations

import logging
import time

from gearmanny.errors import (
    EncodingError,
    GearmanException,
    InvalidArguments,
    RejectJob,
    WorkerLost,
)
from gearmanny.payload.failures import encode_failure, message_of, type_name
from gearmanny.records.ids import parse_unique
from gearmanny.records.states import Event
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker, handle_of
from gearmanny.working.claims import Claims
from gearmanny.working.exported import owner_of
from gearmanny.working.frames import clear_frames
from gearmanny.working.interrupts import (
    Answered,
    GivenBack,
    Skipped,
    TriedLater,
    is_failure,
    stops_worker,
)
from gearmanny.working.jobevents import JobEvents
from gearmanny.working.ledger import Ledger
from gearmanny.working.link import Link

logger = logging.getLogger("gearmanny.worker")


class Answers:
    """Ends the jobs of a `GearmanWorker`. Several may end at the same time, in several threads."""

    def __init__(
        self,
        gearman_worker: GearmanWorker,
        ledger: Ledger,
        claims: Claims | None = None,
        events: JobEvents | None = None,
    ) -> None:
        """
        Args:
            gearman_worker: the worker.
            ledger: names the jobs that run.
            claims: the jobs with records; None for a worker without a store.
            events: reports what becomes of jobs; None where nobody is notified.
        """
        self._claims = claims
        self._events = events
        self._worker = gearman_worker
        self._ledger = ledger
        self._failed: dict[int, BaseException] = {}
        """The failures of jobs that have not ended yet, by the `id()` of the job."""
        self._unsuccessful: dict[int, tuple[BaseException, bool] | None] = {}
        """What is reported of jobs that end without a result: the failure, and whether another
        attempt follows; None for nothing."""

    def end(
        self, link: Link, job: GearmanJob, started: float, error: BaseException | None = None
    ) -> bool:
        """Ends a job.

        Args:
            link: the connection that the job came by, and that its answer is queued on.
            job: the job.
            started: when it was begun, by `time.perf_counter`.
            error: the exception that came out of it, if any.

        Returns:
            Whether the job was answered. One that is given back was not.

        Raises:
            BaseException: the error, where it stops the worker.
        """
        if error is None and handle_of(job) in link.machine.held:
            error = GearmanException("its worker ended the job without an answer")
        if error is not None:
            try:
                self._end_with(link, job, error)
            except GivenBack:
                self._give_back(job)
                self._unsuccessful.pop(id(job), None)
                self._ledger.answered(link, job)
                logger.info("%s is given back", job.task, extra=about("given_back", job))
                return False
        self._ledger.answered(link, job)
        if self._events is not None:
            self._report(self._events, job)
        self._unsuccessful.pop(id(job), None)
        failure = self._failed.pop(id(job), None)
        if failure is not None:
            clear_frames(failure)
        elif logger.isEnabledFor(logging.INFO):
            seconds = time.perf_counter() - started
            extra = about("answered", job, seconds=round(seconds, 6))
            logger.info("%s answered in %.3f s", job.task, seconds, extra=extra)
        return True

    def _end_with(self, link: Link, job: GearmanJob, error: BaseException) -> None:
        if isinstance(error, GivenBack):
            raise error
        if isinstance(error, Skipped):
            logger.info("%s is skipped: %s", job.task, error, extra=about("skipped", job))
            link.complete(handle_of(job), b"")
            self._unsuccessful[id(job)] = None
        elif isinstance(error, TriedLater):
            self.try_later(link, job, error)
        elif stops_worker(error):
            self._give_back(job)
            raise error
        elif not isinstance(error, Answered):
            self.fail(link, job, error)

    def try_later(self, link: Link, job: GearmanJob, later: TriedLater) -> Event | None:
        """Answers a job with a record that goes back to the queue of its store.

        Args:
            link: the connection that the answer is queued on.
            job: the job.
            later: the failure of the attempt, and when the next one is made.

        Returns:
            How the job went there, or how it ended because it was too late for that; None where
            somebody else has it.

        Raises:
            GivenBack: the worker stops, and the store cannot be reached.
        """
        assert self._claims is not None
        error = self._encoded(job, later.failure).decode()
        event = self._claims.try_later(job, error, later.delay)
        link.complete(handle_of(job), b"")
        self._failed[id(job)] = later.failure
        self._unsuccessful[id(job)] = later.failure, True
        return event

    def _give_back(self, job: GearmanJob) -> None:
        if self._claims is not None:
            self._claims.give_back(job)

    def fail(self, link: Link, job: GearmanJob, error: BaseException) -> bool:
        """Answers a job with what it failed with, and logs it.

        Args:
            link: the connection that the answer is queued on.
            job: the job.
            error: the exception that it failed with.

        Returns:
            Whether the job ended with that. If not, somebody else has its record.

        Raises:
            GivenBack: the failure cannot be recorded.
        """
        cancelled = self._claims is not None and self._claims.is_cancelled(job)
        is_ended = self._queue_failure(link, job, error)
        self._failed[id(job)] = error
        self.failed(job, None if cancelled else error)
        if cancelled:
            logger.info("%s was cancelled", job.task, extra=about("cancelled", job))
        else:
            self._ledger.failed()
            _log_failure(job, error)
        return is_ended

    def failed(self, job: GearmanJob, error: BaseException | None) -> None:
        """Notes that a job has no result.

        Args:
            job: the job.
            error: the failure that is its answer; None where it was cancelled.
        """
        self._unsuccessful[id(job)] = None if error is None else (error, False)

    def _report(self, events: JobEvents, job: GearmanJob) -> None:
        if id(job) not in self._unsuccessful:
            events.succeeded(job)
        elif (failure := self._unsuccessful[id(job)]) is not None:
            events.failed(job, failure[0], will_retry=failure[1])

    def fail_at_last(self, link: Link, job: GearmanJob, error: BaseException) -> None:
        """Answers a job for a task that cannot be ended, in a process that is about to be. Other
        jobs with records go back to the queue: its end is not their fault.

        Args:
            link: the connection that the answer is sent over.
            job: the job.
            error: the exception that it failed with.

        Raises:
            JobServerLost: the connection has ended.
        """
        self._ledger.blame(job)
        self._ledger.failed()
        self._queue_failure(link, job, error)
        try:
            link.flush()
        finally:
            if self._claims is not None:
                self._claims.give_back_all()
        _log_failure(job, error)
        link.finish()

    def goes_on_after_job(self) -> bool:
        """Returns whether the worker's `after_job` lets it go on. An error in there is logged: the
        job has its answer, and must not be run again because of that.

        Raises:
            BaseException: an exception that stops the worker.
        """
        try:
            return bool(self._worker.after_job())
        except BaseException as error:
            if not is_failure(error):
                raise
            logger.exception(
                "after_job of %s failed",
                type(self._worker).__qualname__,
                extra={"action": "after_job_failed"},
            )
            return True

    def _queue_failure(self, link: Link, job: GearmanJob, error: BaseException) -> bool:
        owner = owner_of(self._worker, job.task)
        failure = self._encoded(job, error)
        is_ended = self._claims is None or self._claims.fail(job, failure.decode())
        link.fail_with(
            handle_of(job),
            failure,
            as_exception=owner is not None and owner.send_exceptions,
        )
        return is_ended

    def _encoded(self, job: GearmanJob, error: BaseException) -> bytes:
        owner = owner_of(self._worker, job.task)
        return encode_failure(error, owner is not None and owner.send_tracebacks)


def _log_failure(job: GearmanJob, error: BaseException) -> None:
    expected = isinstance(error, (InvalidArguments, EncodingError, RejectJob, WorkerLost))
    level, extra = logging.WARNING if expected else logging.ERROR, about("failed", job)
    began = getattr(job, "began", None)
    if began is not None:
        extra["seconds"] = round(time.perf_counter() - began, 6)
    try:
        logger.log(
            level,
            "%s failed: %s: %s",
            job.task,
            type_name(error),
            message_of(error),
            exc_info=None if expected else error,
            extra=extra,
        )
    except MemoryError:
        logger.log(
            level,
            "%s failed: %s, with a text that there is not enough memory to log",
            job.task,
            type_name(error),
            extra=extra,
        )


def about(what: str, job: GearmanJob, **more: object) -> dict[str, object]:
    """Returns the attributes of a log record about a job.

    Args:
        what: the event, `"answered"`.
        job: the job.
        more: other attributes.
    """
    found: dict[str, object] = {
        "action": f"job_{what}",
        "function": job.task,
        "handle": job.handle,
        "attempt": getattr(job, "attempt", 1),
    }
    if job.unique.startswith("j:"):
        record = parse_unique(job.unique.encode(errors="surrogateescape"))
        if record is not None:
            found["id"] = record.id
    return found | more
