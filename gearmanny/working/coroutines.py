"""The callbacks that are registered for `async def` tasks.

As `runners.py` runs plain tasks, in the same steps. They differ in how they
wait; and each answers its job itself, under the lock of the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NoReturn

from gearmanny.errors import JobCancelled, JobServerLost, TaskTimeLimitExceeded
from gearmanny.net.forks import end_as_a_program, this_process
from gearmanny.tasks.spec import TaskSpec
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.working.asynchooks import run_in_hooks
from gearmanny.working.attempts import Attempts, describe
from gearmanny.working.context import JobLoop
from gearmanny.working.exported import Exported, Owner, current_job
from gearmanny.working.handler import Handler, handler_of
from gearmanny.working.interrupts import GivenBack, stops_worker
from gearmanny.working.lastresort import where
from gearmanny.working.runners import HandedOver
from gearmanny.working.streams import Stream, settled


class CoroutineRunner(Exported):
    """Runs an `async def` task, with its time limit and its attempts."""

    task: TaskSpec

    def __init__(self, worker: Owner, task: TaskSpec) -> None:
        """
        Args:
            worker: the worker that has the task.
            task: the task.
        """
        super().__init__(worker)
        self.task = task
        self._method = getattr(worker, task.method)

    def __call__(self, gearman_worker: GearmanWorker, job: GearmanJob) -> NoReturn:
        """Hands a job over to the event loop, where it will be answered.

        Args:
            gearman_worker: the worker that has the job.
            job: the job.

        Raises:
            HandedOver: always.
        """
        handler = handler_of(gearman_worker, job)
        loop = handler.context.event_loop()
        life = _Life(self.task, self._method, self.worker, gearman_worker, handler, loop, job)
        loop.start(life.run())
        raise HandedOver


class _Life:
    """One job of an `async def` task, in the event loop."""

    def __init__(
        self,
        task: TaskSpec,
        method: Any,
        owner: Owner,
        gearman_worker: GearmanWorker,
        handler: Handler,
        loop: JobLoop,
        job: GearmanJob,
    ) -> None:
        self._started = time.perf_counter()
        self.task = task
        self._method = method
        self._owner = owner
        self._worker = gearman_worker
        self._context = handler.context
        self._handler = handler
        self._link = handler.link
        self._loop = loop
        self._job = job

    async def run(self) -> bool:
        """Returns whether the job was answered, as `JobRunner.run` does."""
        current_job.set(self._job)
        error = await self._failure()
        end = partial(self._context.answers.end, self._link, self._job, self._started, error)
        stops = error is not None and stops_worker(error)
        answered = end() if stops else await self._reporting(end, self._has_record())
        if answered:
            with contextlib.suppress(JobServerLost):  # noticed by the thread of the worker
                self._link.flush()
                self._context.ledger.sent(self._link)
        return answered

    async def _failure(self) -> BaseException | None:
        """Returns the exception that `on_job_execute` would let through, if any."""
        try:
            await self._execute()
        except BaseException as error:
            return error
        return None

    async def _execute(self) -> None:
        """Does what `on_job_execute` of gearman3 does when the callback has ended."""
        try:
            result = await self._attempts()
        except BaseException as error:
            if self._loop.cancelling:
                raise GivenBack from None
            if not isinstance(error, Exception):
                raise
            await self._step(partial(self._fail, error))
            return
        if self._has_record():
            await self._step(partial(self._complete, result))
            return
        if self._link.closed:
            raise GivenBack
        self._worker.on_job_complete(self._job, result)

    def _has_record(self) -> bool:
        claims = self._context.claims
        return claims is not None and claims.holds(self._job)

    async def _step(self, step: Callable[[], Any]) -> Any:
        """Takes a step to the end of the job; in a thread, where it may wait for a database."""
        if self._loop.cancelling or not self._has_record():
            return step()
        return await self._loop.in_thread(step)

    async def _reporting(self, step: Callable[[], Any], waits: bool = False) -> Any:
        """Takes a step that reports what became of the job; where somebody is notified of that, in
        the thread that synchronous hooks would run in."""
        events, to_thread = self._context.events, self._owner.sync_to_async
        if self._loop.cancelling or events is None or not events.are_heard:
            return await self._step(step) if waits else step()
        if to_thread is None:
            return await self._loop.in_thread(step)
        return await to_thread(step)()

    def _complete(self, result: Any) -> None:
        """Ends a job with a record, which its job server may have given to others meanwhile."""
        if self._link.closed:  # gearman3 does not find it any more
            self._handler.send_job_complete(self._job, result)
        else:
            self._worker.on_job_complete(self._job, result)

    def _fail(self, error: Exception) -> None:
        try:
            raise error
        except Exception:
            if self._link.closed and self._has_record():
                self._handler.send_job_failure(self._job)
            else:
                self._worker.on_job_exception(self._job, sys.exc_info())

    async def _attempts(self) -> Any:
        attempts = Attempts(self._job, self.task.options, self._link, self._context)
        while True:
            try:
                return await self._in_hooks(self._within_limit())
            except BaseException as error:
                delay = await self._reporting(partial(attempts.delay_after, error))
                if delay is None:
                    raise
            await self._loop.pause(delay, attempts.are_over)
            await self._reporting(attempts.begin_next)

    async def _in_hooks(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        owner = self._owner
        if not owner.hooks:
            return await coroutine
        return await run_in_hooks(owner.hooks, self._job, coroutine, owner.sync_to_async)

    async def _within_limit(self) -> Any:
        timeout = self.task.options.limit
        if timeout is None and not self._has_record():
            return await self._call()
        limit = asyncio.timeout(timeout)
        try:
            with contextlib.ExitStack() as stack:
                self._last_resort(stack, timeout)
                if self._has_record():
                    stack.enter_context(self._cancellation(stack, limit))
                async with limit:
                    return await self._call()
        except TimeoutError:
            if limit.expired():
                raise self._interruption(timeout) from None
            raise
        finally:
            if limit.expired():
                describe(self._job, interrupted=True)

    def _cancellation(
        self, stack: contextlib.ExitStack, limit: asyncio.Timeout
    ) -> AbstractContextManager[None]:
        """Returns a block that a cancellation of the job ends, as a time limit does."""
        claims, loop = self._context.claims, asyncio.get_running_loop()
        assert claims is not None
        thread = threading.get_ident()

        def end() -> None:
            with contextlib.suppress(RuntimeError):  # it has ended
                limit.reschedule(loop.time())

        def interrupt() -> None:
            self._last_resort(stack, 0.0, thread)
            loop.call_soon_threadsafe(end)

        return claims.interruptible(self._job, interrupt)

    def _interruption(self, timeout: float | None, *grace: float) -> BaseException:
        claims = self._context.claims
        if claims is not None and claims.is_cancelled(self._job):
            return JobCancelled(self.task.function)
        assert timeout is not None
        return TaskTimeLimitExceeded(self.task.function, timeout, *grace)

    def _last_resort(
        self, stack: contextlib.ExitStack, timeout: float | None, thread: int = 0
    ) -> None:
        """Ends the process when the task goes on after some time and its grace, and the stack has
        not been left."""
        grace = self._owner.timeout_grace
        if timeout is None or grace is None:
            return
        thread = thread or threading.get_ident()

        def last_words() -> None:
            error = self._interruption(timeout, grace).with_traceback(where(thread))
            self._context.answers.fail_at_last(self._link, self._job, error)

        stack.enter_context(self._context.last_resort.after(timeout + grace, last_words))

    async def _call(self) -> Any:
        forks = this_process.forks
        try:
            return await self._result()
        except TypeError as error:
            refusal = self.task.refusal_of(error, self._job.data)
            if refusal is None:
                raise
            raise refusal from None
        finally:
            # Within hooks and time limits, which are the parent's alone.
            if this_process.forks != forks:
                end_as_a_program()

    async def _result(self) -> Any:
        result = self._method(**self.task.check_arguments(self._job.data))
        return await settled(result, self._new_stream, self._loop.pause)

    def _new_stream(self) -> Stream:
        return Stream(self.task, self._worker, self._link, self._job)
