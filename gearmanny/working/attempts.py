"""The attempts at one job: each within its time limit, and another one after a failure.

The job stays held all the while. So nothing is lost when the worker dies: the
job server then gives the job to another one, which begins with the first
attempt.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from gearmanny.net.polling import Poller, Waker
from gearmanny.payload.failures import message_of, type_name
from gearmanny.tasks.options import TaskOptions
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.lastresort import LastResort
from gearmanny.working.link import Link
from gearmanny.working.timelimits import TimeLimit, Watchdog

Result = TypeVar("Result")

logger = logging.getLogger("gearmanny.worker")


class GivenBack(BaseException):
    """The job is left without an answer: the job server gives it to another worker, or has."""


class Attempts:
    """What the loop of a worker does for jobs with options."""

    def __init__(
        self,
        stopping: Callable[[], bool],
        waker: Waker,
        answer_at_last: Callable[[Link, GearmanJob, BaseException], None],
    ) -> None:
        """
        Args:
            stopping: whether the loop was told to stop.
            waker: woken when it is.
            answer_at_last: answers and logs a failure from another thread, in a process that is
                about to be ended.
        """
        self._stopping = stopping
        self._waker = waker
        self._answer_at_last = answer_at_last
        self._watchdog = Watchdog()
        self.last_resort = LastResort()
        """For coroutines."""
        self.waits = True
        """Whether there is time between two attempts."""

    def close(self) -> None:
        """Ends the threads that look after time limits."""
        self._watchdog.close()
        self.last_resort.close()

    def retrying(
        self, attempt: Callable[[], Result], options: TaskOptions, link: Link, job: GearmanJob
    ) -> Result:
        """Returns what the first attempt returns that does not fail.

        Raises:
            GivenBack: the worker stops, or has lost the job, before the next attempt.
            BaseException: what the last attempt failed with.
        """
        number = 1
        arguments = copy.deepcopy(job.data) if options.retries else None
        while True:
            try:
                return attempt()
            except BaseException as error:
                # Who has got data of one attempt must not get it from the next one again.
                if job.handle in link.data_sent_for or not options.retries_after(number, error):
                    raise
                delay = options.delay_after(number)
                log_retry(job, error, number, delay)
            self._wait(delay if self.waits else 0, link)
            number += 1
            job.data = copy.deepcopy(arguments)  # the attempt may have changed what it was given
            with contextlib.suppress(AttributeError):
                job.attempt = number
                job.interrupted = False

    def limited(
        self,
        task: Callable[[], Result],
        timeout: float,
        grace: float | None,
        link: Link,
        job: GearmanJob,
    ) -> Result:
        """Returns what a task returns, and raises what it raises.

        Args:
            task: runs the task.
            timeout: seconds after which `TaskTimeLimitExceeded` is raised inside it.
            grace: seconds after which its process is ended when it goes on nevertheless; None
                for never.
            link: to the job server that the job is from.
            job: the job.
        """
        limit = TimeLimit(
            self._watchdog, job.task, timeout, grace, partial(self._answer_at_last, link, job)
        )
        try:
            with link.reporting_whole(limit):
                return limit.run(task)
        finally:
            if limit.is_over:
                with contextlib.suppress(AttributeError):
                    job.interrupted = True

    def _wait(self, seconds: float, link: Link) -> None:
        until = time.monotonic() + seconds
        stopped = Poller()
        stopped.add(self._waker)
        while not self._stopping():
            remaining = until - time.monotonic()
            if remaining <= 0:
                break
            if stopped.wait(remaining):
                self._waker.clear()  # also called for news of other job servers
        if self._stopping() or link.has_ended():
            raise GivenBack


def log_retry(job: GearmanJob, error: BaseException, attempt: int, delay: float) -> None:
    """Logs an attempt that failed, and when the next one begins, in seconds."""
    extra: dict[str, Any] = {
        "action": "job_retried",
        "function": job.task,
        "handle": job.handle,
        "attempt": attempt,
        "delay": delay,
    }
    logger.warning(
        "%s failed in attempt %d: %s: %s; trying again in %.1f s",
        job.task,
        attempt,
        type_name(error),
        message_of(error),
        delay,
        extra=extra,
    )
