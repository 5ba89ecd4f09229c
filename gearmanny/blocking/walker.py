"""Goes through steps in the thread that waits for them, and carries out those that need no job
server."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

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
from gearmanny.net.deadline import Deadline

R = TypeVar("R")

logger = logging.getLogger("gearmanny.client")


class _BlockedLoops:
    """Warns once when a thread waits in which an event loop runs."""

    def __init__(self) -> None:
        self.reported = False

    def look(self, function: str) -> None:
        """Warns if an event loop runs in this thread.

        Args:
            function: the Gearman function whose answer is waited for.
        """
        asyncio = sys.modules.get("asyncio")  # where nobody imported it, no loop runs
        if asyncio is not None and asyncio._get_running_loop() is not None:
            self.reported = True
            logger.warning(
                "%s() is waited for in an event loop, in which nothing else can run meanwhile. "
                "Use an AioClient in coroutines, which is aio_client in Django.",
                function,
                extra={"action": "event_loop_blocked"},
            )


blocked_loops = _BlockedLoops()


class ThreadBell:
    """Wakes a thread that waits."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        self._rung.set()

    def wait(self, deadline: Deadline) -> bool:
        """Waits until it has rung since the last wait; returns whether it did in time."""
        has_rung = self._rung.wait(deadline.remaining())
        self._rung.clear()
        return has_rung


class Walker:
    """Carries out steps, for any number of threads."""

    def run(self, steps: Steps[R]) -> R:
        """Carries out steps to their end, and returns or raises what they do."""
        walk = Walk(steps)
        while (step := walk.step) is not None:
            try:
                answer = self._carry_out(step)
            except BaseException as error:
                walk.fail(error)
            else:
                walk.answer(answer)
        return walk.result

    def iterate(
        self, steps: Steps[None], submit: Callable[[list[Any]], list[Any]] | None = None
    ) -> Iterator[Any]:
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
                        answer = submit(step.inputs)
                    else:
                        answer = self._carry_out(step)
                except BaseException as error:
                    walk.fail(error)
                else:
                    walk.answer(answer)
        finally:
            walk.close()

    def _carry_out(self, step: Step) -> Any:
        match step:
            case Pause(seconds):
                return time.sleep(seconds)
            case Record(store, jobs, hand_over):
                return store.record(jobs, hand_over)
            case Consult(_, ask):
                return ask()
            case Listen(listener, record, is_for_the_end):
                bell = ThreadBell()
                listener.add(record, bell, is_for_the_end)
                return bell
            case Heed(bell, deadline, function):
                if not blocked_loops.reported:
                    blocked_loops.look(function)
                return bell.wait(deadline)
        raise AssertionError(f"{type(step).__name__} is for a driver")


WALKER = Walker()
"""For records that belong to no client."""
