"""The loop of a worker, as far as its jobs need it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Protocol

from gearmanny.net.polling import HasDescriptor
from gearmanny.working.answers import Answers
from gearmanny.working.claims import Claims
from gearmanny.working.jobevents import JobEvents
from gearmanny.working.lastresort import LastResort
from gearmanny.working.ledger import Ledger
from gearmanny.working.watchdog import Watchdog

WaitBetweenAttempts = Callable[[float, HasDescriptor, Callable[[], bool]], None]
"""Waits for some seconds, less when a link ends or the worker stops and the function then returns
True. See `attempts.Pause`."""


class JobLoop(Protocol):
    """Where the jobs of `async def` tasks run. See `eventloop.EventLoop`, which is imported only
    where there are some."""

    error: BaseException | None
    """The exception of a coroutine that stops the whole worker."""
    cancelling: bool
    """Whether jobs are left without an answer, because the worker ends at once."""

    def start(self, coroutine: Coroutine[Any, Any, bool]) -> None:
        """Runs a coroutine beside the others.

        Args:
            coroutine: the life of a job; returns whether the job was answered.
        """

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Returns the result of a coroutine to another thread.

        Args:
            coroutine: is run beside the others.

        Raises:
            BaseException: the exception of the coroutine.
        """

    def run_whole(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """As `run`, for the coroutine of a task, from which nothing is left to be done later. It
        is cancelled where the thread that waits for it is interrupted.

        Args:
            coroutine: is run beside the others.

        Raises:
            BaseException: the exception of the coroutine.
        """

    async def in_thread(self, step: Callable[[], Any]) -> Any:
        """Returns what a function returns that may wait for the store of the records.

        Args:
            step: is called in another thread than the event loop.
        """

    async def pause(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Waits between two attempts.

        Args:
            seconds: for how long at most.
            is_over: returns whether there is nothing more to wait for; asked again by `notify`.
        """

    def notify(self) -> None:
        """Has coroutines that pause look whether that is over."""

    def take_answered(self) -> int:
        """Returns how many jobs were answered since this was last asked."""

    def is_idle(self) -> bool:
        """Returns whether no coroutine runs."""

    def finish(self) -> None:
        """Waits until no coroutine runs."""

    def close(self) -> None:
        """Ends, and cancels the coroutines that run."""


class Context:
    """The loop of a worker, as far as its jobs need it."""

    def __init__(
        self,
        answers: Answers,
        ledger: Ledger,
        stopping: Callable[[], bool],
        pause: WaitBetweenAttempts,
        new_event_loop: Callable[[], JobLoop],
        claims: Claims | None = None,
        transaction: Callable[[], AbstractContextManager[Any]] | None = None,
        events: JobEvents | None = None,
    ) -> None:
        """
        Args:
            answers: ends the jobs.
            ledger: names the jobs that run.
            stopping: returns whether the worker stops.
            pause: waits between two attempts at a plain task.
            new_event_loop: makes the event loop, on first use.
            claims: the jobs with records; None for a worker without a store.
            transaction: returns the transaction that an atomic task runs in; None for a worker
                without one.
            events: reports what becomes of jobs; None where nobody is notified.
        """
        self.answers = answers
        self.ledger = ledger
        self.stopping = stopping
        self.pause = pause
        self.claims = claims
        self.transaction = transaction
        self.events = events
        self.watchdog = Watchdog()
        """For the time limits of plain tasks."""
        self.last_resort = LastResort()
        """For those of coroutines."""
        self.running_event_loop: JobLoop | None = None
        """The event loop, if any coroutine has needed it."""
        self.interrupted = False
        """Whether a plain task was interrupted, at a moment that nobody chose."""
        self._new_event_loop = new_event_loop

    def event_loop(self) -> JobLoop:
        """Returns the event loop, which is made on first use."""
        if self.running_event_loop is None:
            self.running_event_loop = self._new_event_loop()
        return self.running_event_loop

    def has_coroutines(self) -> bool:
        """Returns whether a coroutine runs."""
        return self.running_event_loop is not None and not self.running_event_loop.is_idle()

    def finish_coroutines(self) -> None:
        """Waits until no coroutine runs."""
        if self.running_event_loop is not None:
            self.running_event_loop.finish()

    def close(self) -> None:
        """Ends the threads that jobs needed."""
        if self.running_event_loop is not None:
            self.running_event_loop.close()
        self.watchdog.close()
        self.last_resort.close()
