"""The work object of the asyncio client."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

from gearmanny.aio.connection import AioConnection, AioSubmission
from gearmanny.aio.connections import AioConnections
from gearmanny.aio.inquiries import status_by_handle, status_by_unique
from gearmanny.aio.questions import cancel, explain_silence
from gearmanny.aio.resending import Resending
from gearmanny.calling.options import CallOptions
from gearmanny.calling.submission import Data, JobState, JobStatus, Progress, Warning
from gearmanny.errors import GearmanException, JobServerLost, TaskTimeout
from gearmanny.net.deadline import Deadline
from gearmanny.payload.encoding import Encoder

_ASK_WHY_TIMEOUT = 1.0
"""Seconds that a timeout may take longer, to tell whether any worker offers the function."""


Update = Progress | Data | Warning


class AioWorkResult(AioSubmission):
    """A job that was sent: `await` it for its result, any number of times, by any number of tasks.

    As it can be awaited, `asyncio.gather`, `asyncio.as_completed` and `asyncio.wait_for` take it.
    Cancelling whoever awaits it leaves the job alone: it may be awaited again.
    """

    __slots__ = ("_connections", "_options", "resending", "unique_id")

    def __init__(
        self,
        connections: AioConnections,
        connection: AioConnection,
        function: str,
        encoder: type[Encoder],
        options: CallOptions,
    ) -> None:
        super().__init__(connection, function, encoder)
        self._connections = connections
        self._options = options
        self.background = options.background
        self.resending: Resending | None = None
        """How to send an idempotent job again."""
        self.unique_id = b""
        """As it travels."""

    def __await__(self) -> Generator[Any, None, Any]:
        """Returns what `get_result` returns, within the timeout of the client."""
        return self.get_result(self._options.timeout).__await__()

    @property
    def unique(self) -> str | None:
        """The unique id of the job, by which `client.status()` finds it also after a restart of
        the job server; None for a foreground call without a key."""
        return self.unique_id.decode() or None

    @property
    def progress(self) -> Progress | None:
        """The last progress that the worker told, or None."""
        return self.last_progress

    def is_done(self) -> bool:
        """Returns whether there is an answer, good or bad."""
        return self.is_answered()

    async def get_result(self, timeout: float | None = 60) -> Any:
        """Returns what the task returned. May be called again.

        Arguments and errors are those of `WorkResult.get_result`. `on_update` may be a coroutine
        function.
        """
        deadline = Deadline(timeout)
        on_update = self._options.on_update
        if on_update is not None:
            async for update in self._updates(deadline, timeout):
                await pass_on(update, on_update)
        await self._wait(self.is_answered, deadline, timeout)
        return self.value()

    async def exception(self, timeout: float | None = 60) -> Exception | None:
        """Returns what `get_result()` would raise of the job's end; None when it ended well.

        Arguments and errors are those of `WorkResult.exception`.
        """
        await self._wait(self.is_answered, Deadline(timeout), timeout)
        try:
            self.value()
        except Exception as error:
            return error
        return None

    def updates(self, timeout: float | None = None) -> AsyncIterator[Update]:
        """Yields what the worker sends while the job runs, in its order, until the job ends:
        `async for update in work.updates()`.

        Arguments and errors are those of `WorkResult.updates`.
        """
        return self._updates(Deadline(timeout), timeout)

    async def status(self, timeout: float | None = 60) -> JobStatus:
        """Asks the job server for the job: whether it waits, runs, or is unknown by now.

        Arguments and errors are those of `WorkResult.status`.
        """
        deadline = Deadline(timeout)
        if self.cancelled:  # gearmand 1.1.20 lists it until a worker asks for its function
            return JobStatus(JobState.UNKNOWN)
        if self.background:
            connection = await self._connections.connection_to(self.connection.host)
            return await status_by_unique(connection, self.unique_id, deadline)
        handle = await self._await_handle(deadline, timeout)
        if handle is None or self.outcome is not None:
            return JobStatus(JobState.UNKNOWN)
        return await status_by_handle(self.connection, handle, deadline)

    async def cancel(self, timeout: float | None = 60) -> bool:
        """Takes the job from its queue, when no worker has it yet. Nothing stops a job that runs:
        the protocol has no way to.

        Arguments, returns and errors are those of `WorkResult.cancel`.
        """
        deadline = Deadline(timeout)
        handle = await self._await_handle(deadline, timeout)
        if self.cancelled:
            return True
        if handle is None or (self.outcome is not None and not self.background):
            return False
        before = await status_by_handle(self.connection, handle, deadline)
        if before.state is not JobState.QUEUED:
            return False
        self.cancelled = True  # who waits is told before we are
        host, tls = self.connection.host, self.connection.tls
        known = await cancel(host, tls, deadline.remaining(), handle)
        after = await status_by_handle(self.connection, handle, deadline)
        self.cancelled = known and after.state is not JobState.RUNNING
        return self.cancelled

    def lose(self, error: GearmanException) -> None:
        """Sends an idempotent job again; to any other one, this is what came of it."""
        if self.resending is None or self.connection.given_up:
            super().lose(error)
        else:
            task = self._connections.start(self.resending.send_again(self))
            task.add_done_callback(self._sent_again)

    def forget(self) -> None:
        """Keeps nothing that may still come: nobody will ask for it."""
        self.drop_updates()
        if self.resending is not None:
            self.resending.wanted = False

    def _sent_again(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            super().lose(JobServerLost(str(self.connection.host), "closed by this client"))
        elif isinstance(error := task.exception(), GearmanException):
            super().lose(error)

    async def _updates(self, deadline: Deadline, timeout: float | None) -> AsyncIterator[Update]:
        while True:
            await self._wait(self.has_news, deadline, timeout)
            if not self.unread:
                return
            update = self.next_update()
            if update is not None:
                yield update

    async def _await_handle(self, deadline: Deadline, timeout: float | None) -> bytes | None:
        """Returns the handle of the job; None when its submission failed."""
        await self._wait(self.has_handle, deadline, timeout)
        return self.handle

    async def _wait(
        self, ready: Callable[[], bool], deadline: Deadline, timeout: float | None
    ) -> None:
        if await self.wait(ready, deadline):
            return
        assert timeout is not None  # only a deadline ends a wait without an answer
        if timeout == 0:  # a look, not a wait: not worth a question to the server
            raise TaskTimeout(self.function, timeout)
        host, tls = self.connection.host, self.connection.tls
        reason = await explain_silence(host, tls, _ASK_WHY_TIMEOUT, self.function)
        raise TaskTimeout(self.function, timeout, reason)


async def pass_on(update: Update, on_update: Callable[[Any], object]) -> None:
    """Calls a function, or a coroutine function, with an update."""
    told = on_update(update)
    if inspect.isawaitable(told):
        await told
