"""The tasks of a worker class.

A task is a method whose name begins with `task_`, or that `@task` decorates.
It is exported as the Gearman function `<worker name>_<method name without task_>`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from gearmanny.errors import InvalidTask
from gearmanny.payload.names import check_function_name
from gearmanny.tasks.options import (
    TASK_PREFIX,
    check_grace,
    check_timeout,
    is_task,
    options_of,
)
from gearmanny.tasks.spec import KEYWORD_KINDS, TaskSpec


def find_tasks(worker: type, gearman_worker: object = None) -> list[TaskSpec]:
    """Returns the tasks of a worker class, by name, inherited ones included.

    Args:
        worker: the class.
        gearman_worker: whose encoder decodes the calls. Default: the `work_class` of the class.

    Raises:
        InvalidTask: the class has no usable `name`, a task cannot be called with
            keywords, or with a payload where that is what travels, a task has the name of the
            generated help or takes the place of what a worker needs, or two tasks are one
            function.
        InvalidOption: the class has a time limit that cannot be.
    """
    prefix = worker_name(worker)
    check_timeout(f"{worker.__name__}.timeout", getattr(worker, "timeout", None))
    check_grace(f"{worker.__name__}.timeout_grace", getattr(worker, "timeout_grace", None))
    tasks = [
        _specify(worker, f"{prefix}_{attribute.removeprefix(TASK_PREFIX)}", attribute)
        for attribute in dir(worker)
        if is_task(worker, attribute)
    ]
    tasks.sort(key=lambda task: task.function)
    for task, following in pairwise(tasks):
        if task.function == following.function:
            raise InvalidTask(
                f"{worker.__name__} has {task.method} and {following.method}, and both would be "
                f"{task.function}(). Give one of them another name."
            )
    for task in tasks:
        check_function_name(task.function)
        _check_place(worker, task.method)
        if task.function == help_function(worker):
            raise InvalidTask(
                f"{worker.__name__}.{task.method} would hide {task.function}(), which is made "
                "from the docstrings of the tasks. Give the method another name."
            )
    if takes_payload(gearman_worker or getattr(worker, "work_class", None)):
        return [_taking_payload(worker, task) for task in tasks]
    return tasks


def takes_payload(gearman_worker: object) -> bool:
    """Returns whether the encoder of a gearman3 worker makes no keywords of what travels."""
    encoder = getattr(gearman_worker, "data_encoder", None)
    return bool(getattr(encoder, "takes_payload", False))


def worker_name(worker: type) -> str:
    """Returns the `name` of a worker class.

    Raises:
        InvalidTask: there is none, or no function could be named after it.
    """
    name = getattr(worker, "name", None)
    if not isinstance(name, str) or not name:
        raise InvalidTask(
            f"{worker.__name__} has no name. Add one to the class, such as "
            f'name = "{worker.__name__.lower()}": its tasks are called by it.'
        )
    check_function_name(name)
    return name


def help_function(worker: type) -> str:
    """Returns the name of the function that describes the tasks of a worker class."""
    return f"{worker_name(worker)}_help"


def functions_of(worker: type) -> Mapping[str, str]:
    """Returns the functions that a worker class exports, its help included, with their methods."""
    functions = {task.function: task.method for task in find_tasks(worker)}
    functions[help_function(worker)] = "help"
    return functions


def _check_place(worker: type, method: str) -> None:
    for base in worker.__mro__:
        ours = base.__module__.partition(".")[0] == __name__.partition(".")[0]
        if ours and (method in vars(base) or method in inspect.get_annotations(base)):
            raise InvalidTask(
                f"{worker.__name__}.{method} would replace what every {base.__name__} has under "
                f"that name. Call the method {TASK_PREFIX}{method}: its function stays the same."
            )


def _specify(worker: type, function: str, attribute: str) -> TaskSpec:
    method = inspect.getattr_static(worker, attribute)
    try:
        signature = inspect.signature(getattr(worker, attribute))
    except ValueError as error:
        raise InvalidTask(f"{worker.__name__}.{attribute}: {error}") from None
    parameters = list(signature.parameters.values())
    if not isinstance(method, (staticmethod, classmethod)):
        parameters = parameters[1:]  # self
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise InvalidTask(
                f"{worker.__name__}.{attribute} takes {parameter.name!r} by position only, "
                "but arguments travel by name. Remove the '/' from its signature."
            )
    keywords = [parameter for parameter in parameters if parameter.kind in KEYWORD_KINDS]
    return TaskSpec(
        function=function,
        method=attribute,
        signature=signature.replace(parameters=parameters),
        description=inspect.getdoc(getattr(worker, attribute)) or "",
        is_async=_is_async(getattr(worker, attribute)),
        accepted=frozenset(parameter.name for parameter in keywords),
        required=frozenset(
            parameter.name for parameter in keywords if parameter.default is inspect.Parameter.empty
        ),
        takes_any=any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters),
        options=options_of(getattr(worker, attribute), getattr(worker, "timeout", None)),
    )


def _is_async(method: object) -> bool:
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


def _taking_payload(worker: type, task: TaskSpec) -> TaskSpec:
    if len(task.required) != 1:
        raise InvalidTask(
            f"{worker.__name__}.{task.method} takes {len(task.required)} arguments, but what "
            "travels to its worker is one payload. Give it exactly one argument without a default."
        )
    return replace(task, payload=next(iter(task.required)))
