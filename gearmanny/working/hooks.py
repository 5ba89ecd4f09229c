"""Hooks: contexts around every job.

The first is the outermost. A hook sees the outcome of the job at its `yield`, and cannot change it:
its own errors are logged under its name, and the job goes on without it. Only `RejectJob`, raised
before the task runs, fails the job. Exceptions that stop a worker pass through.

The steps are written once. `HookStack` takes them around a plain task, and `asynchooks.py` around a
coroutine. They differ in how a hook of the other kind is called.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from gearmanny.errors import InvalidOption, RejectJob
from gearmanny.net.forks import end_as_a_program, this_process
from gearmanny.payload.failures import message_of, type_name
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.interrupts import is_failure

__all__ = ["Hook", "RejectJob"]

logger = logging.getLogger("gearmanny.worker")

_NEVER_WAITS = "gearmanny_never_waits"

Context = AbstractContextManager[object] | AbstractAsyncContextManager[object]

Hook = Callable[[GearmanJob], Context]
"""Wraps every job, and every attempt at one that is tried again: called with the job, it returns
the context in which the task runs. A context may be synchronous, asynchronous, or both."""

H = TypeVar("H", bound=Hook)

SyncToAsync = Callable[[Callable[..., Any]], Callable[..., Awaitable[Any]]]
"""Given a function, returns one that calls it where that may wait, and is to be awaited."""


class Enter(NamedTuple):
    """A step: enter the context of a hook. Its result is that context."""

    hook: Hook
    job: GearmanJob


class Leave(NamedTuple):
    """A step: leave a context. Its result is whether it wants to hide the error."""

    hook: Hook
    context: Any
    error: BaseException | None

    @property
    def arguments(self) -> tuple[Any, Any, Any]:
        """The arguments of `__exit__` and `__aexit__`."""
        error = self.error
        return (type(error), error, error.__traceback__) if error else (None, None, None)


Steps = Generator[Enter | Leave, Any, None]


def _taken(step: Enter | Leave) -> Generator[Enter | Leave, Any, Any]:
    """Yields a step, and returns its result. A child that the hook forked ends on its way out."""
    forks = this_process.forks
    try:
        result = yield step
    except BaseException:
        if this_process.forks != forks:
            end_as_a_program()
        raise
    if this_process.forks != forks:
        end_as_a_program()
    return result


class HookSteps:
    """The steps to be taken before and after one job."""

    def __init__(self, hooks: Sequence[Hook], job: GearmanJob) -> None:
        self._hooks = hooks
        self._job = job
        self._entered: list[tuple[Hook, object]] = []

    def entering(self) -> Steps:
        """Yields the steps before the job. Raises RejectJob when a hook does."""
        for hook in self._hooks:
            try:
                self._entered.append((hook, (yield from _taken(Enter(hook, self._job)))))
            except RejectJob as rejection:
                yield from self.leaving(rejection)
                raise
            except BaseException as failure:
                if not is_failure(failure):
                    yield from self.leaving(failure)
                    raise
                self._log_failure(hook, failure)

    def leaving(self, error: BaseException | None) -> Steps:
        """Yields the steps after the job, which ended with an error, or None."""
        outcome = error
        while self._entered:
            hook, context = self._entered.pop()
            try:
                swallowed = yield from _taken(Leave(hook, context, error))
            except BaseException as failure:
                if failure is error:  # a context may raise anew what it was left with
                    continue
                if is_failure(failure):
                    self._log_failure(hook, failure)
                else:
                    error = failure
            else:
                if swallowed and error is not None:
                    self._log(hook, "wanted to hide %s: a hook cannot", type_name(error))
        if error is not None and error is not outcome:
            raise error

    def _log_failure(self, hook: Hook, failure: BaseException) -> None:
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


class HookStack:
    """The hooks around a plain task, entered and left with it."""

    def __init__(
        self,
        hooks: Sequence[Hook],
        job: GearmanJob,
        await_: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:
        """
        Args:
            hooks: the hooks.
            job: the job.
            await_: returns what a coroutine returns. Needed where a context is only asynchronous.
        """
        self._steps = HookSteps(hooks, job)
        self._await = await_

    def __enter__(self) -> None:
        """Raises RejectJob when a hook does."""
        self._take(self._steps.entering())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._take(self._steps.leaving(error))

    def _take(self, steps: Steps) -> None:
        step = next(steps, None)
        while step is not None:
            try:
                result = self._enter(step) if isinstance(step, Enter) else self._leave(step)
            except BaseException as error:
                step = after_error(steps, error)
            else:
                step = after_result(steps, result)

    def _enter(self, step: Enter) -> object:
        context: Any = step.hook(step.job)
        if is_synchronous(context):
            context.__enter__()
        else:
            self._await(context.__aenter__())
        return context

    def _leave(self, step: Leave) -> object:
        if is_synchronous(step.context):
            return step.context.__exit__(*step.arguments)
        return self._await(step.context.__aexit__(*step.arguments))


def after_result(steps: Steps, result: object) -> Enter | Leave | None:
    """Returns the next step; None after the last one.

    Args:
        steps: the steps.
        result: of the last step that was taken.
    """
    try:
        return steps.send(result)
    except StopIteration:
        return None


def after_error(steps: Steps, error: BaseException) -> Enter | Leave | None:
    """Returns the next step; None after the last one.

    Args:
        steps: the steps.
        error: raised by the last step that was taken.

    Raises:
        BaseException: the error, where it ends the steps.
    """
    try:
        return steps.throw(error)
    except StopIteration:
        return None


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
