"""Goes through steps in an event loop, and carries out those that need no job server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from gearmanny.calling.steps import (
    Consult,
    Give,
    Heed,
    Listen,
    Pause,
    Record,
    Step,
    Steps,
    Submit,
)
from gearmanny.calling.walk import Walk
from gearmanny.errors import GearmanException
from gearmanny.net.deadline import NEVER, Deadline

if TYPE_CHECKING:
    from gearmanny.calling.records import Recorded

R = TypeVar("R")


_followed: dict[Recorded, asyncio.Task[None]] = {}
"""Jobs that somebody asks for without waiting. Loops keep no tasks alive."""


class LoopBell:
    """Wakes a coroutine that waits."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, deadline: Deadline) -> bool:
        """Waits until it has rung since the last wait; returns whether it did in time."""
        try:
            async with asyncio.timeout(deadline.remaining()):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


class AioWalker:
    """Carries out steps, for any number of tasks of an event loop."""

    async def run(self, steps: Steps[R]) -> R:
        """Carries out steps to their end, and returns or raises what they do."""
        walk = Walk(steps)
        while (step := walk.step) is not None:
            try:
                answer = await self._carry_out(step)
            except BaseException as error:
                walk.fail(error)
            else:
                walk.answer(answer)
        return walk.result

    async def iterate(
        self,
        steps: Steps[None],
        submit: Callable[[list[Any]], Awaitable[list[Any]]] | None = None,
    ) -> AsyncIterator[Any]:
        """Carries out steps, and yields what they give.

        Args:
            steps: ended where this is left early.
            submit: sends jobs together, where the steps have any sent.
        """
        walk = Walk(steps)
        try:
            while (step := walk.step) is not None:
                if isinstance(step, Give):
                    yield step.item
                    walk.answer(None)
                    continue
                try:
                    if isinstance(step, Submit):
                        assert submit is not None
                        answer = await submit(step.inputs)
                    else:
                        answer = await self._carry_out(step)
                except BaseException as error:
                    walk.fail(error)
                else:
                    walk.answer(answer)
        finally:
            walk.close()

    def follows(self, recorded: Recorded) -> bool:
        """Returns whether a job is known to have ended; if not, a task waits for that, unless one
        does already."""
        if recorded.is_known_to_have_ended():
            return True
        if recorded not in _followed:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return False
            task = loop.create_task(self._follow(recorded))
            _followed[recorded] = task
            task.add_done_callback(lambda task: _followed.pop(recorded, None))
        return False

    async def _follow(self, recorded: Recorded) -> None:
        with contextlib.suppress(GearmanException):  # who waits for the result is told
            await self.run(recorded.end(NEVER, None))

    async def _carry_out(self, step: Step) -> Any:
        match step:
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Record(store, jobs, hand_over):
                return await store.arecord(jobs, hand_over)
            case Consult(store, ask):
                return await store.aside(ask)
            case Listen(listener, record, is_for_the_end):
                bell = LoopBell()
                listener.add(record, bell, is_for_the_end)
                return bell
            case Heed(bell, deadline):
                return await bell.wait(deadline)
        raise AssertionError(f"{type(step).__name__} is for a driver")


WALKER = AioWalker()
"""For records that belong to no client."""
