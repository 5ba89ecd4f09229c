"""The options of a Django task that Django has no names for: how often it is tried, its limits, and
when it is called by itself.

`@task` takes them as keywords where Django lets it, and `OPTIONS` of the backend everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict, cast

from django.utils.module_loading import import_string

from gearmanny.contrib.django.compat import TaskResult
from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import COUNT, SECONDS
from gearmanny.schedules.timetable import OptionsOfTimetable, Planned, planned
from gearmanny.tasks.limits import LimitOptions, checked_limits
from gearmanny.tasks.options import TaskOptions

BackoffFunction = Callable[[BaseException, "TaskResult[..., Any]"], float | None]
"""Given the failure of an attempt and the result of its task, returns the seconds until the next
one; None if there shall be none."""


class RetryOptions(TypedDict, total=False):
    """The options about attempts."""

    max_attempts: int
    backoff: float | str | BackoffFunction


RETRIES = tuple(RetryOptions.__annotations__)

NAMES = (*RETRIES, *LimitOptions.__annotations__, *OptionsOfTimetable.__annotations__)
"""All options of a task."""

_TASKS = "tasks"


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of a task, checked."""

    max_attempts: int = 1
    """So often it may fail."""
    backoff: float | BackoffFunction = 1.0
    """Seconds before the second attempt, which double from there to a minute; or a function."""
    limits: LimitOptions = field(default_factory=LimitOptions)
    plan: Planned | None = None
    """When it is called by itself, and with which arguments."""

    @property
    def needs_records(self) -> bool:
        """Whether jobs must have records for them."""
        return self.max_attempts > 1 or bool(self.limits) or self.plan is not None

    def delay_after(
        self, failures: int, error: BaseException, result: TaskResult[..., Any]
    ) -> float | None:
        """Returns the seconds until the next attempt; None if there is none.

        Args:
            failures: how often the task has failed by now.
            error: the exception that it failed with.
            result: that of the task, with this attempt and its error.

        Raises:
            InvalidOption: the function given as `backoff` returned no number of seconds.
            Exception: what that function raises.
        """
        if failures >= self.max_attempts:
            return None
        if not callable(self.backoff):
            return TaskOptions(backoff=self.backoff).delay_after(failures)
        delay = self.backoff(error, result)
        SECONDS.check(f"The backoff after attempt {failures}", delay, optional=True)
        return delay


def options_of(given: Mapping[str, Any], where: str = "@task") -> Options:
    """Returns options, checked.

    Args:
        given: their values, by name.
        where: they are given there, for messages.

    Raises:
        InvalidOption: there is no such option, or a value is invalid.
    """
    for name in given:
        if name not in NAMES:
            raise InvalidOption(f"{where} has no option {name!r}. It has {', '.join(NAMES)}.")
    COUNT.check("max_attempts", given.get("max_attempts", 1))
    limits = {name: given[name] for name in LimitOptions.__annotations__ if name in given}
    schedule = {name: given[name] for name in OptionsOfTimetable.__annotations__ if name in given}
    return Options(
        max_attempts=given.get("max_attempts", 1),
        backoff=_checked_backoff(given.get("backoff", 1.0)),
        limits=checked_limits(**cast("LimitOptions", limits)),
        plan=planned(schedule, where),
    )


def _checked_backoff(backoff: object) -> float | BackoffFunction:
    if isinstance(backoff, str):
        try:
            backoff = import_string(backoff)
        except ImportError as error:
            raise InvalidOption(f"backoff={backoff!r} cannot be imported: {error}") from error
    if callable(backoff):
        return cast("BackoffFunction", backoff)
    SECONDS.check("backoff", backoff)
    return cast("float", backoff)


def given_to(task: object) -> dict[str, Any]:
    """Returns the options that `@task` was given, by name.

    Args:
        task: the task.
    """
    values = {name: getattr(task, name, None) for name in NAMES}
    return {name: value for name, value in values.items() if value is not None}


class BackendOptions:
    """`OPTIONS` of a backend: the defaults of all tasks about retries, and options of single ones.

    They are checked when they are needed: Django makes backends while modules are imported.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        """
        Args:
            options: as the settings have them.
        """
        self._options = options

    @property
    def paths(self) -> list[str]:
        """The dotted paths of the tasks that have options of their own."""
        tasks = self._options.get(_TASKS, {})
        return sorted(tasks) if isinstance(tasks, Mapping) else []

    def of(self, path: str, task: object) -> Options:
        """Returns the options of a task: those of its path, or else its own, or else the defaults.

        Args:
            path: the dotted path of the task.
            task: the task.

        Raises:
            InvalidOption: a value is invalid.
        """
        defaults = {name: self._options[name] for name in RETRIES if name in self._options}
        own = self._options.get(_TASKS, {}).get(path, {})
        try:
            return options_of({**defaults, **given_to(task), **own}, path)
        except InvalidOption as error:
            raise InvalidOption(f"The options of {path} are wrong: {error}") from None

    def check(self) -> None:
        """Checks all of them, as far as that can be done without the tasks.

        Raises:
            InvalidOption: a value is invalid.
        """
        known = (*RETRIES, _TASKS)
        for name in self._options:
            if name not in known:
                raise InvalidOption(f"There is no option {name!r}. There are {', '.join(known)}.")
        tasks = self._options.get(_TASKS, {})
        if not isinstance(tasks, Mapping) or not all(
            isinstance(own, Mapping) for own in tasks.values()
        ):
            raise InvalidOption(
                f"{_TASKS!r} must be a dict of the options of each task, by its path."
            )
        options_of({name: self._options[name] for name in RETRIES if name in self._options})
        for path, own in tasks.items():
            options_of(own, path)
