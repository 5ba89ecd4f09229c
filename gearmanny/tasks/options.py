"""What `@task` says of a method: that it is a task, its time limit, whether it is tried again."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, overload

from gearmanny.errors import (
    InvalidArguments,
    InvalidOption,
    InvalidTask,
    RejectJob,
    TaskTimeLimitExceeded,
)
from gearmanny.payload.backoff import Backoff

Method = TypeVar("Method", bound=Callable[..., Any])

TASK_PREFIX = "task_"

_ATTRIBUTE = "_gearmanny_task_options"

_LONGEST_DELAY = 60.0
"""Seconds between two attempts, unless the first delay is longer: the worker is kept busy."""


_FINAL = (InvalidArguments, RejectJob)
"""What another attempt would fail with as well."""


class Inherited(enum.Enum):
    """The type of a default that is neither a number nor None."""

    AS_THE_CLASS = "as the class of the worker says"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskOptions:
    """The options of one task."""

    timeout: float | Inherited | None = Inherited.AS_THE_CLASS
    """Seconds that an attempt may take, or None."""
    retries: int = 0
    """Attempts after the first one."""
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    """The exceptions after which there is another attempt."""
    backoff: float | Callable[[int], float] = 1.0
    """Seconds before the second attempt, or a function of the number of the attempt that failed."""

    @property
    def limit(self) -> float | None:
        """The seconds that an attempt may take, once that does not depend on the class."""
        return None if isinstance(self.timeout, Inherited) else self.timeout

    @property
    def says_anything(self) -> bool:
        """Whether the task is run in another way than one without options."""
        return self.limit is not None or self.retries > 0

    def retries_after(self, attempt: int, error: BaseException) -> bool:
        """Returns whether another attempt follows the one that failed, counted from 1."""
        return (
            attempt <= self.retries
            and isinstance(error, self.retry_on)
            and not isinstance(error, _FINAL)
        )

    def delay_after(self, attempt: int) -> float:
        """Returns the seconds to wait after an attempt that failed, counted from 1.

        Raises:
            InvalidOption: the function given as `backoff` returned no number of seconds.
        """
        if not callable(self.backoff):
            longest = max(self.backoff, _LONGEST_DELAY)
            return Backoff(first=self.backoff, longest=longest, attempts=attempt - 1).next_delay()
        delay = self.backoff(attempt)
        if not _is_number(delay, least=0):
            raise InvalidOption(
                f"The backoff of a task returned {delay!r} after attempt {attempt}. It has to "
                "return a number of seconds, 0 or more."
            )
        return delay

    def help(self) -> dict[str, Any]:
        """Returns what the help table tells of them: what differs from a task without any."""
        told: dict[str, Any] = {}
        if self.limit is not None:
            told["timeout"] = self.limit
        if self.retries:
            told["retries"] = self.retries
        return told


@overload
def task(method: Method, /) -> Method: ...


@overload
def task(
    *,
    timeout: float | Inherited | None = Inherited.AS_THE_CLASS,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    backoff: float | Callable[[int], float] = 1.0,
) -> Callable[[Method], Method]: ...


def task(
    method: Callable[..., Any] | None = None,
    /,
    *,
    timeout: float | Inherited | None = Inherited.AS_THE_CLASS,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    backoff: float | Callable[[int], float] = 1.0,
) -> Callable[..., Any]:
    """Makes a method a task, which needs no `task_` in its name then, and gives it options. It
    stays the method that it is. A subclass that overrides it has a task, with options of its own.

    Args:
        method: of a class of tasks. Left out where there are options: `@task(timeout=…)`.
        timeout: seconds after which `TaskTimeLimitExceeded` is raised inside the task, in every
            attempt anew; None for never. Default: the `timeout` of the worker class.
        retries: how often the task is tried again after it failed. Meanwhile the worker holds
            the job, and serves no other; a task that has sent data is not tried again.
        retry_on: the exceptions after which it is tried again. `InvalidArguments` and
            `RejectJob` never are among them; `TaskTimeLimitExceeded` only when it is named here.
        backoff: seconds before the second attempt; the delays double from there to a minute, and
            are shortened at random by up to a half. Or a function that is given the number of the
            attempt that failed, 1 for the first, and returns the seconds to wait.

    Raises:
        InvalidOption: a value that cannot be, or options that say nothing.
        InvalidTask: what is decorated is no method, a private one, or decorated already.
    """
    if method is not None:
        return _marked(method, TaskOptions())
    check_timeout("timeout", timeout)
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise InvalidOption(f"retries is a number of further attempts, 0 or more, not {retries!r}.")
    kinds = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    _check_retry_on(kinds)
    if not callable(backoff) and not _is_number(backoff, least=0):
        raise InvalidOption(
            "backoff is a number of seconds, 0 or more, or a function of the attempt that "
            f"returns one, not {backoff!r}."
        )
    options = TaskOptions(timeout=timeout, retries=retries, retry_on=kinds, backoff=backoff)
    if not retries and options != TaskOptions(timeout=timeout):
        raise InvalidOption("retry_on and backoff say how to try again. Add retries=3, or so.")
    return partial(_marked, options=options)


def is_task(worker: type, attribute: str) -> bool:
    """Returns whether a class has a task under this name: a method that is named or decorated
    like one, or that overrides one which is. A class, such as a form, is no task."""
    like_one = attribute.startswith(TASK_PREFIX) or any(
        _mark(vars(base).get(attribute)) for base in worker.__mro__
    )
    value = getattr(worker, attribute)
    return like_one and callable(value) and not isinstance(value, type)


def options_of(method: object, class_timeout: float | None) -> TaskOptions:
    """Returns the options of a method, in a class with this time limit."""
    options = _mark(method) or TaskOptions()
    if isinstance(options.timeout, Inherited):
        return replace(options, timeout=class_timeout)
    return options


def check_timeout(name: str, timeout: object) -> None:
    """Raises InvalidOption unless it can limit the time of a task."""
    if timeout is None or isinstance(timeout, Inherited):
        return
    if not _is_number(timeout, least=0) or not timeout:
        raise InvalidOption(f"{name} is a number of seconds above 0, or None, not {timeout!r}.")


def check_grace(name: str, grace: object) -> None:
    """Raises InvalidOption unless a task that ignores its limit can be given this time."""
    if grace is not None and not _is_number(grace, least=0):
        raise InvalidOption(f"{name} is a number of seconds, 0 or more, or None, not {grace!r}.")


def _marked(method: Method, options: TaskOptions) -> Method:
    function = _function(method)
    name = getattr(function, "__name__", "")
    if not callable(function) or not name:
        raise InvalidTask(f"@task makes a method a task, and {method!r} is none.")
    if name.startswith("_"):
        raise InvalidTask(f"{name} is private by its name, and a task is called by others.")
    if _mark(function):
        raise InvalidTask(f"{name} is decorated already. Give it all its options in one @task(…).")
    setattr(function, _ATTRIBUTE, options)
    return method


def _mark(method: object) -> TaskOptions | None:
    options = getattr(_function(method), _ATTRIBUTE, None)
    return options if isinstance(options, TaskOptions) else None  # a mock has every attribute


def _function(method: object) -> object:
    """The function in a staticmethod or classmethod; any other object as it is."""
    return method.__func__ if isinstance(method, (staticmethod, classmethod)) else method


def _check_retry_on(kinds: tuple[object, ...]) -> None:
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, (Exception, TaskTimeLimitExceeded)):
            raise InvalidOption(
                "retry_on is one class of exceptions, or a tuple of them: of Exception, and "
                f"TaskTimeLimitExceeded. {kind!r} is none."
            )
    if not kinds:
        raise InvalidOption("retry_on is empty. Name the exceptions after which to try again.")


def _is_number(value: object, *, least: float) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= least
    )
