"""One task: its arguments, and its entry in the table that describes the tasks of a worker.

Tasks take keyword arguments only, because that is all that travels.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from traceback import walk_tb
from types import CodeType
from typing import Any

from gearmanny.errors import InvalidArguments
from gearmanny.payload.counts import number_of
from gearmanny.tasks.description import annotation_text, described
from gearmanny.tasks.options import TaskOptions

_LISTED_NAMES = 10
_LISTED_CHARACTERS = 100
"""How much of wrong arguments a message has: a stranger may send a million of them."""

KEYWORD_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


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
    receivers: frozenset[str] = frozenset()
    """Names by which it takes the worker: no arguments, also where it has `**kwargs`."""
    options: TaskOptions
    """Its time limit and retries, those that it has from its class included."""
    completes_arguments: bool = False
    """Whether a decorator, which takes `**kwargs`, may add arguments that a call leaves out."""
    body: CodeType | None = None
    """The code of what was decorated, where a decorator may add arguments."""
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
        complete = self.completes_arguments or self.required <= names
        known = self.receivers.isdisjoint(names) if self.takes_any else names <= self.accepted
        if complete and known:
            return arguments
        raise self.refusal(arguments)

    def refusal(self, arguments: Mapping[str, object]) -> InvalidArguments:
        """Returns the error for arguments that are missing, or that the task does not take."""
        unexpected = [
            name
            for name in arguments
            if name in self.receivers or not (self.takes_any or name in self.accepted)
        ]
        missing = [
            name for name in self.signature.parameters if name in self.required - arguments.keys()
        ]
        if unexpected and self.completes_arguments:
            missing = []  # a decorator may add them
        problems = []
        if missing:
            problems.append(f"is missing required {_listed('argument', missing)}")
        if unexpected:
            problems.append(f"got unexpected {_listed('argument', unexpected)}")
        return InvalidArguments(f"{self.function}() {' and '.join(problems)}. {self._usage()}")

    def refusal_of(
        self, error: TypeError, arguments: Mapping[str, object]
    ) -> InvalidArguments | None:
        """Returns the error for arguments of which a decorator has proved that it does not add
        what is missing; None for any other error, such as one of the task itself.

        Args:
            error: raised by the call of the decorated task.
            arguments: of the call, by name.
        """
        if self.body is None or any(
            frame.f_code is self.body for frame, _ in walk_tb(error.__traceback__)
        ):
            return None
        text = str(error)
        missing = self.required - arguments.keys()
        named = {name for name in missing if f"'{name}'" in text}
        if not named or " missing " not in text:
            return None
        return replace(self, required=frozenset(named)).refusal(arguments)

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
            raise InvalidArguments(
                f"{self.function}() got {number_of(len(args), 'argument')} by position, and takes "
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
                if parameter.kind in KEYWORD_KINDS
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


def help_table(tasks: list[TaskSpec]) -> dict[str, dict[str, Any]]:
    """Returns the answer of `<name>_help()`: a description and the inputs of each task.

    Args:
        tasks: of one worker class.
    """
    return {task.function: task.help() for task in tasks}


def _listed(noun: str, names: list[str]) -> str:
    plural = "" if len(names) == 1 else "s"
    listed = ", ".join(repr(name[:_LISTED_CHARACTERS]) for name in names[:_LISTED_NAMES])
    more = len(names) - _LISTED_NAMES
    return f"{noun}{plural}: {listed}" + (f" and {more} more" if more > 0 else "")
