"""Decisions about a job whose attempt failed."""

from __future__ import annotations

from dataclasses import dataclass

from gearmanny.tasks.options import TaskOptions


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt follows."""

    delay: float
    """Seconds until then."""


@dataclass(frozen=True, slots=True)
class GiveBack:
    """The job is left without an answer, so that another worker gets it."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The failure is the answer."""


Decision = Retry | GiveBack | Fail


def after_failure(
    error: BaseException,
    attempt: int,
    options: TaskOptions,
    *,
    data_sent: bool,
    stopping: bool,
    lost: bool,
) -> Decision:
    """Returns the decision about a job whose attempt failed.

    Args:
        error: the exception that it failed with.
        attempt: the number of the attempt, 1 for the first.
        options: of the task.
        data_sent: whether a part of the result was sent: a caller who has it must not get it from
            the next attempt again.
        stopping: whether the worker stops.
        lost: whether the job server has given the job to another worker, because the connection
            ended.

    Raises:
        InvalidOption: the function given as `backoff` returned no number of seconds.
    """
    if data_sent or not options.retries_after(attempt, error):
        return Fail()
    if stopping or lost:
        return GiveBack()
    return Retry(options.delay_after(attempt))
