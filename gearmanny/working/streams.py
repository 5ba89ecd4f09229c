"""The items of a generator task: sent as they come, and once more as the whole result."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from gearmanny.errors import EncodingError
from gearmanny.tasks.spec import TaskSpec
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker, handle_of
from gearmanny.working.link import Link

Pause = Callable[[float, Callable[[], bool]], Awaitable[None]]
"""Waits in the event loop for some seconds, less when the function returns True."""

_LOOKS_UP = 0.05
"""Seconds after which an event loop looks again whether the job server takes something."""


class Stream:
    """The items of one attempt at a job.

    They are kept, because half of the world's clients drop WORK_DATA. So a stream has an end, also
    where its caller has left, of which job servers say nothing: it may not become longer than a
    result.
    """

    def __init__(
        self, task: TaskSpec, gearman_worker: GearmanWorker, link: Link, job: GearmanJob
    ) -> None:
        """
        Args:
            task: the task.
            gearman_worker: sends the items.
            link: the connection that the job came by.
            job: the job.
        """
        self._task = task
        self._worker = gearman_worker
        self._link = link
        self._job = job
        self._items: list[Any] = []
        self._size = 0

    def send(self, item: Any) -> None:
        """Sends an item, and keeps it.

        Args:
            item: the next one.

        Raises:
            EncodingError: it cannot be encoded, or all of them are too long for a result.
            JobServerLost: the connection has ended.
        """
        before = self._sent()
        self._worker.send_job_data(self._job, item)
        self._size += self._sent() - before
        if self._size > self._link.max_packet:
            raise EncodingError(
                f"the stream of {self._task.function}() is too long: its {self._size} bytes exceed "
                f"max_packet, which is {self._link.max_packet} bytes on this side, and its items "
                "are its result, too. Raise max_packet, or send less"
            )
        self._items.append(item)

    def send_all(self, items: GeneratorType[Any, Any, Any]) -> Any:
        """Sends what a generator yields, as it comes, and returns the whole result.

        Args:
            items: the generator.

        Raises:
            EncodingError: an item cannot be encoded, or all of them are too long for a result.
            JobServerLost: the connection has ended.
        """
        with contextlib.closing(items):
            for item in items:
                self.send(item)
        return self.whole()

    def has_room(self) -> bool:
        """Returns whether an item can be sent at once.

        Raises:
            JobServerUnavailable: the job server takes nothing any more.
        """
        self._link.check_taken()
        return not self._link.full

    async def send_in_turn(self, item: Any, pause: Pause) -> None:
        """Sends an item once the job server takes it, while other coroutines go on.

        Args:
            item: the next one.
            pause: waits for some seconds, in the event loop.

        Raises:
            EncodingError: it cannot be encoded, or all of them are too long for a result.
            JobServerLost: the connection has ended.
            JobServerUnavailable: the job server takes nothing any more.
        """
        while not self.has_room():
            await pause(_LOOKS_UP, self.has_room)
        self.send(item)

    def whole(self) -> Any:
        """Returns the whole result."""
        return self._task.whole(self._items)

    def _sent(self) -> int:
        return self._link.data_sent.get(handle_of(self._job), 0)


async def settled(result: Any, new_stream: Callable[[], Stream], pause: Pause) -> Any:
    """Returns the result of a task, which may return something to be awaited, also again and again,
    or a generator: decorators do, that are plain around an `async def`, or do not await it.

    Args:
        result: returned by the task.
        new_stream: makes what sends the items of a generator.
        pause: waits for some seconds, in the event loop; see `context.JobLoop`.

    Raises:
        EncodingError: an item cannot be encoded, or all of them are too long for a result.
        JobServerLost: the connection has ended.
        JobServerUnavailable: the job server takes nothing any more.
        BaseException: raised by what was awaited.
    """
    while hasattr(type(result), "__await__"):
        result = await result
    if isinstance(result, AsyncGeneratorType):
        stream = new_stream()
        async with contextlib.aclosing(result):
            async for item in result:
                await stream.send_in_turn(item, pause)
        return stream.whole()
    if isinstance(result, GeneratorType):
        stream = new_stream()
        with contextlib.closing(result):
            for item in result:
                await stream.send_in_turn(item, pause)
        return stream.whole()
    return result
