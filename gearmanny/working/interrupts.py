"""Exceptions that are meant for a worker, and not for the job that it runs."""

from __future__ import annotations

import functools
import signal
from types import FrameType, FunctionType, MethodType
from typing import Any

from gearmanny.errors import TaskTimeLimitExceeded
from gearmanny.vocabulary.gearman_api import GearmanJob


class GivenBack(BaseException):
    """Raised when a job is left without an answer: its job server gives it to another worker, or
    has done so already."""


class TriedLater(BaseException):
    """Raised when an attempt at a job with a record has failed and another one follows: the job
    goes back to the queue of its store, and this process serves others meanwhile."""

    def __init__(self, failure: BaseException, delay: float) -> None:
        """
        Args:
            failure: the exception that the attempt failed with.
            delay: seconds until the next attempt.
        """
        super().__init__()
        self.failure = failure
        self.delay = delay


class Answered(BaseException):
    """Raised when a job has been answered already."""


class Skipped(BaseException):
    """Raised when a job is answered and not run here: its record is in other hands."""


_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def stops_worker(error: BaseException) -> bool:
    """Returns whether an exception stops the worker: `KeyboardInterrupt`, or a `SystemExit` that a
    signal handler raised. Any other `SystemExit` is a failure like others: of a task, or a hook.

    Args:
        error: the exception.
    """
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and _raised_by_signal(error)
    )


def is_stopping(frame: FrameType | None) -> bool:
    """Returns whether the handler of a signal that ends programs is running.

    Args:
        frame: that of the line that runs; None where none does.
    """
    codes = _handlers()
    while frame is not None:
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False


def was_interrupted(job: GearmanJob, error: BaseException | None) -> bool:
    """Returns whether a task was interrupted at a moment that nobody chose.

    Args:
        job: its job.
        error: the exception that left the task, if any: it may have swallowed the interruption.
    """
    return (
        _interrupted(job)
        or isinstance(error, TaskTimeLimitExceeded)
        or (error is not None and stops_worker(error))
    )


def is_failure(error: BaseException) -> bool:
    """Returns whether an exception is an error of the code that it came out of.

    Args:
        error: the exception.
    """
    return isinstance(error, (Exception, SystemExit)) and not stops_worker(error)


def _raised_by_signal(error: BaseException) -> bool:
    codes = _handlers()
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def _handlers() -> set[object]:
    return {_code(signal.getsignal(number)) for number in _STOP_SIGNALS} - {None}


def _interrupted(job: GearmanJob) -> bool:
    try:
        return bool(job.interrupted)
    except AttributeError:  # the job_class has no place for it
        return False


def _code(handler: Any) -> object:
    """The code that the call of a signal handler runs."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if callable(handler) and not isinstance(handler, (FunctionType, MethodType)):  # an object
        handler = type(handler).__call__
    function = handler.__func__ if isinstance(handler, MethodType) else handler
    return function.__code__ if isinstance(function, FunctionType) else None
