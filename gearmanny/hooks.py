"""Hooks: contexts around every job.

The first is the outermost. A hook sees what comes of the job, at its `yield`, and has no say in it:
what it raises itself is logged under its name, and the job goes on without it. Only `RejectJob`,
raised before the task runs, fails the job. What stops a worker passes through.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from gearmanny.errors import InvalidOption, RejectJob
from gearmanny.failures import message_of, type_name
from gearmanny.gearman_api import GearmanJob

__all__ = ["Hook", "RejectJob"]

logger = logging.getLogger("gearmanny.worker")

Hook = Callable[[GearmanJob], AbstractContextManager[object]]
"""Wraps every job, and every attempt at one that is tried again: called with the job, it returns
the context in which the task runs."""


class HookStack:
    """The hooks around one job, entered and left with it."""

    def __init__(self, hooks: Sequence[Hook], job: GearmanJob) -> None:
        self._hooks = hooks
        self._job = job
        self._entered: list[tuple[Hook, Callable[..., object]]] = []

    def __enter__(self) -> None:
        """Raises RejectJob when a hook does."""
        for hook in self._hooks:
            try:
                self._entered.append((hook, _enter(hook, self._job)))
            except RejectJob as rejection:
                self._leave(rejection)
                raise
            except Exception as failure:
                self._log_failure(hook, failure)
            except BaseException as stop:
                self._leave(stop)
                raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        outcome = error
        while self._entered:
            hook, leave = self._entered.pop()
            try:
                swallowed = leave(type(error) if error else None, error, _traceback(error))
            except BaseException as failure:
                if failure is error:  # a context may raise anew what it was left with
                    continue
                if isinstance(failure, Exception):
                    self._log_failure(hook, failure)
                else:
                    error = failure
            else:
                if swallowed and error is not None:
                    self._log(hook, "wanted to hide %s: a hook cannot", type_name(error))
        if error is not None and error is not outcome:
            raise error

    def _log_failure(self, hook: Hook, failure: Exception) -> None:
        self._log(hook, "failed: %s: %s", type_name(failure), message_of(failure), exc_info=failure)

    def _log(self, hook: Hook, what: str, *arguments: str, **options: Any) -> None:
        logger.error(
            f"the hook %s around %s {what}",
            name_of(hook),
            self._job.task,
            *arguments,
            extra={"action": "hook_failed", "function": self._job.task, "handle": self._job.handle},
            **options,
        )


def check_hooks(hooks: object) -> tuple[Hook, ...]:
    """Returns the hooks of an option, as they may be used.

    Raises:
        InvalidOption: it is no sequence of callables, or one of them cannot be a hook.
    """
    if isinstance(hooks, str) or not isinstance(hooks, Sequence):
        raise InvalidOption(f"hooks is a list of functions of a job, not {hooks!r}.")
    for hook in hooks:
        if not callable(hook):
            raise InvalidOption(
                f"{hook!r} is no hook. A hook is a function that is given the job and returns a "
                "context manager."
            )
        if inspect.isgeneratorfunction(hook):
            raise InvalidOption(
                f"The hook {name_of(hook)} is a generator function. Decorate it with "
                "@contextlib.contextmanager."
            )
        if inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook):
            raise InvalidOption(
                f"The hook {name_of(hook)} is asynchronous. Hooks are plain functions, also around "
                "tasks that are not."
            )
    return tuple(hooks)


def name_of(hook: Hook) -> str:
    """Returns what a hook is called where it was written."""
    name = getattr(hook, "__qualname__", None)
    return f"{hook.__module__}.{name}" if name else repr(hook)


def _enter(hook: Hook, job: GearmanJob) -> Callable[..., object]:
    context = hook(job)
    try:
        enter, leave = context.__enter__, context.__exit__
    except AttributeError:
        raise TypeError(
            f"it returned {context!r}, which is no context manager. Is @contextlib.contextmanager "
            "missing?"
        ) from None
    enter()
    return leave


def _traceback(error: BaseException | None) -> TracebackType | None:
    return error.__traceback__ if error else None
