"""Hooks around a coroutine.

The hooks and the coroutine share a context of variables, so that what a hook sets there
the coroutine sees, and the hook can reset. They need not share a thread: a synchronous
hook may wait for something, and then it must not keep the event loop from going on.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from gearmanny.gearman_api import GearmanJob
from gearmanny.hooks import (
    Enter,
    Hook,
    HookSteps,
    Leave,
    Steps,
    SyncToAsync,
    after_error,
    after_result,
    is_asynchronous,
    is_synchronous,
    makes_asynchronous,
    may_wait,
)

T = TypeVar("T")


async def run_in_hooks(
    hooks: Sequence[Hook],
    job: GearmanJob,
    coroutine: Coroutine[Any, Any, T],
    sync_to_async: SyncToAsync | None,
) -> T:
    """Returns what a coroutine returns, and raises what it raises, within hooks.

    Args:
        hooks: the hooks.
        job: the job.
        coroutine: runs the task.
        sync_to_async: how synchronous hooks are called; None for in this thread.

    Raises:
        RejectJob: a hook raised it, and the coroutine was not run.
    """
    around = _Around(sync_to_async)
    steps = HookSteps(hooks, job)
    error: BaseException | None = None
    try:
        await around.take(steps.entering())
    except BaseException:
        coroutine.close()
        raise
    try:
        return await around.run(coroutine)
    except BaseException as failure:
        error = failure
        raise
    finally:
        await around.take(steps.leaving(error))


class _Around:
    """One context of variables, and what runs in it."""

    def __init__(self, sync_to_async: SyncToAsync | None) -> None:
        self._context = contextvars.copy_context()
        self._sync_to_async = sync_to_async

    async def take(self, steps: Steps) -> None:
        """Takes the steps before or after the coroutine."""
        step = next(steps, None)
        while step is not None:
            try:
                result = await (self._enter(step) if isinstance(step, Enter) else self._leave(step))
            except BaseException as error:
                step = after_error(steps, error)
            else:
                step = after_result(steps, result)

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Returns what a coroutine returns. It can be cancelled by cancelling the current task."""
        task: asyncio.Task[tuple[Any, BaseException | None]]
        task = asyncio.get_running_loop().create_task(outcome_of(coroutine), context=self._context)
        result, error = await task
        if error is not None:
            raise error
        return cast("T", result)

    async def _enter(self, step: Enter) -> object:
        context: Any
        if makes_asynchronous(step.hook):
            context = self._context.run(step.hook, step.job)
        else:
            context = await self._call(step.hook, _enter_unless_asynchronous, step)
        if is_asynchronous(context):
            await self.run(context.__aenter__())
        return context

    async def _leave(self, step: Leave) -> object:
        if is_asynchronous(step.context):
            return await self.run(step.context.__aexit__(*step.arguments))
        return await self._call(step.hook, step.context.__exit__, *step.arguments)

    async def _call(self, hook: Hook, function: Callable[..., Any], *arguments: object) -> Any:
        call = partial(self._context.run, function, *arguments)
        if self._sync_to_async is not None and may_wait(hook):
            return await self._sync_to_async(call)()
        return call()


def _enter_unless_asynchronous(step: Enter) -> Any:
    context: Any = step.hook(step.job)
    if not is_asynchronous(context) and is_synchronous(context):
        context.__enter__()
    return context


async def outcome_of(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Returns what a coroutine returns or raises: asyncio ends its loop for some exceptions."""
    try:
        return await coroutine, None
    except BaseException as error:
        return None, error
