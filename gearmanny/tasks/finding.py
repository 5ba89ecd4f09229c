"""The tasks of a worker class.

A task is a method whose name begins with `task_`, or that `@task` decorates.
It is exported as the Gearman function `<worker name>_<method name without task_>`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from types import CodeType

from gearmanny.errors import InvalidArguments, InvalidTask
from gearmanny.payload.names import check_function_name
from gearmanny.tasks.namesakes import check_no_task_of_django
from gearmanny.tasks.options import (
    TASK_PREFIX,
    check_grace,
    check_timeout,
    is_task,
    options_of,
)
from gearmanny.tasks.signatures import (
    check_parameters,
    keywords_of,
    receivers_of,
    signatures_of,
    takes_any,
)
from gearmanny.tasks.spec import TaskSpec


def find_tasks(worker: type, gearman_worker: object = None) -> list[TaskSpec]:
    """Returns the tasks of a worker class in the order of their functions, inherited ones
    included.

    Args:
        worker: the class.
        gearman_worker: whose encoder decodes the calls. Default: the `work_class` of the class.

    Raises:
        InvalidTask: the class has no usable `name`; a task cannot be called with keywords, or
            with a payload where that is what travels; `setUp` is not a plain function; a task has
            the name of the generated help,
            or of an attribute that every worker has; or two tasks are one function.
        InvalidOption: a time limit of the class is invalid.
    """
    prefix = worker_name(worker)
    _check_set_up(worker)
    timeout = getattr(worker, "timeout", None)
    check_timeout(f"{worker.__name__}.timeout", timeout)
    check_grace(f"{worker.__name__}.timeout_grace", getattr(worker, "timeout_grace", None))
    tasks = []
    for attribute in dir(worker):
        check_no_task_of_django(worker, attribute)
        if is_task(worker, attribute):
            function = f"{prefix}_{attribute.removeprefix(TASK_PREFIX)}"
            tasks.append(_specify(worker, function, attribute, timeout))
    return _checked(worker, tasks, gearman_worker or getattr(worker, "work_class", None))


def find_tasks_of(instance: object, gearman_worker: object) -> list[TaskSpec]:
    """Returns the tasks that a worker itself has, beside those of its class: functions that were
    assigned to `self.task_…`, by name.

    Args:
        instance: the worker.
        gearman_worker: whose encoder decodes the calls.

    Raises:
        InvalidTask: a function cannot be called with keywords, or with a payload where that is
            what travels; or it has the name of the generated help.
    """
    worker = type(instance)
    prefix, timeout = worker_name(worker), getattr(worker, "timeout", None)
    tasks = [
        _specify(instance, f"{prefix}_{attribute.removeprefix(TASK_PREFIX)}", attribute, timeout)
        for attribute, value in vars(instance).items()
        if attribute.startswith(TASK_PREFIX) and callable(value) and not isinstance(value, type)
    ]
    return _checked(worker, tasks, gearman_worker)


def _check_set_up(worker: type) -> None:
    set_up = getattr(worker, "setUp", None)
    if _is_async(set_up) or inspect.isgeneratorfunction(set_up):
        raise InvalidTask(
            f"{worker.__name__}.setUp() must be a plain function: nobody would await it, or go "
            "through what it yields."
        )


def _checked(worker: type, tasks: list[TaskSpec], gearman_worker: object) -> list[TaskSpec]:
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
    if takes_payload(gearman_worker):
        tasks = [_taking_payload(worker, task) for task in tasks]
    for task in tasks:
        _check_schedule(worker, task)
    return tasks


def _check_schedule(worker: type, task: TaskSpec) -> None:
    """Checks that the arguments of a schedule are those of its task."""
    if task.options.schedule is None:
        return
    args = task.options.schedule.args
    where = f"The schedule of {worker.__name__}.{task.method}"
    if task.payload is not None and args:
        raise InvalidTask(f"{where} has args, and the task takes a payload. Leave args out.")
    try:
        task.check_arguments(dict(args))
    except InvalidArguments as error:
        raise InvalidTask(f"{where}: {error}") from error


def takes_payload(gearman_worker: object) -> bool:
    """Returns whether calls bring one payload, and not an object of keywords.

    Args:
        gearman_worker: the gearman3 worker whose encoder decodes them, or its class.
    """
    encoder = getattr(gearman_worker, "data_encoder", None)
    return bool(getattr(encoder, "takes_payload", False))


def worker_name(worker: type) -> str:
    """Returns the `name` of a worker class.

    Args:
        worker: the class.

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
    """Returns the name of the function that describes the tasks of a worker class.

    Args:
        worker: the class.

    Raises:
        InvalidTask: the class has no usable `name`.
    """
    return f"{worker_name(worker)}_help"


