"""The exceptions of gearmanny.

::

    GearmanException
    ├── TaskError               the task itself failed, on the worker
    ├── JobCancelled            the job was cancelled
    ├── TaskTimeout             no answer in time; the job may still run  (TimeoutError)
    ├── JobServerUnavailable    no job server reached, nothing was sent   (ConnectionError)
    ├── JobServerLost           the connection ended after sending; the job may or may not run
    ├── JobServerError          the job server refused the request
    ├── ProtocolError           bytes that are not valid in the Gearman protocol
    ├── WorkerLost              the job has killed the processes that ran it, and is not run again
    ├── EncodingError           the encoder cannot encode a value or decode a payload (ValueError)
    ├── InvalidArguments        arguments that the task does not accept        (TypeError)
    ├── RejectJob               raised by a hook to prevent a job from running
    ├── StoreUnavailable        the database with the records is not reached   (ConnectionError)
    ├── UnknownJob              no record of a job with that id                (LookupError)
    ├── InvalidTransition       an event that is not allowed in the state of a recorded job
    ├── InvalidTask             an invalid worker class or task        (TypeError, ValueError)
    └── InvalidOption           an option with an invalid value                (ValueError)

    BaseException
    └── TaskTimeLimitExceeded   raised inside a task that exceeds its time limit

`JobServerLost` is deliberately not a `ConnectionError`: code that retries on
`ConnectionError` must not run a job twice by accident.

Exceptions keep their data in attributes and compose their text in `__str__`.
Their constructors take positional arguments only, so that they can be pickled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = [
    "EncodingError",
    "GearmanException",
    "InvalidArguments",
    "InvalidOption",
    "InvalidTask",
    "InvalidTransition",
    "JobCancelled",
    "JobServerError",
    "JobServerLost",
    "JobServerUnavailable",
    "ProtocolError",
    "RejectJob",
    "StoreUnavailable",
    "TaskError",
    "TaskTimeLimitExceeded",
    "TaskTimeout",
    "UnknownJob",
    "WorkerLost",
]


_LONGEST_TEXT = 500
"""Characters of a received text that are shown in a message."""


def printable(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Returns a received text in a form that is safe in logs, labels and messages: on one line,
    with control characters escaped, and truncated.

    Args:
        text: the text.
        longest: characters that are left of it.
    """
    text = text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


class GearmanException(Exception):
    """The base class of all errors of gearmanny."""


class TaskError(GearmanException):
    """The task failed on the worker.

    Attributes:
        function: the Gearman function that was called, such as `"myworker_add"`.
        type: the dotted name of the exception on the worker, such as `"builtins.ValueError"`;
            None if the worker sent no reason.
        message: the text of that exception.
        remote_args: its `args`; None if they cannot be encoded as JSON.
        traceback: its traceback as text; None unless the worker sends tracebacks.
    """

    def __init__(
        self,
        function: str,
        type: str | None = None,
        message: str = "",
        remote_args: Sequence[object] | None = None,
        traceback: str | None = None,
        /,
    ) -> None:
        super().__init__(function, type, message, remote_args, traceback)
        self.function = function
        self.type = type
        self.message = message
        self.remote_args = remote_args
        self.traceback = traceback

    def __str__(self) -> str:
        if self.type is None and not self.message:
            return (
                f"{self.function}() failed, and its worker gave no reason. "
                "See the log of the worker."
            )
        cause = ": ".join(filter(None, (self.type, self.message)))
        return f"{self.function}() failed on its worker: {cause}"


class TaskTimeLimitExceeded(BaseException):
    """The task exceeded its time limit.

    It is raised inside the task, at any line: catch it only to clean up, and raise it again. The
    caller gets a `TaskError` of this type.

    Like `asyncio.CancelledError`, it is not an `Exception`: it can be raised at any line of the
    task and of the libraries that it calls, where an `except Exception` is meant for other errors
    and would defeat the limit.

    Attributes:
        function: the Gearman function that was called. In a thread other than the main thread, it
            is empty until the exception has left the task.
        timeout: the limit, in seconds.
        grace: the seconds for which the task continued after the limit before its process was
            killed; None if it was not killed.
    """

    def __init__(
        self, function: str = "", timeout: float = 0.0, grace: float | None = None, /
    ) -> None:
        super().__init__(function, timeout, grace)
        self.function = function
        self.timeout = timeout
        self.grace = grace

    def __str__(self) -> str:
        if not self.function:
            return "The task exceeded its time limit."
        text = f"{self.function}() exceeded its time limit of {self.timeout:g} s."
        if self.grace is None:
            return text
        return f"{text} It was still running {self.grace:g} s later, so its process was killed."


