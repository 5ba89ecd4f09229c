"""`async def` tasks: each answers its job itself, under the lock of the link."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
import time
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from types import AsyncGeneratorType
from typing import Any

from gearmanny.errors import JobServerLost, TaskTimeLimitExceeded
from gearmanny.net.forks import end_as_a_program, this_process
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.asynchooks import run_in_hooks
from gearmanny.working.attempts import GivenBack, log_retry
from gearmanny.working.companions import JobLoop
from gearmanny.working.eventloop import event_loop_of
from gearmanny.working.jobs import JobRunner
from gearmanny.working.lastresort import where
from gearmanny.working.link import Link
from gearmanny.working.loop import loops
from gearmanny.working.taskrunners import TaskRunner, current_job


class CoroutineRunner(TaskRunner):
    """Runs an `async def` task, with its time limit and its attempts."""

    def begin(self, jobs: JobRunner, link: Link, job: GearmanJob) -> None:
        """Hands a job over to the event loop, where it will be answered."""
        loop = event_loop_of(jobs.worker)
        loop.start(self._answer(loop, jobs, link, job))

    async def _answer(self, loop: JobLoop, jobs: JobRunner, link: Link, job: GearmanJob) -> None:
        started = time.perf_counter()
        current_job.set(job)
        try:
            result = await self._attempts(loop, jobs, link, job)
            if link not in jobs.worker.connection_to_handler_map:
                return  # the connection is gone, and another worker has the job
            jobs.worker.on_job_complete(job, result)
        except KeyboardInterrupt:
            raise
        except GivenBack:
            jobs.log_given_back(job)
            return
        except BaseException as error:
            if loop.cancelling:
                return
            jobs.answer_failure(link, job, error)
        else:
            jobs.log_answer(job, started)
        with contextlib.suppress(JobServerLost):  # noticed by the thread of the worker
            link.flush()

    async def _attempts(self, loop: JobLoop, jobs: JobRunner, link: Link, job: GearmanJob) -> Any:
        options = self._task.options
        arguments = copy.deepcopy(job.data) if options.retries else None
        number = 1
        while True:
            try:
                return await self._in_hooks(job, self._within_limit(jobs, link, job))
            except BaseException as error:
                # Who has got data of one attempt must not get it from the next one again.
                if job.handle in link.data_sent_for or not options.retries_after(number, error):
                    raise
                delay = options.delay_after(number)
                log_retry(job, error, number, delay)
            if loops[jobs.worker].attempts.waits:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(loop.stopping.wait(), delay)
                    raise GivenBack
            number += 1
            job.data = copy.deepcopy(arguments)
            with contextlib.suppress(AttributeError):
                job.attempt = number

    async def _in_hooks(self, job: GearmanJob, coroutine: Coroutine[Any, Any, Any]) -> Any:
        worker = self._worker
        if not worker.hooks:
            return await coroutine
        return await run_in_hooks(worker.hooks, job, coroutine, worker.sync_to_async)

    async def _within_limit(self, jobs: JobRunner, link: Link, job: GearmanJob) -> Any:
        timeout, grace = self._task.options.limit, self._worker.timeout_grace
        if timeout is None:
            return await self._call(jobs, job)
        with self._last_resort(timeout, grace, jobs, link, job):
            try:
                async with asyncio.timeout(timeout) as limit:
                    return await self._call(jobs, job)
            except TimeoutError:
                if limit.expired():
                    raise TaskTimeLimitExceeded(self._task.function, timeout) from None
                raise

    def _last_resort(
        self, timeout: float, grace: float | None, jobs: JobRunner, link: Link, job: GearmanJob
    ) -> AbstractContextManager[None]:
        """Returns what ends the process when the task goes on after its time and its grace."""
        if grace is None:
            return contextlib.nullcontext()
        thread = threading.get_ident()

        def last_words() -> None:
            error = TaskTimeLimitExceeded(self._task.function, timeout, grace)
            jobs.answer_at_last(link, job, error.with_traceback(where(thread)))

        attempts = loops[jobs.worker].attempts
        return attempts.last_resort.after(timeout + grace, last_words)

    async def _call(self, jobs: JobRunner, job: GearmanJob) -> Any:
        forks = this_process.forks
        try:
            return await self._result(jobs, job)
        finally:
            if this_process.forks != forks:
                end_as_a_program()

    async def _result(self, jobs: JobRunner, job: GearmanJob) -> Any:
        result = self._method(**self._task.check_arguments(job.data))
        if not isinstance(result, AsyncGeneratorType):
            return await result
        items = []
        async with contextlib.aclosing(result):
            async for item in result:
                jobs.worker.send_job_data(job, item)
                items.append(item)
        return self._task.whole(items)
