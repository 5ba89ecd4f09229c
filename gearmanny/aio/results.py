"""The work object of the asyncio client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import Any

from gearmanny.aio.connection import AioConnection
from gearmanny.aio.driver import AioDriver
from gearmanny.aio.walker import WALKER
from gearmanny.calling import asking, waiting
from gearmanny.calling.call import Call
from gearmanny.calling.values import JobStatus, Progress, Update
from gearmanny.calling.work import Work
from gearmanny.net.deadline import Deadline


class AioWorkResult(Work[AioConnection]):
    """A job that was sent: `await` it for its result, any number of times, by any number of tasks.

    As it can be awaited, `asyncio.gather`, `asyncio.as_completed` and `asyncio.wait_for` take it.
    Cancelling whoever awaits it leaves the job alone: it may be awaited again.
    """

    __slots__ = ("_driver",)

    def __init__(self, call: Call[AioConnection], driver: AioDriver) -> None:
        self._call = call
        self._driver = driver

    @classmethod
    def _of_record(cls, call: Call[AioConnection]) -> AioWorkResult:
        walker: Any = WALKER  # nothing is asked of a job server
        return cls(call, walker)

    def __await__(self) -> Generator[Any, None, Any]:
        """Returns what `get_result` returns, within the timeout of the client."""
        if self._call.record is not None:
            return self.get_result(self._call.options.timeout).__await__()
        return self._driver.result(self._call, self._call.options.timeout).__await__()

    @property
    def progress(self) -> Progress | None:
        """The last progress that the worker reported, or None. That of a recorded job is known
        from the last look at its record, as by `status()` or `updates()`."""
        if self._call.record is not None:
            return self._recorded.progress()
        return self._call.progress

    def is_done(self) -> bool:
        """Returns whether there is an answer, good or bad. A recorded job is waited for in the
        background from the first question on."""
        if self._call.record is not None:
            return self._driver.follows(self._recorded)
        return self._call.is_answered()

    async def get_result(self, timeout: float | None = 60) -> Any:
        """Returns what the task returned. May be called again.

        A background job has no answer: this returns None once the job server has accepted it. A
        recorded one has: its record is waited for.
        `on_update` may be a coroutine function, and is awaited then.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            TaskError: the task failed on its worker.
            TaskTimeout: no answer in time. The job may still run, and may still be waited for.
            JobCancelled: it was cancelled.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerUnavailable: an idempotent job was lost, and no job server could be reached.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the answer, or an update for `on_update`, cannot be decoded.
            UnknownJob: there is no record of the job any more.
            StoreUnavailable: the database with the record cannot be reached.
            GearmanException: the end cannot be seen in the transaction that is open here.
            InvalidOption: the timeout is not a number of seconds.
            RuntimeError: the job belongs to another event loop.
            Exception: any that `on_update` raises.
        """
        if self._call.record is not None:
            return await self._driver.run(self._recorded.result(Deadline(timeout), timeout))
        return await self._driver.result(self._call, timeout)

    async def exception(self, timeout: float | None = 60) -> Exception | None:
        """Returns the exception that `get_result()` would raise for the end of the job; None when
        it ended well.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            TaskTimeout: no answer in time. The job may still run, and may still be waited for.
            InvalidOption: the timeout is not a number of seconds.
            RuntimeError: the job belongs to another event loop.
        """
        if self._call.record is not None:
            return await self._driver.run(self._recorded.exception(Deadline(timeout), timeout))
        error: Exception | None = await self._run(waiting.exception, timeout)
        return error

    def updates(self, timeout: float | None = None) -> AsyncIterator[Update]:
        """Yields what the worker sends while the job runs, in its order, until the job ends:
        `async for update in work.updates()`.

        Every update is given out once. How the job ended, `get_result()` says. Of a recorded job,
        each `Progress` is yielded that its store has.

        Args:
            timeout: seconds for the whole job to end; None waits for as long as it takes.

        Raises:
            TaskTimeout: the job did not end in time, or its updates are taken too slowly.
            EncodingError: an update cannot be decoded.
            InvalidOption: the timeout is not a number of seconds.
            RuntimeError: the job belongs to another event loop.
        """
        if self._call.record is not None:
            return self._driver.iterate(self._recorded.progresses(Deadline(timeout), timeout))
        return self._driver.iterate(waiting.updates(self._call, Deadline(timeout), timeout))

    async def status(self, timeout: float | None = 60) -> JobStatus:
        """Asks the job server for the job: whether it waits, runs, or is unknown by now.

        A background job is found by its unique id, also after a restart of its job server; any
        other one only on the connection that it was sent on. A recorded job is looked up in its
        store.

        Args:
            timeout: seconds to wait for the answer; None waits for as long as it takes.

        Raises:
            TaskTimeout: the job server did not accept the job in time.
            JobServerUnavailable: the job server cannot be reached, or did not answer in time.
            JobServerLost: the connection ended before the answer came.
            JobServerError: the job server refused the job.
            StoreUnavailable: the database with the record cannot be reached.
            InvalidOption: the timeout is not a number of seconds.
            RuntimeError: the job belongs to another event loop.
        """
        found: JobStatus = await self._run(asking.status, timeout)
        return found

    async def cancel(self, timeout: float | None = 60) -> bool:
        """Takes the job from its queue, when no worker has it yet. Nothing stops a job that runs:
        the protocol has no way to.

        With a `unique` key, all its callers lose the job; gearmand 1.1.20 lets new calls with
        that key join it, and be lost with it, until a worker asks for the function again. A
        recorded job is cancelled in its store; one that runs is interrupted.

        Args:
            timeout: seconds to wait for the job server; None waits for as long as it takes.

        Returns:
            Whether the job will not run. Then awaiting it raises `JobCancelled`. False when it
            runs, or is over. A worker that took it in the very moment runs it without a caller:
            awaiting it raises a `TaskError` then.

        Raises:
            TaskTimeout: the job server did not accept the job in time.
            JobServerUnavailable: the job server cannot be reached, or did not answer in time.
            JobServerLost: the connection ended before the answer came, or the one on which a
                background job was sent: its handle may name another job by now.
            JobServerError: the job server refused.
            StoreUnavailable: the database with the record cannot be reached.
            InvalidOption: the timeout is not a number of seconds.
            RuntimeError: the job belongs to another event loop.
        """
        return bool(await self._run(asking.cancel, timeout))

    cancel.alters_data = True  # type: ignore[attr-defined]  # no method of Django's templates

    async def _run(self, what: Any, timeout: float | None) -> Any:
        return await self._driver.run(what(self._call, Deadline(timeout), timeout))