class TaskTimeout(GearmanException, TimeoutError):
    """No answer came in time. The job was not cancelled: it may still run.

    Attributes:
        function: the Gearman function that was called.
        timeout: the timeout, in seconds.
        reason: a likely reason, from the status of the function on the job server.
    """

    def __init__(self, function: str, timeout: float, reason: str = "", /) -> None:
        super().__init__()
        self.function = function
        self.timeout = timeout
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        # As an OSError it would take three arguments for errno, strerror and filename.
        return type(self), (self.function, self.timeout, self.reason), vars(self)

    def __str__(self) -> str:
        within = f" within {self.timeout:g} s" if self.timeout < math.inf else ""
        text = f"No answer from {self.function}(){within}."
        return f"{text} {self.reason}" if self.reason else text


class JobCancelled(GearmanException):
    """The job was cancelled: it will not run, or was interrupted.

    It is also raised inside a task whose job has a record and is cancelled while it runs, at any
    line: catch it only to clean up, and raise it again.

    Attributes:
        function: the Gearman function that was called. In a thread other than the main thread, it
            is empty until the exception has left the task.
        reason: a sentence that says why, where it was not `cancel()`; else empty.
    """

    def __init__(self, function: str = "", reason: str = "", /) -> None:
        super().__init__(function, *([reason] if reason else []))
        self.function = function
        self.reason = reason

    def __str__(self) -> str:
        job = f"The job of {self.function}()" if self.function else "The job"
        return f"{job} was cancelled.{self.reason and f' {self.reason}'}"


class JobServerUnavailable(GearmanException, ConnectionError):
    """No job server could be reached. Nothing was sent: it is safe to try again.

    Attributes:
        failures: the reason for each host.
    """

    def __init__(self, failures: dict[str, str], /) -> None:
        super().__init__(failures)
        self.failures = failures

    def __str__(self) -> str:
        hosts = "; ".join(f"{host} ({reason})" for host, reason in self.failures.items())
        return f"No Gearman job server reached: {hosts}. Is gearmand running there?"


class JobServerLost(GearmanException):
    """The connection ended after a job was sent. The job may or may not run.

    Attributes:
        host: the job server.
        reason: the reason why the connection ended.
    """

    def __init__(self, host: str, reason: str, /) -> None:
        super().__init__(host, reason)
        self.host = host
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The connection to the job server {self.host} was lost ({self.reason}). "
            "The jobs in flight may or may not have run. They were not sent again: "
            "using(idempotent=True) allows that."
        )


class JobServerError(GearmanException):
    """The job server answered with an error.

    Attributes:
        code: its code, such as `"QUEUE_ERROR"`.
        text: its text, such as `"Job queue is full"`.
    """

    def __init__(self, code: str, text: str, /) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        text = f" ({printable(self.text)})" if self.text else ""
        return f"The job server refused: {printable(self.code)}{text}"


class WorkerLost(GearmanException):
    """The job was not run again, because it has killed the processes that ran it.

    The caller gets a `TaskError` of this type with the message.

    Attributes:
        function: the Gearman function that was called.
        ends: how those processes ended, such as `"was ended by SIGSEGV (3 times)"`.
    """

    def __init__(self, function: str, ends: str, /) -> None:
        super().__init__(function, ends)
        self.function = function
        self.ends = ends

    def __str__(self) -> str:
        return f"{self.function}() was not run again: a process that ran this job {self.ends}."


class ProtocolError(GearmanException):
    """The peer sent bytes that are not valid in the Gearman protocol."""


class EncodingError(GearmanException, ValueError):
    """A value cannot be encoded, or a payload cannot be decoded."""


class InvalidArguments(GearmanException, TypeError):
    """The task does not accept the arguments of the call."""


class RejectJob(GearmanException):
    """Raised by a hook to prevent a job from running. The job is not retried.

    The caller gets a `TaskError` of this type with the message; the worker logs a line.
    """


class StoreUnavailable(GearmanException, ConnectionError):
    """The database of the store cannot be reached, or does not answer. What was asked of it may
    or may not have been done; it can be asked again."""


class UnknownJob(GearmanException, LookupError):
    """There is no record of a job with this id in the store."""


class InvalidTransition(GearmanException):
    """The event is not allowed in this state of a recorded job.

    Attributes:
        state: the state of the job; None for a job that is not recorded yet.
        event: the event.
    """

    def __init__(self, state: str | None, event: str, /) -> None:
        super().__init__(state, event)
        self.state = state
        self.event = event

    def __str__(self) -> str:
        return f"A job that is {self.state or 'not recorded'} cannot be {self.event}."


class InvalidTask(GearmanException, TypeError, ValueError):
    """A worker class or one of its tasks is invalid."""


class InvalidOption(GearmanException, ValueError):
    """An option has an invalid value."""
