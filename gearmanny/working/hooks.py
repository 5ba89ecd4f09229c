"""Hooks: contexts around every job.

The first is the outermost. A hook sees the outcome of the job at its `yield`, and cannot change it:
its own errors are logged under its name, and the job goes on without it. Only `RejectJob`, raised
before the task runs, fails the job. Exceptions that stop a worker pass through.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar

from gearmanny.errors import InvalidOption
from gearmanny.vocabulary.gearman_api import GearmanJob

_NEVER_WAITS = "gearmanny_never_waits"

Context = AbstractContextManager[object] | AbstractAsyncContextManager[object]

Hook = Callable[[GearmanJob], Context]
"""Wraps every job, and every attempt at one that is tried again: called with the job, it returns
the context in which the task runs. A context may be synchronous, asynchronous, or both."""

H = TypeVar("H", bound=Hook)

SyncToAsync = Callable[[Callable[..., Any]], Callable[..., Awaitable[Any]]]
"""Given a function, returns one that calls it where that may wait, and is to be awaited."""


def never_waits(hook: H) -> H:
    """Marks a synchronous hook as one that may run in an event loop, around a coroutine.

    Args:
        hook: the hook.
    """
    setattr(hook, _NEVER_WAITS, True)
    return hook


def may_wait(hook: Hook) -> bool:
    """Returns whether a synchronous hook may have to wait for something.

    Args:
        hook: the hook.
    """
    return not getattr(hook, _NEVER_WAITS, False)


def check_hooks(hooks: object) -> tuple[Hook, ...]:
    """Returns the hooks of an option.

    Args:
        hooks: its value.

    Raises:
        InvalidOption: it is not a sequence of callables, or one of them cannot be a hook.
    """
    if isinstance(hooks, str) or not isinstance(hooks, Sequence):
        raise InvalidOption(f"hooks must be a list of functions that take a job, not {hooks!r}.")
    for hook in hooks:
        if not callable(hook):
            raise InvalidOption(
                f"{hook!r} is not a hook. A hook is a function that takes the job and returns a "
                "context manager."
            )
        if inspect.isgeneratorfunction(hook):
            raise InvalidOption(
                f"The hook {name_of(hook)} is a generator function. Decorate it with "
                "@contextlib.contextmanager."
            )
        if inspect.isasyncgenfunction(hook):
            raise InvalidOption(
                f"The hook {name_of(hook)} is an asynchronous generator function. Decorate it with "
                "@contextlib.asynccontextmanager."
            )
        if inspect.iscoroutinefunction(hook):
            raise InvalidOption(
                f"The hook {name_of(hook)} is a coroutine function. A hook is a plain function; "
                "the context manager that it returns may be asynchronous."
            )
    return tuple(hooks)


def name_of(hook: Hook) -> str:
    """Returns the name of a hook where it was defined, for messages.

    Args:
        hook: the hook.
    """
    name = getattr(hook, "__qualname__", None)
    return f"{hook.__module__}.{name}" if name else repr(hook)


def is_synchronous(context: object) -> bool:
    """Returns whether a context can be entered by `with`.

    Args:
        context: what a hook returned.

    Raises:
        TypeError: it is not a context manager of either kind.
    """
    if isinstance(context, AbstractContextManager):
        return True
    if is_asynchronous(context):
        return False
    raise TypeError(
        f"it returned {context!r}, which is not a context manager. Is @contextlib.contextmanager "
        "missing?"
    )


def makes_asynchronous(hook: Hook) -> bool:
    """Returns whether the contexts of a hook are known to be entered by `async with`.

    Args:
        hook: the hook.
    """
    if isinstance(hook, type):
        return issubclass(hook, AbstractAsyncContextManager)
    return inspect.isasyncgenfunction(getattr(hook, "__wrapped__", None))


def is_asynchronous(context: object) -> bool:
    """Returns whether a context can be entered by `async with`.

    Args:
        context: what a hook returned.
    """
    return isinstance(context, AbstractAsyncContextManager)
