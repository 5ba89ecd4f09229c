"""Reports of what becomes of jobs, to somebody who must not hurt them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from gearmanny.payload.failures import message_of, type_name
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.working.exported import owner_of
from gearmanny.working.interrupts import is_failure

logger = logging.getLogger("gearmanny.worker")


class JobListener(Protocol):
    """An object that is notified of the jobs of a worker, in the process that runs them.

    Its exceptions are logged, and change nothing about the job.
    """

    @property
    def listens(self) -> bool:
        """Whether anybody wants to know. Around `async def` tasks, it is called in the thread in
        which synchronous hooks run, and only then."""

    def started(self, kind: type, job: GearmanJob) -> None:
        """An attempt at a job begins.

        Args:
            kind: the class of the worker, or its `work_class` where it registered a function
                itself.
            job: the job.
        """

    def succeeded(self, kind: type, job: GearmanJob) -> None:
        """A job has its result. In the store, too, if it has a record.

        Args:
            kind: as above.
            job: the job.
        """

    def failed(self, kind: type, job: GearmanJob, error: BaseException, will_retry: bool) -> None:
        """An attempt at a job has failed, or the job was refused before it began.

        Args:
            kind: as above.
            job: the job.
            error: the exception.
            will_retry: whether another attempt follows. If not, the failure is the answer.
        """


class JobEvents:
    """What a loop tells a listener."""

    def __init__(self, gearman_worker: GearmanWorker, listener: JobListener) -> None:
        """
        Args:
            gearman_worker: the worker whose jobs they are.
            listener: is notified.
        """
        self._worker = gearman_worker
        self._listener = listener

    @property
    def are_heard(self) -> bool:
        """Whether the listener wants to know of any."""
        return self._listener.listens

    def started(self, job: GearmanJob) -> None:
        """Reports the beginning of an attempt.

        Args:
            job: the job.
        """
        self._report(job, partial(self._listener.started, self._kind_of(job), job))

    def succeeded(self, job: GearmanJob) -> None:
        """Reports that a job has its result.

        Args:
            job: the job.
        """
        self._report(job, partial(self._listener.succeeded, self._kind_of(job), job))

    def failed(self, job: GearmanJob, error: BaseException, *, will_retry: bool) -> None:
        """Reports a failure.

        Args:
            job: the job.
            error: the exception.
            will_retry: whether another attempt follows.
        """
        self._report(
            job, partial(self._listener.failed, self._kind_of(job), job, error, will_retry)
        )

    def _kind_of(self, job: GearmanJob) -> type:
        return type(owner_of(self._worker, job.task) or self._worker)

    def _report(self, job: GearmanJob, report: Callable[[], None]) -> None:
        try:
            report()
        except BaseException as error:
            if not is_failure(error):
                raise
            logger.error(
                "a report about %s failed: %s: %s",
                job.task,
                type_name(error),
                message_of(error),
                exc_info=error,
                extra={"action": "report_failed", "function": job.task, "handle": job.handle},
            )