def functions_of(worker: type) -> Mapping[str, str]:
    """Returns the functions that a worker class exports, its help included, with their methods.

    Args:
        worker: the class.

    Raises:
        InvalidTask: the class cannot be exported.
        InvalidOption: a time limit of the class is invalid.
    """
    functions = {task.function: task.method for task in find_tasks(worker)}
    functions[help_function(worker)] = "help"
    return functions


def _check_place(worker: type, method: str) -> None:
    for base in worker.__mro__[1:]:
        ours = base.__module__.partition(".")[0] == __name__.partition(".")[0]
        if ours and (method in vars(base) or method in inspect.get_annotations(base)):
            raise InvalidTask(
                f"{worker.__name__}.{method} would replace what every {base.__name__} has under "
                f"that name. Call the method {TASK_PREFIX}{method}: its function stays the same."
            )


def _specify(worker: object, function: str, attribute: str, timeout: float | None) -> TaskSpec:
    task = getattr(worker, attribute)
    where = f"{_name_of(worker)}.{attribute}"
    signature, called = signatures_of(where, worker, attribute)
    completes_arguments = False
    if called != signature:  # decorated, and it says whose signature it shows
        completes_arguments = takes_any(called)
        if not completes_arguments:
            signature = called
    check_parameters(where, signature)
    accepted = keywords_of(signature)
    required = {name for name, each in accepted.items() if each.default is each.empty}
    if completes_arguments:
        accepted |= keywords_of(called)  # which the decorator takes for itself
    options, is_async = options_of(task, timeout), _is_async(task)
    if options.atomic and is_async:
        raise InvalidTask(
            f"{where} is atomic and async: coroutines run at the same time, and would share one "
            "transaction. Write it without async, or leave atomic=True out."
        )
    key = options.limit_key
    if key is not None and key not in accepted and not takes_any(signature):
        raise InvalidTask(
            f"{where} has limit_key={key!r}, and no such argument. It takes "
            f"{', '.join(sorted(accepted)) or 'none'}."
        )
    return TaskSpec(
        function=function,
        method=attribute,
        signature=signature,
        description=inspect.getdoc(task) or "",
        is_async=is_async,
        accepted=frozenset(accepted),
        required=frozenset(required),
        takes_any=takes_any(signature),
        receivers=receivers_of(worker, attribute),
        options=options,
        completes_arguments=completes_arguments,
        body=_code_of(task) if completes_arguments else None,
    )


def _code_of(task: Callable[..., object]) -> CodeType | None:
    """Returns the code of the function that the decorators of a task wrap."""
    return getattr(inspect.unwrap(task), "__code__", None)


def _name_of(worker: object) -> str:
    return worker.__name__ if isinstance(worker, type) else type(worker).__name__


def _is_async(method: object) -> bool:
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


def _taking_payload(worker: type, task: TaskSpec) -> TaskSpec:
    if len(task.required) != 1:
        raise InvalidTask(
            f"{worker.__name__}.{task.method} takes {len(task.required)} arguments, but what "
            "travels to its worker is one payload. Give it exactly one argument without a default."
        )
    return replace(task, payload=next(iter(task.required)))
