"""The options of a task: its time limit, and whether it is tried again."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, Unpack, cast, overload

from gearmanny.errors import (
    InvalidArguments,
    InvalidOption,
    InvalidTask,
    RejectJob,
    TaskTimeLimitExceeded,
)
from gearmanny.payload.backoff import Backoff
from gearmanny.payload.checks import SECONDS, SWITCH, TIME_LIMIT, Rule, whole_number
from gearmanny.schedules.timetable import OptionsOfTimetable, Planned, planned
from gearmanny.tasks.limits import LimitOptions, checked_limits
from gearmanny.tasks.namesakes import refuse_enqueue

Method = TypeVar("Method", bound=Callable[..., Any])

TASK_PREFIX = "task_"

_ATTRIBUTE = "_gearmanny_task_options"

_LONGEST_DELAY = 60.0
"""Seconds between two attempts, unless the first delay is longer: the worker is kept busy."""

_RETRIES = whole_number(0)

_BACKOFF = Rule(
    f"{SECONDS.words}, or a function of the attempt that returns one",
    lambda backoff: callable(backoff) or SECONDS.allows(backoff),
    float,
)

_FINAL = (InvalidArguments, RejectJob)
"""Exceptions that another attempt would raise as well."""


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
    cached: bool = False
    """Whether equal calls have equal answers, so that one job will do for those under way."""

    atomic: bool = False
    """Whether what it writes and the end of its job are one transaction."""
    schedule: Planned | None = None
    """When it is called by itself, and with which arguments."""
    max_running: int | None = None
    """Its jobs with a record that may run at a time; None for any number."""
    rate: str | None = None
    """How often such a job may begin, such as "10/m"; None for any number of times."""
    limit_key: str | None = None
    """The argument whose values have limits of their own; None for limits of all jobs."""

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit for its jobs with a record."""
        return self.max_running is not None or self.rate is not None

    @property
    def limit(self) -> float | None:
        """The seconds that an attempt may take, once that does not depend on the class; None for
        ever."""
        return None if isinstance(self.timeout, Inherited) else self.timeout

    def retries_after(self, attempt: int, error: BaseException) -> bool:
        """Returns whether another attempt may follow one that failed.

        Args:
            attempt: the number of the one that failed, 1 for the first.
            error: the exception that it raised.
        """
        return (
            attempt <= self.retries
            and isinstance(error, self.retry_on)
            and not isinstance(error, _FINAL)
        )

    def delay_after(self, attempt: int) -> float:
        """Returns the seconds to wait after an attempt that failed.

        Args:
            attempt: its number, 1 for the first.

        Raises:
            InvalidOption: the function given as `backoff` returned no number of seconds.
        """
        if not callable(self.backoff):
            longest = max(self.backoff, _LONGEST_DELAY)
            return Backoff(first=self.backoff, longest=longest, attempts=attempt - 1).next_delay()
        delay = self.backoff(attempt)
        SECONDS.check(f"The backoff after attempt {attempt}", delay)
        return delay

    def help(self) -> dict[str, Any]:
        """Returns their entries in the help table: those that differ from the defaults."""
        entries: dict[str, Any] = {}
        if self.limit is not None:
            entries["timeout"] = self.limit
        if self.retries:
            entries["retries"] = self.retries
        if self.cached:
            entries["cached"] = True
        if self.atomic:
            entries["atomic"] = True
        if self.schedule is not None:
            entries["schedule"] = self.schedule.timetable.help()
        for name in ("max_running", "rate", "limit_key"):
            if getattr(self, name) is not None:
                entries[name] = getattr(self, name)
        return entries


class MoreOptions(LimitOptions, OptionsOfTimetable, total=False):
    """The options of `@task` about its limits, and about its schedule."""


def _told_apart(more: Mapping[str, Any]) -> tuple[LimitOptions, dict[str, Any]]:
    limits = {name: more[name] for name in LimitOptions.__annotations__ if name in more}
    schedule = {name: value for name, value in more.items() if name not in limits}
    return cast("LimitOptions", limits), schedule


@overload
def task(method: Method, /) -> Method: ...


@overload
def task(
    *,
    timeout: float | Inherited | None = Inherited.AS_THE_CLASS,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    backoff: float | Callable[[int], float] = 1.0,
    cached: bool = False,
    atomic: bool = False,
    **more: Unpack[MoreOptions],
) -> Callable[[Method], Method]: ...


