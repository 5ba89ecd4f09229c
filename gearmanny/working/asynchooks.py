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

from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.hooks import (
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

Outcome = tuple[Any, BaseException | None]
"""What a coroutine returned, and what it raised."""


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
    try:
        await around.take(steps.entering())
    except BaseException:
        coroutine.close()
        raise
    # Left outside of `except`: a thread that is called from there gets the exception too, and adds
    # itself to the traceback.
    outcome = await around.outcome_of(coroutine)
    try:
        await around.take(steps.leaving(outcome[1]))
        return cast("T", returned(outcome))
    finally:
        del outcome  # or its error would refer to itself, by its traceback


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

    async def outcome_of(self, coroutine: Coroutine[Any, Any, Any]) -> Outcome:
        """Runs a coroutine. It is cancelled by cancelling the current task."""
        loop = asyncio.get_running_loop()
        return await loop.create_task(outcome_of(coroutine), context=self._context)

    async def _enter(self, step: Enter) -> object:
        context: Any
        if makes_asynchronous(step.hook):
            context = self._context.run(step.hook, step.job)
        else:
            context = await self._call(step.hook, _enter_unless_asynchronous, step)
        if is_asynchronous(context):
            returned(await self.outcome_of(context.__aenter__()))
        return context

    async def _leave(self, step: Leave) -> object:
        if is_asynchronous(step.context):
            return returned(await self.outcome_of(step.context.__aexit__(*step.arguments)))
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


async def outcome_of(coroutine: Coroutine[Any, Any, Any]) -> Outcome:
    """Returns what a coroutine returns or raises: asyncio ends its loop for some exceptions."""
    try:
        return await coroutine, None
    except BaseException as error:
        return None, error


def returned(outcome: Outcome) -> Any:
    """Returns what a coroutine with this outcome returned, or raises what it raised."""
    result, error = outcome
    del outcome
    try:
        if error is not None:
            raise error
        return result
    finally:
        del error  # or it would refer to itself, by its traceback
