"""The attempts at one job, for whoever waits between them.

The job stays held all the while. So nothing is lost when the worker dies: the
job server then gives the job to another one, which begins with the first
attempt. A job with a record goes back to its store instead, which counts the
attempts, and keeps what each of them failed with.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import time
from collections.abc import Callable

from gearmanny.errors import InvalidOption
from gearmanny.net.polling import HasDescriptor, Poller, Waker
from gearmanny.payload.checks import PERIOD
from gearmanny.payload.failures import message_of, type_name
from gearmanny.tasks.options import TaskOptions
from gearmanny.vocabulary.gearman_api import GearmanJob, handle_of
from gearmanny.working.answers import about
from gearmanny.working.context import Context
from gearmanny.working.decisions import Decision, Fail, GiveBack, Retry, TryLater, after_failure
from gearmanny.working.frames import clear_frames
from gearmanny.working.interrupts import GivenBack, TriedLater
from gearmanny.working.link import Link

logger = logging.getLogger("gearmanny.worker")


class Attempts:
    """The attempts at one job: which one it is, and whether another one follows."""

    def __init__(
        self,
        job: GearmanJob,
        options: TaskOptions,
        link: Link,
        context: Context,
    ) -> None:
        """
        Args:
            job: the job, before its first attempt.
            options: of its task.
            link: to the job server that the job is from.
            context: the loop that runs it.
        """
        claims = context.claims
        self._claims = claims if claims is not None and claims.holds(job) else None
        self._job = job
        self._options = options
        self._link = link
        self._stopping = context.stopping
        self._events = context.events
        self._number = 1 if self._claims is None else self._claims.failures(job) + 1
        is_run_again = options.retries and self._claims is None
        self._arguments = copy.deepcopy(job.data) if is_run_again else None

    def delay_after(self, error: BaseException) -> float | None:
        """Returns the seconds until the next attempt; None when the failure is the answer.

        Args:
            error: the exception that the attempt failed with.

        Raises:
            GivenBack: the worker stops, or has lost the job.
            TriedLater: the next attempt is not made here.
            InvalidOption: the function given as `backoff` failed, or returned no number of
                seconds.
        """
        match self._decision(error):
            case Retry(delay):
                self._log(error, delay)
                if self._events is not None:
                    self._events.failed(self._job, error, will_retry=True)
                clear_frames(error)
                return delay
            case TryLater(delay):
                self._log(error, delay)
                raise TriedLater(error, delay) from None
            case GiveBack():
                raise GivenBack
            case Fail():
                return None

    def _decision(self, error: BaseException) -> Decision:
        claims = self._claims
        try:
            decision = after_failure(
                error,
                self._number,
                self._options,
                data_sent=handle_of(self._job) in self._link.data_sent,
                stopping=self._stopping(),
                lost=self._link.has_ended(),
                recorded=claims is not None,
                cancelled=claims is not None and claims.is_cancelled(self._job),
            )
            if isinstance(decision, TryLater):
                PERIOD.check(f"The backoff after attempt {self._number}", decision.delay)
        except Exception as fault:  # of the function that was given as `backoff`
            raise InvalidOption(
                f"{self._described(fault)} The attempt had failed with {type_name(error)}: "
                f"{message_of(error)}"
            ) from fault
        return decision

    def _described(self, fault: Exception) -> str:
        if isinstance(fault, InvalidOption):
            return message_of(fault)
        what = f"{type_name(fault)}: {message_of(fault)}"
        return f"The backoff after attempt {self._number} failed with {what}."

    def are_over(self) -> bool:
        """Returns whether there must not be another one: the worker stops, or has lost the job."""
        return self._stopping() or self._link.has_ended()

    def begin_next(self) -> None:
        """Makes the job ready for the next attempt.

        Raises:
            GivenBack: the worker stops, or has lost the job.
        """
        if self.are_over():
            raise GivenBack
        self._number += 1
        # The last attempt may have changed its arguments.
        self._job.data = copy.deepcopy(self._arguments)
        describe(self._job, attempt=self._number, interrupted=False)
        if self._events is not None:
            self._events.started(self._job)

    def _log(self, error: BaseException, delay: float) -> None:
        log_retry(self._job, self._number, error, delay)


class Pause:
    """The wait between two attempts at a plain task."""

    def __init__(self, waker: Waker) -> None:
        """
        Args:
            waker: woken when the worker stops.
        """
        self._waker = waker

    def __call__(self, seconds: float, link: HasDescriptor, is_over: Callable[[], bool]) -> None:
        """Waits.

        Args:
            seconds: for how long at most.
            link: the connection that the job came by; when it ends, `is_over` is asked.
            is_over: returns whether there is nothing more to wait for.
        """
        until = time.monotonic() + seconds
        poller = Poller()
        poller.add(self._waker)
        poller.add_end(link)
        woken = False
        while not is_over() and (remaining := until - time.monotonic()) > 0:
            if poller.wait(remaining):
                self._waker.clear()
                woken = True
        if woken:
            self._waker.wake()  # perhaps for what the loop attends to when the job has ended


def log_retry(job: GearmanJob, attempt: int, error: BaseException, delay: float) -> None:
    """Logs that a job is tried again.

    Args:
        job: the job.
        attempt: the number of the attempt that failed.
        error: the exception that it failed with.
        delay: seconds until the next one.
    """
    extra = about("retried", job, attempt=attempt, delay=delay)
    logger.warning(
        "%s failed in attempt %d: %s: %s; trying again in %.1f s",
        job.task,
        attempt,
        type_name(error),
        message_of(error),
        delay,
        extra=extra,
    )


def describe(job: GearmanJob, **facts: object) -> None:
    """Sets attributes of a job, as far as its `job_class` has a place for them.

    Args:
        job: the job.
        facts: the attributes, by name.
    """
    for name, value in facts.items():
        with contextlib.suppress(AttributeError):
            setattr(job, name, value)
