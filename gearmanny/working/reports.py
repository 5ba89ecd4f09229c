"""The reports of a task to its caller while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from functools import partial
from typing import Any, overload

from gearmanny.vocabulary.gearman_api import GearmanWorker, Job
from gearmanny.working.exported import current_job
from gearmanny.working.progress import Item, counted, counted_async
from gearmanny.working.strays import is_stray


class Reports:
    """A worker, as its tasks use it to report on their jobs."""

    gearman_worker: GearmanWorker
    only_job: Job | None = None
    """The job that runs, for threads of its task that do not know `current_job`."""

    @property
    def job(self) -> Job:
        """The job that runs: in every coroutine its own, also in `asyncio.to_thread()`. Threads
        that a task starts by itself know it where no task of the class is `async def`.

        Whether anybody still waits for the answer, gearmand tells no worker.

        Raises:
            RuntimeError: there is none, or the job that has started this thread has ended.
        """
        job = current_job.get()
        if job is None and self.only_job is not None:
            if is_stray():
                raise RuntimeError(
                    "The job that has started this thread has ended, and the one that runs now is "
                    "another. End the thread with its job; one that is to serve many jobs is "
                    "started in setUp()."
                )
            job = self.only_job
        if job is None:
            raise RuntimeError(
                f"{type(self).__name__} runs no job now: only a task can ask for its job, and "
                "report on it."
            )
        return job

    @overload
    def progress(self, done: int, total: int) -> None: ...

    @overload
    def progress(self, done: Iterable[Item], total: int | None = None) -> Iterator[Item]: ...

    @overload
    def progress(
        self, done: AsyncIterable[Item], total: int | None = None
    ) -> AsyncIterator[Item]: ...

    def progress(self, done: Any, total: int | None = None) -> Any:
        """Reports the progress of the current job to the caller.

        `progress(3, 10)` reports it once. `for row in progress(rows):` counts the rows that a
        loop, or an `async for`, has done with, and reports it at most ten times a second: always
        at the start, and when there are no more. A loop that is left early reports no more.

        Args:
            done: how much is done; or what the loop goes through.
            total: of how much. Above 2**32 - 1, which job servers cannot keep, both numbers are
                scaled. For a loop that is `len()` by default, and 0 for what has none,
                which callers take for unknown.

        Returns:
            None for a number; for a loop, an iterator over the same items, as lazy as before.

        Raises:
            InvalidOption: the numbers are not whole, or negative.
            JobServerLost: the connection is gone; another worker gets this job.
            JobServerUnavailable: the job server does not take what is sent.
            RuntimeError: there is no current job, or a process that the task has forked reports.
        """
        report = partial(self.gearman_worker.send_job_status, self.job)
        if isinstance(done, AsyncIterable):
            return counted_async(done, total, report)
        if isinstance(done, Iterable):
            return counted(done, total, report)
        return report(done, total)

    def send_data(self, value: Any) -> None:
        """Sends the caller a part of the result ahead.

        Args:
            value: the part, which is encoded.

        Raises:
            EncodingError: it cannot be encoded.
            JobServerLost: the connection is gone; another worker gets this job.
            JobServerUnavailable: the job server does not take what is sent.
            RuntimeError: there is no current job, or a process that the task has forked reports.
        """
        self.gearman_worker.send_job_data(self.job, value)

    def warn(self, text: Any) -> None:
        """Sends the caller a warning.

        Args:
            text: the warning, which is encoded.

        Raises:
            EncodingError: it cannot be encoded.
            JobServerLost: the connection is gone; another worker gets this job.
            JobServerUnavailable: the job server does not take what is sent.
            RuntimeError: there is no current job, or a process that the task has forked reports.
        """
        self.gearman_worker.send_job_warning(self.job, text)

    def send_job_status(self, numerator: int, denominator: int) -> None:
        """The same as `progress`, with gearman3's name."""
        self.progress(numerator, denominator)

    def send_job_data(self, data: Any) -> None:
        """The same as `send_data`, with gearman3's name."""
        self.send_data(data)

    def send_job_warning(self, data: Any) -> None:
        """The same as `warn`, with gearman3's name."""
        self.warn(data)
