"""The signatures of tasks, whatever they are: methods, decorated ones, objects that are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MethodType

from gearmanny.errors import InvalidTask
from gearmanny.tasks.spec import KEYWORD_KINDS

_POSITIONAL_KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

_SELF_NAMES = {"self", "this", "me", "cls", "worker"}
"""Names of the first parameter of a method. Any other is an argument whose `self` was forgotten."""


def signatures_of(
    where: str, worker: object, attribute: str
) -> tuple[inspect.Signature, inspect.Signature]:
    """Returns the signature that a task shows, and the one that it is called with, both without
    `self`. They differ where a decorator shows the signature of the function that it wraps.

    Args:
        where: the task, as messages call it.
        worker: a worker class, or a worker that has the task itself.
        attribute: the name of the task.

    Raises:
        InvalidTask: the task shows no signature; it does not take the worker though it is given
            one, or takes it and is given none.
    """
    task = getattr(worker, attribute)
    try:
        shown = _signature(task)
    except ValueError as error:
        raise InvalidTask(f"{where}: {error}") from None
    try:
        called = _signature(task, follow_wrapped=False)
    except ValueError:  # such as that of `functools.cache`, which calls what it wraps
        called = shown
    if _takes_self(worker, attribute):
        return _without_self(where, shown), _without_self(where, called)
    if next(iter(shown.parameters), None) == "self" and not _is_static(worker, attribute):
        raise InvalidTask(
            f"{where} takes self, but is not a method, so it would not be given the worker. "
            "Define it with def in the class; a decorator that is a class needs a __get__."
        )
    return shown, called


def _signature(task: Callable[..., object], *, follow_wrapped: bool = True) -> inspect.Signature:
    try:
        return inspect.signature(task, follow_wrapped=follow_wrapped)
    except ValueError:
        # Such as an object with a `__get__`, which Python takes for a builtin.
        call = inspect.getattr_static(type(task), "__call__", None)
        if not inspect.isfunction(call):
            raise
        return inspect.signature(MethodType(call, task), follow_wrapped=follow_wrapped)


def receivers_of(worker: object, attribute: str) -> frozenset[str]:
    """Returns the names by which a task, and what it decorates, take the worker or its class: no
    call can give arguments of these names.

    Args:
        worker: a worker class, or a worker that has the task itself.
        attribute: the name of the task.
    """
    if not isinstance(worker, type):
        return frozenset()
    task = inspect.getattr_static(worker, attribute)
    if isinstance(task, classmethod):
        task = task.__func__
    elif not _takes_self(worker, attribute):
        return frozenset()
    codes = (getattr(each, "__code__", None) for each in (task, inspect.unwrap(task)))
    return frozenset(
        code.co_varnames[0]
        for code in codes
        if code is not None and code.co_argcount > code.co_posonlyargcount == 0
    )


def _is_static(worker: object, attribute: str) -> bool:
    return isinstance(worker, type) and isinstance(
        inspect.getattr_static(worker, attribute), staticmethod
    )


def _takes_self(worker: object, attribute: str) -> bool:
    """Returns whether a task of a class is given the worker as its first argument."""
    if not isinstance(worker, type):
        return False
    task = inspect.getattr_static(worker, attribute)
    return not isinstance(task, (staticmethod, classmethod)) and hasattr(type(task), "__get__")


def _without_self(where: str, signature: inspect.Signature) -> inspect.Signature:
    """Returns the signature of a function as that of its bound method.

    Raises:
        InvalidTask: it has no parameter for the worker.
    """
    parameters = list(signature.parameters.values())
    first = parameters[0] if parameters else None
    if first is not None and first.kind is inspect.Parameter.VAR_POSITIONAL:
        return signature
    if first is None or first.kind not in _POSITIONAL_KINDS:
        raise InvalidTask(
            f"{where} takes no self, so it cannot be called. Add self as its first parameter, "
            "or decorate it with @staticmethod."
        )
    if first.name not in _SELF_NAMES and not first.name.startswith("_"):
        raise InvalidTask(
            f"{where} has {first.name!r} where self belongs, so no caller could give a value to "
            f"{first.name!r}. Add self as its first parameter, or decorate it with @staticmethod."
        )
    return signature.replace(parameters=parameters[1:])


def check_parameters(where: str, signature: inspect.Signature) -> None:
    """Checks that a task can be called with keywords.

    Args:
        where: the task, as messages call it.
        signature: its signature.

    Raises:
        InvalidTask: it has parameters that would always be empty.
    """
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise InvalidTask(
                f"{where} takes {parameter.name!r} by position only, but arguments travel by "
                "name. Remove the '/' from its signature."
            )
        # A decorator's (*args, **kwargs) takes all keywords, and passes them on.
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL and not takes_any(signature):
            raise InvalidTask(
                f"{where} takes *{parameter.name}, but arguments travel by name, so it would "
                f"always be empty. Take a list: {parameter.name}."
            )


def takes_any(signature: inspect.Signature) -> bool:
    """Returns whether a signature has `**kwargs`.

    Args:
        signature: the signature.
    """
    return any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())


def keywords_of(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    """Returns the parameters that can be given by name.

    Args:
        signature: the signature.
    """
    return {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in KEYWORD_KINDS
    }
