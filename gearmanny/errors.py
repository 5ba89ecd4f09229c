"""Every exception that gearmanny raises.

::

    GearmanException
    ├── TaskError               the task itself failed, on the worker
    ├── JobCancelled            the job was taken from its queue before a worker began
    ├── TaskTimeout             no answer in time; the job may still run  (TimeoutError)
    ├── JobServerUnavailable    no job server reached, nothing was sent   (ConnectionError)
    ├── JobServerLost           the connection ended after sending; the job may or may not run
    ├── JobServerError          the job server refused what it was asked
    ├── ProtocolError           bytes that are not the Gearman protocol
    ├── EncodingError           a value or a payload that the encoder refuses  (ValueError)
    ├── InvalidArguments        arguments that the task does not take          (TypeError)
    ├── RejectJob               raised by a hook: the job is not done
    ├── InvalidTask             a worker class that cannot be exported (TypeError, ValueError)
    └── InvalidOption           an option with an impossible value             (ValueError)

    BaseException
    └── TaskTimeLimitExceeded   raised inside a task whose time is over

`JobServerLost` is on purpose no `ConnectionError`: whoever retries on
`ConnectionError` must not run a job twice without having decided to.

Leaves keep their data as attributes and compose their text in `__str__`. Their
constructors take positional arguments only, so that they survive pickling.
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
    "JobCancelled",
    "JobServerError",
    "JobServerLost",
    "JobServerUnavailable",
    "ProtocolError",
    "RejectJob",
    "TaskError",
    "TaskTimeLimitExceeded",
    "TaskTimeout",
]


_LONGEST_TEXT = 500
"""Characters of a text of somebody else in a message."""


def printable(text: str) -> str:
    """Returns a text of somebody else as it may stand in a log, a label or a message: on one line,
    control characters escaped, and not too long."""
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


class GearmanException(Exception):
    """The root of all errors that gearmanny raises."""


class TaskError(GearmanException):
    """The task failed on the worker.

    Attributes:
        function: the Gearman function that was called, `"myworker_add"`.
        type: dotted name of the exception on the worker, `"builtins.ValueError"`;
            None when the worker only said that it failed.
        message: text of that exception.
        remote_args: its `args`, when they could travel as JSON, else None.
        traceback: its traceback as text, when the worker allows that, else None.
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
                f"{self.function}() failed and its worker did not say why. "
                "Look into the log of the worker."
            )
        cause = ": ".join(filter(None, (self.type, self.message)))
        return f"{self.function}() failed on its worker: {cause}"


class TaskTimeLimitExceeded(BaseException):
    """Raised inside a task whose time is over, wherever it is: catch it to clean up, and let it
    pass. Its caller gets a `TaskError` of this type.

    It is no `Exception`, for the reason for which `asyncio.CancelledError` is none: it comes out
    of any line of the task and of the libraries that the task calls, and an `except Exception`
    that goes on there means the errors of that line. Caught like them, the limit would be none.

    Attributes:
        function: the Gearman function that was called; in a thread other than the main one, it is
            empty until the exception has left the task.
        timeout: the limit, in seconds.
        grace: how long the task went on nevertheless, in seconds, before its process was ended;
            None unless it was.
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
            return "The time of the task is over."
        text = f"{self.function}() took longer than the {self.timeout:g} s that it may."
        if self.grace is None:
            return text
        return f"{text} It went on for another {self.grace:g} s, so its process was ended."


class TaskTimeout(GearmanException, TimeoutError):
    """No answer came in time. The job was not cancelled: it may still run.

    Attributes:
        function: the Gearman function that was called.
        timeout: how long was waited, in seconds.
        reason: what the job server said about the function when it was asked.
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
    """The job was taken from its queue by `cancel()`: it does not run.

    Attributes:
        function: the Gearman function that was called.
    """

    def __init__(self, function: str, /) -> None:
        super().__init__(function)
        self.function = function

    def __str__(self) -> str:
        return f"The job of {self.function}() was cancelled while it waited for a worker."


class JobServerUnavailable(GearmanException, ConnectionError):
    """No job server could be reached. Nothing was sent: it is safe to try again.

    Attributes:
        failures: what went wrong, by host.
    """

    def __init__(self, failures: dict[str, str], /) -> None:
        super().__init__(failures)
        self.failures = failures

    def __str__(self) -> str:
        hosts = "; ".join(f"{host} ({reason})" for host, reason in self.failures.items())
        return f"No Gearman job server reached: {hosts}. Is gearmand running there?"


class JobServerLost(GearmanException):
    """The connection ended after something was sent: the job may or may not run.

    Attributes:
        host: the job server that was lost.
        reason: what ended the connection.
    """

    def __init__(self, host: str, reason: str, /) -> None:
        super().__init__(host, reason)
        self.host = host
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The connection to the job server {self.host} was lost ({self.reason}). "
            "What was under way may or may not have run; it was not sent again, because only "
            "using(idempotent=True) allows that."
        )


class JobServerError(GearmanException):
    """The job server answered with an ERROR packet.

    Attributes:
        code: the server's code, such as `"QUEUE_ERROR"`.
        text: the server's text, such as `"Job queue is full"`.
    """

    def __init__(self, code: str, text: str, /) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        text = f" ({printable(self.text)})" if self.text else ""
        return f"The job server refused: {printable(self.code)}{text}"


class ProtocolError(GearmanException):
    """The peer sent bytes that are not the Gearman protocol."""


class EncodingError(GearmanException, ValueError):
    """A value cannot be encoded, or a payload cannot be decoded."""


class InvalidArguments(GearmanException, TypeError):
    """The arguments of a call are not those that the task takes."""


class RejectJob(GearmanException):
    """Raised by a hook before the task runs: the job is not done, and not tried again. Its caller
    gets a `TaskError` of this type, with the message; the worker logs a line."""


class InvalidTask(GearmanException, TypeError, ValueError):
    """A worker class, or one of its tasks, cannot be exported as it is."""


class InvalidOption(GearmanException, ValueError):
    """An option has a value that cannot be."""
