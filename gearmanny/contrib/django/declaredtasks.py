"""The tasks that a worker knows from its start: those in the modules `tasks` of the apps, and those
that `OPTIONS` names. They may have limits and schedules."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django.apps import apps

from gearmanny.contrib.django.compat import Task, normalize_json, task_backends
from gearmanny.contrib.django.sections import NAME
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.taskoptions import BackendOptions, Options
from gearmanny.contrib.django.taskqueues import OnGearman
from gearmanny.contrib.django.taskresults import Envelope, find_task
from gearmanny.errors import InvalidOption
from gearmanny.payload.rates import seconds_between
from gearmanny.records.limits import Limit, keyed
from gearmanny.schedules.timetable import Planned

MODULE = "tasks"
"""The module of an app in which tasks are declared."""


class Declared(NamedTuple):
    """A task, and its options."""

    task: Task[..., Any]
    options: Options

    @property
    def plan(self) -> Planned | None:
        """Its schedule, with the arguments of the Gearman function."""
        plan = self.options.plan
        if plan is None:
            return None
        return plan._replace(args=Envelope.of_schedule(self.task, plan.args).arguments())


def declared_tasks() -> dict[str, Declared]:
    """Returns the tasks, by path.

    Raises:
        InvalidOption: the options of one are invalid, or those of a task that does not exist.
    """
    declared: dict[str, Declared] = {}
    for task in (*_tasks_of_apps(), *_tasks_of_options()):
        backend = task.get_backend()
        if isinstance(backend, OnGearman):
            path = task.module_path
            options = BackendOptions(backend.options).of(path, task)
            _check(path, task, options)
            declared[path] = Declared(task, options)
    return declared


def _tasks_of_apps() -> Iterator[Task[..., Any]]:
    homes = tuple(f"{app.name}.{MODULE}" for app in apps.get_app_configs())
    for name, module in list(sys.modules.items()):
        if any(name == home or name.startswith(f"{home}.") for home in homes):
            for value in list(vars(module).values()):
                if isinstance(value, Task) and value.func.__module__ == name:
                    yield value


def _tasks_of_options() -> Iterator[Task[..., Any]]:
    for alias in task_backends.settings:
        backend: Any = task_backends[alias]
        if isinstance(backend, OnGearman):
            for path in BackendOptions(backend.options).paths:
                task = find_task(path)
                if task is None:
                    raise InvalidOption(f"TASKS[{alias!r}]['OPTIONS']: there is no task {path}.")
                if task.backend == alias:
                    yield task


def _check(path: str, task: Task[..., Any], options: Options) -> None:
    if options.needs_records and get_settings().RECORDS.STORE is None:
        raise InvalidOption(f"Attempts, limits and schedules of {path} need {NAME}['RECORDS'].")
    signature = inspect.signature(task.func)
    key = options.limits.get("limit_key")
    if key is not None and key not in signature.parameters:
        raise InvalidOption(f"{path} has limit_key={key!r}, and no such argument.")
    if options.plan is not None:
        try:
            signature.bind(*([None] if task.takes_context else []), **options.plan.args)
            normalize_json(options.plan.args)
        except (TypeError, ValueError) as error:
            raise InvalidOption(f"The schedule of {path} has wrong args: {error}") from None


class TaskLimits:
    """The limits of the tasks of a queue. A task has the same limits in all queues."""

    def __init__(self, declared: Mapping[str, Declared]) -> None:
        """
        Args:
            declared: all tasks, by path.
        """
        self._limited = {path: each for path, each in declared.items() if each.options.limits}

    def __bool__(self) -> bool:
        return bool(self._limited)

    def limit(self, function: str, arguments: str | bytes) -> Limit | None:
        """Returns the limit of a job; None where its task has none.

        Args:
            function: that of the queue.
            arguments: as they travel.
        """
        try:
            envelope = Envelope(**json.loads(arguments))
        except (TypeError, ValueError, RecursionError):  # the job will fail
            return None
        found = self._limited.get(envelope.task)
        if found is None:
            return None
        limits = found.options.limits
        rate, key = limits.get("rate"), limits.get("limit_key")
        name = f"task {envelope.task}"
        return Limit(
            name if key is None else keyed(name, _argument(found.task, envelope, key)),
            limits.get("max_running"),
            None if rate is None else seconds_between(rate),
        )


def _argument(task: Task[..., Any], envelope: Envelope, name: str) -> Any:
    """Returns the value of an argument; None where a call leaves it out, or is wrong."""
    context = [None] if task.takes_context else []
    try:
        bound = inspect.signature(task.func).bind(*context, *envelope.args, **envelope.kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    value = bound.arguments[name]
    try:
        return normalize_json(value)
    except (TypeError, ValueError, RecursionError):  # a default that is not JSON
        return None
