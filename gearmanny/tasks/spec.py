"""The tasks of a worker class, their arguments, and the table that describes them.

A task is a method whose name begins with `task_`, or that `@task` decorates.
It is exported as the Gearman function `<worker name>_<method name without task_>`
and takes keyword arguments only, because that is all that travels.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from gearmanny.errors import InvalidArguments, InvalidTask
from gearmanny.payload.names import check_function_name
from gearmanny.tasks.description import annotation_text, described
from gearmanny.tasks.options import (
    TASK_PREFIX,
    TaskOptions,
    check_grace,
    check_timeout,
    is_task,
    options_of,
)

_LISTED_NAMES = 10
_LISTED_CHARACTERS = 100
"""How much of wrong arguments a message has: a stranger may send a million of them."""

_KEYWORD_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """One task of a worker class."""

    function: str
    """The Gearman function, `"myworker_add"`."""
    method: str
    """The method of the worker, `"task_add"` or `"add"`."""
    signature: inspect.Signature
    """Of the bound method: without `self`."""
    description: str
    """The docstring, without its indentation."""
    accepted: frozenset[str]
    """Names of all arguments."""
    required: frozenset[str]
    """Names of the arguments without a default."""
    is_async: bool
    """Whether it is `async def`, with or without `yield`."""
    takes_any: bool
    """Whether the task has `**kwargs`."""
    options: TaskOptions
    """Its time limit and retries, those that it has from its class included."""
    payload: str | None = None
    """The argument that is given the whole payload, where calls do not bring keywords."""

    def check_arguments(self, arguments: object) -> dict[str, Any]:
        """Returns the arguments of a call by name.

        Args:
            arguments: what the call brought, decoded.

        Raises:
            InvalidArguments: they are not an object, or the task does not take them.
        """
        if self.payload is not None:
            return {self.payload: arguments}
        if not isinstance(arguments, dict):
            raise InvalidArguments(
                f"{self.function}() takes its arguments as one object of keywords, "
                f"not as {type(arguments).__name__}. {self._usage()}"
            )
        names = arguments.keys()
        if self.required <= names and (self.takes_any or names <= self.accepted):
            return arguments
        missing = [name for name in self.signature.parameters if name in self.required - names]
        if missing:
            raise InvalidArguments(
                f"{self.function}() is missing required {_listed('argument', missing)}. "
                f"{self._usage()}"
            )
        unexpected = [name for name in arguments if name not in self.accepted]
        raise InvalidArguments(
            f"{self.function}() got unexpected {_listed('argument', unexpected)}. {self._usage()}"
        )

    def bind_arguments(
        self, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> dict[str, Any]:
        """Returns the arguments of a call by name, as they travel. The worker adds defaults.

        Args:
            args: arguments by position.
            kwargs: arguments by name.

        Raises:
            InvalidArguments: the task does not take them.
        """
        positional = [
            parameter.name
            for parameter in self.signature.parameters.values()
            if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ]
        if len(args) > len(positional):
            plural = "" if len(args) == 1 else "s"
            raise InvalidArguments(
                f"{self.function}() got {len(args)} argument{plural} by position, and takes "
                f"{f'up to {len(positional)}' if positional else 'none'}. {self._usage()}"
            )
        named = dict(zip(positional, args, strict=False))
        twice = [name for name in named if name in kwargs]
        if twice:
            raise InvalidArguments(
                f"{self.function}() got multiple values for {_listed('argument', twice)}. "
                f"{self._usage()}"
            )
        return self.check_arguments({**named, **kwargs})

    def whole(self, parts: list[Any]) -> Any:
        """Returns the whole result of a stream.

        Args:
            parts: the items that the task yielded.
        """
        return parts if self.payload is None else b"".join(parts)

    def help(self) -> dict[str, Any]:
        """Returns the entry of this task in the help table."""
        entry: dict[str, Any] = {
            "description": self.description,
            "input": {
                name: described(parameter)
                for name, parameter in self.signature.parameters.items()
                if parameter.kind in _KEYWORD_KINDS
            },
        }
        if self.takes_any:
            entry["takes_any"] = True
        if self.signature.return_annotation is not inspect.Signature.empty:
            entry["returns"] = annotation_text(self.signature.return_annotation)
        if self.payload is not None:
            entry["payload"] = self.payload
        return entry | self.options.help()

    def _usage(self) -> str:
        names = ", ".join(
            str(parameter).partition(":")[0].partition("=")[0]
            for parameter in self.signature.parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_POSITIONAL
        )
        return f"It takes {names}." if names else "It takes no arguments."


def find_tasks(worker: type, gearman_worker: object = None) -> list[TaskSpec]:
    """Returns the tasks of a worker class in the order of their functions, inherited ones
    included.

    Args:
        worker: the class.
        gearman_worker: whose encoder decodes the calls. Default: the `work_class` of the class.

    Raises:
        InvalidTask: the class has no usable `name`; a task cannot be called with keywords, or
            with a payload where that is what travels; a task has the name of the generated help,
            or of an attribute that every worker has; or two tasks are one function.
        InvalidOption: a time limit of the class is invalid.
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


def help_table(tasks: list[TaskSpec]) -> dict[str, dict[str, Any]]:
    """Returns the answer of `<name>_help()`: a description and the inputs of each task.

    Args:
        tasks: of one worker class.
    """
    return {task.function: task.help() for task in tasks}


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
    keywords = [parameter for parameter in parameters if parameter.kind in _KEYWORD_KINDS]
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


def _listed(noun: str, names: list[str]) -> str:
    plural = "" if len(names) == 1 else "s"
    listed = ", ".join(repr(name[:_LISTED_CHARACTERS]) for name in names[:_LISTED_NAMES])
    more = len(names) - _LISTED_NAMES
    return f"{noun}{plural}: {listed}" + (f" and {more} more" if more > 0 else "")
