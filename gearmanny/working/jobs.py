"""One job: its payload decoded, its task run, its answer queued, a line in the log."""

from __future__ import annotations

import logging
import time

from gearmanny.errors import EncodingError, GearmanException, InvalidArguments, RejectJob
from gearmanny.net.forks import end_as_a_program, this_process
from gearmanny.payload.encoding import decode
from gearmanny.payload.failures import encode_failure, message_of, type_name
from gearmanny.protocol.worker import Assigned
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.working.attempts import GivenBack
from gearmanny.working.interrupts import is_failure, stops_worker
from gearmanny.working.link import Link

logger = logging.getLogger("gearmanny.worker")


class JobRunner:
    """Runs the jobs of a `GearmanWorker`, one at a time."""

    def __init__(self, gearman_worker: GearmanWorker) -> None:
        self.worker = gearman_worker
        self.handed_over = False
        """Whether the job that was begun last goes on elsewhere, and is answered there."""
        self._failed: GearmanJob | None = None

    def run(self, link: Link, assigned: Assigned, task: str | bytes) -> bool:
        """Runs a job that was assigned, and answers it.

        Args:
            link: the connection that it came by, and that its answer is queued on.
            assigned: the job.
            task: the name that its function was registered with.

        Returns:
            Whether it was the last one: the `after_job` of the worker has said so.
        """
        self.handed_over = False
        started = time.perf_counter()
        forks = this_process.forks
        handle, _, unique, payload = assigned
        job = self.worker.create_job(
            link,
            handle.decode(errors="surrogateescape"),
            task,
            unique.decode(errors="surrogateescape"),
            None,
        )
        try:
            job.attempt = 1
            job.interrupted = False
            job.function = task
        except AttributeError:  # a job_class that has no place for them
            pass
        try:
            job.data = decode(self.worker.data_encoder, payload)
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug(
                    "%s is called with %r", job.task, job.data, extra=_about("started", job)
                )
            callback = self.worker.worker_abilities.get(task)
            if hasattr(callback, "begin"):
                self.handed_over = True
                callback.begin(self, link, job)
                return False
            self.worker.on_job_execute(job)
            if this_process.forks != forks:
                end_as_a_program()
            if handle in link.machine.held:
                raise GearmanException("its worker ended the job without an answer")
        except GivenBack:
            self.log_given_back(job)
            return False
        except BaseException as error:  # the payload, the result, a hook of a subclass, a
            if this_process.forks != forks:  # CancelledError that left a loop
                end_as_a_program()
            if stops_worker(error):
                raise
            self.answer_failure(link, job, error)
        if self._failed is not job:
            self.log_answer(job, started)
        return not self.goes_on_after_job()

    def goes_on_after_job(self) -> bool:
        """Returns what `after_job` of the worker says. What it raises is logged: the job has its
        answer, and must not be run again because of that."""
        try:
            return bool(self.worker.after_job())
        except BaseException as error:
            if not is_failure(error):
                raise
            logger.exception(
                "after_job of %s failed",
                type(self.worker).__qualname__,
                extra={"action": "after_job_failed"},
            )
            return True

    def log_answer(self, job: GearmanJob, started: float) -> None:
        """Logs that a job was answered, which was begun at `started` by `time.perf_counter`."""
        if logger.isEnabledFor(logging.INFO):
            seconds = time.perf_counter() - started
            logger.info("%s answered in %.3f s", job.task, seconds, extra=_about("answered", job))

    def log_given_back(self, job: GearmanJob) -> None:
        """Logs that a job is left to another worker."""
        logger.info("%s is given back", job.task, extra=_about("given_back", job))

    def answer_failure(self, link: Link, job: GearmanJob, error: BaseException) -> None:
        """Answers a job with what it failed with, and logs it."""
        self._fail(link, job, error)
        self._log_failure(job, error)

    def answer_at_last(self, link: Link, job: GearmanJob, error: BaseException) -> None:
        """Answers a job for a task that cannot be ended, in a process that is about to be."""
        self._fail(link, job, error)
        link.flush()
        self._log_failure(job, error)
        link.finish()

    def _fail(self, link: Link, job: GearmanJob, error: BaseException) -> None:
        # BaseWorker's callbacks have these; a callback that was registered directly need not.
        callback = self.worker.worker_abilities.get(job.task)
        link.fail(
            job,
            encode_failure(error, getattr(callback, "send_tracebacks", False)),
            as_exception=getattr(callback, "send_exceptions", False),
        )
        self._failed = job

    def _log_failure(self, job: GearmanJob, error: BaseException) -> None:
        expected = isinstance(error, (InvalidArguments, EncodingError, RejectJob))
        level, about = logging.WARNING if expected else logging.ERROR, _about("failed", job)
        try:
            logger.log(
                level,
                "%s failed: %s: %s",
                job.task,
                type_name(error),
                message_of(error),
                exc_info=None if expected else error,
                extra=about,
            )
        except MemoryError:
            logger.log(
                level,
                "%s failed: %s, with a text that there is not enough memory to log",
                job.task,
                type_name(error),
                extra=about,
            )


def _about(what: str, job: GearmanJob) -> dict[str, str]:
    return {"action": f"job_{what}", "function": job.task, "handle": job.handle}