def task(
    method: Callable[..., Any] | None = None,
    /,
    *,
    timeout: float | Inherited | None = Inherited.AS_THE_CLASS,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    backoff: float | Callable[[int], float] = 1.0,
    cached: bool = False,
    atomic: bool = False,
    **more: Unpack[MoreOptions],
) -> Callable[..., Any]:
    """Makes a method a task, whatever its name, and gives it options. The method is not changed.
    A subclass that overrides it has a task with options of its own.

    Args:
        method: a method of a worker class. Omitted where there are options: `@task(timeout=…)`.
        timeout: seconds after which `TaskTimeLimitExceeded` is raised inside the task, in every
            attempt anew; None for never. Default: the `timeout` of the worker class.
        retries: how often the task is tried again after it failed. Meanwhile the worker holds
            the job, and serves no other; one with a record goes back to the queue. A task that has
            sent data is not tried again, unless it has a record.
        retry_on: the exceptions after which it is tried again. `InvalidArguments` and
            `RejectJob` never are among them; `TaskTimeLimitExceeded` only when it is named here.
        backoff: seconds before the second attempt; the delays double from there to a minute, and
            are shortened at random by up to a half; or a function of the attempt's number from 1.
        cached: whether equal calls have equal answers, as with `@cachewrap`. Those over `using()`
            of its class become one job, whose answer all get, unless they have a `unique` or a
            trace of their own.
        atomic: whether what the task writes is one transaction, which is committed when it
            returns; and, of a job with a record, one with the end of that job: both are there, or
            neither is. The worker has to have a `transaction`. Not for `async def`.
        **more: limits (`LimitOptions`), and when it is called by itself (`OptionsOfTimetable`).

    Raises:
        InvalidOption: a value is invalid, or `retry_on` or `backoff` is given without `retries`.
        InvalidTask: the decorated object is not a method, is private, or is decorated already.
    """
    if method is not None:
        return _marked(method, TaskOptions())
    check_timeout("timeout", timeout)
    _RETRIES.check("retries", retries)
    limits, schedule = _told_apart(more)
    _BACKOFF.check("backoff", backoff)
    for name, switch in (("cached", cached), ("atomic", atomic)):
        SWITCH.check(name, switch)
    options = TaskOptions(
        timeout=timeout,
        retries=retries,
        retry_on=_checked_retry_on(retry_on),
        backoff=backoff,
        cached=cached,
        atomic=atomic,
        **checked_limits(**limits),
    )
    if not retries and (options.retry_on, backoff) != (TaskOptions().retry_on, 1.0):
        raise InvalidOption(
            "retry_on and backoff have no effect without retries. Add retries=3, for example."
        )
    return partial(_marked, options=replace(options, schedule=planned(schedule, "task")))


def is_task(worker: type, attribute: str) -> bool:
    """Returns whether an attribute of a class is a task: a method that is named or decorated like
    one, or that overrides one which is. A class, such as a form, is not a task.

    Args:
        worker: the class.
        attribute: the name of the attribute, which the class has.
    """
    like_one = attribute.startswith(TASK_PREFIX) or any(
        _mark(vars(base).get(attribute)) for base in worker.__mro__
    )
    value = getattr(worker, attribute)
    return like_one and callable(value) and not isinstance(value, type)


def options_of(method: object, class_timeout: float | None) -> TaskOptions:
    """Returns the options of a method.

    Args:
        method: the method, decorated or not.
        class_timeout: the time limit of its class, in seconds; None for none.
    """
    options = _mark(method) or TaskOptions()
    if isinstance(options.timeout, Inherited):
        return replace(options, timeout=class_timeout)
    return options


def check_timeout(name: str, timeout: object) -> None:
    """Checks a time limit.

    Args:
        name: of the option, for the message.
        timeout: seconds, None, or `Inherited.AS_THE_CLASS`.

    Raises:
        InvalidOption: it is none of these.
    """
    if not isinstance(timeout, Inherited):
        TIME_LIMIT.check(name, timeout, optional=True)


def check_grace(name: str, grace: object) -> None:
    """Checks the time that a task is given which ignores its limit.

    Args:
        name: of the option, for the message.
        grace: seconds, or None.

    Raises:
        InvalidOption: it is neither.
    """
    SECONDS.check(name, grace, optional=True)


def _marked(method: Method, options: TaskOptions) -> Method:
    function = _function(method)
    name = getattr(function, "__name__", "")
    if not callable(function) or not name:
        raise InvalidTask(f"@task must decorate a method, not {method!r}.")
    if name.startswith("_"):
        raise InvalidTask(
            f"{name} cannot be a task: its name is private, and tasks are called by others."
        )
    if _mark(function):
        raise InvalidTask(f"{name} is decorated twice. Give it all its options in one @task(…).")
    setattr(function, _ATTRIBUTE, options)
    refuse_enqueue(function)
    return method


def _mark(method: object) -> TaskOptions | None:
    options = getattr(_function(method), _ATTRIBUTE, None)
    return options if isinstance(options, TaskOptions) else None  # a mock has every attribute


def _function(method: object) -> object:
    """The function in a staticmethod or classmethod; any other object as it is."""
    return method.__func__ if isinstance(method, (staticmethod, classmethod)) else method


def _checked_retry_on(
    retry_on: type[BaseException] | tuple[type[BaseException], ...],
) -> tuple[type[BaseException], ...]:
    kinds = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, (Exception, TaskTimeLimitExceeded)):
            raise InvalidOption(
                "retry_on must be a subclass of Exception, TaskTimeLimitExceeded, or a tuple of "
                f"these, not {kind!r}."
            )
    if not kinds:
        raise InvalidOption(
            "retry_on is empty. Name the exceptions after which the task is tried again."
        )
    return kinds
