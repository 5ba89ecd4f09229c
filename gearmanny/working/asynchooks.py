"""Hooks around a coroutine.

The hooks and the coroutine are one asyncio task, so that a hook may use `asyncio.timeout()` or
a task group, and share its context of variables, so that what a hook sets there the coroutine
sees, and the hook can reset. They need not share a thread: a synchronous hook may wait for
something, and then it must not keep the event loop from going on.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, cast

from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.hooks import (
    Hook,
    SyncToAsync,
    is_asynchronous,
    is_synchronous,
    makes_asynchronous,
    may_wait,
)
from gearmanny.working.hooksteps import (
    Enter,
    HookSteps,
    Leave,
    Steps,
    after_error,
    after_result,
)

T = TypeVar("T")


async def run_in_hooks(
    hooks: Sequence[Hook],
    job: GearmanJob,
    coroutine: Coroutine[Any, Any, T],
    sync_to_async: SyncToAsync | None,
) -> T:
    """Returns the result of a coroutine that runs within hooks.

    Args:
        hooks: the hooks.
        job: the job.
        coroutine: runs the task.
        sync_to_async: how synchronous hooks are called; None for in this thread.

    Raises:
        RejectJob: a hook raised it, and the coroutine was not run.
        BaseException: the exception of the coroutine, or of a hook where it stops the worker.
    """
    outcome = Outcome[T]()
    around = _Around(HookSteps(hooks, job), sync_to_async)
    await asyncio.get_running_loop().create_task(
        outcome.of(around.run(coroutine)), context=around.context
    )
    return outcome.get()


class _Around:
    """The hooks around one coroutine."""

    def __init__(self, steps: HookSteps, sync_to_async: SyncToAsync | None) -> None:
        self.context = contextvars.copy_context()
        self._outside = contextvars.copy_context()
        self._steps = steps
        self._sync_to_async = sync_to_async

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Returns what the coroutine returns."""
        try:
            await self._take(self._steps.entering())
        except BaseException:
            coroutine.close()
            raise
        outcome = Outcome[T]()
        await outcome.of(coroutine)
        # Left outside of `except`: a thread that is called from there gets the exception too, and
        # adds itself to the traceback.
        await self._take(self._steps.leaving(outcome.error))
        return outcome.get()

    async def _take(self, steps: Steps) -> None:
        step = next(steps, None)
        while step is not None:
            try:
                result = await (self._enter(step) if isinstance(step, Enter) else self._leave(step))
            except BaseException as error:
                step = after_error(steps, error)
            else:
                step = after_result(steps, result)

    async def _enter(self, step: Enter) -> object:
        context: Any
        if makes_asynchronous(step.hook):
            context = step.hook(step.job)
        else:
            context = await self._call(step.hook, _enter_unless_asynchronous, step)
        if is_asynchronous(context):
            await context.__aenter__()
        return context

    async def _leave(self, step: Leave) -> object:
        if is_asynchronous(step.context):
            return await step.context.__aexit__(*step.arguments)
        return await self._call(step.hook, step.context.__exit__, *step.arguments)

    async def _call(self, hook: Hook, function: Callable[..., Any], *arguments: object) -> Any:
        if self._sync_to_async is None or not may_wait(hook):
            return function(*arguments)
        loop = asyncio.get_running_loop()
        call = self._sync_to_async(partial(self.context.run, function, *arguments))
        outcome, called = Outcome[Any](), loop.create_future()

        def begin() -> None:
            loop.create_task(outcome.of(call())).add_done_callback(finish)

        def finish(task: asyncio.Task[None]) -> None:
            if not called.done():  # by a cancellation
                called.set_result(None)

        # Once this task waits, and outside of its context: nobody can enter that a second time.
        loop.call_soon(begin, context=self._outside)
        await called
        return outcome.get()


def _enter_unless_asynchronous(step: Enter) -> Any:
    context: Any = step.hook(step.job)
    if not is_asynchronous(context) and is_synchronous(context):
        context.__enter__()
    return context


class Outcome(Generic[T]):
    """The result or exception of a coroutine, for another task or thread.

    It is not kept by the task that runs the coroutine: asyncio ends its loop for some exceptions,
    and a task refers to the error that it ended with, whose traceback may refer to the task.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._result: T | None = None

    async def of(self, coroutine: Awaitable[T]) -> None:
        """Keeps the result or exception of a coroutine.

        Args:
            coroutine: is awaited.
        """
        try:
            self._result = await coroutine
        except BaseException as error:
            self.error = error

    def get(self) -> T:
        """Returns the result of the coroutine. Call at most once.

        Raises:
            BaseException: the exception of the coroutine.
        """
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
            return cast("T", self._result)
        finally:
            del error  # or it would refer to itself, by its traceback
