"""The event loop of a worker, in a thread of its own, for `async def` tasks.

The thread of the worker takes the jobs and hands them over, so that it can run
other tasks, or wait for more jobs, while coroutines wait. When one has ended, the
worker is woken to ask for another job.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, ParamSpec, TypeVar

from gearmanny.net.forks import end_as_a_program, ending_forks, this_process
from gearmanny.working.asynchooks import Outcome
from gearmanny.working.interrupts import stops_worker

P = ParamSpec("P")
R = TypeVar("R")

_LOOKS_UP = 0.05
"""Seconds after which a thread that waits for a coroutine can be interrupted."""

_CLEANING_UP = 5.0
"""Seconds for coroutines that are cancelled because their worker ends at once."""


class _Executor(ThreadPoolExecutor):
    """Threads for `asyncio.to_thread`. A child that is forked in one of them ends where it leaves
    the function: otherwise it would wait for ever for another one."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return super().submit(ending_forks(fn), *args, **kwargs)


class EventLoop:
    """Runs coroutines in a thread of its own."""

    def __init__(self, wake: Callable[[], object]) -> None:
        """
        Args:
            wake: called when a coroutine has ended, in the thread of the loop.
        """
        self.error: BaseException | None = None
        """The exception of a coroutine that stops the whole worker."""
        self.cancelling = False
        """Whether jobs are left without an answer, because the worker ends at once."""
        self._wake = wake
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(_Executor())
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        """Set, and replaced by another one, when pauses may be over."""
        self._lock = threading.Lock()
        self._running = 0
        self._answered = 0
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gearmanny event loop", daemon=True)
        self._thread.start()
        _event_loops.add(self)

    def end_in_child(self) -> None:
        """Ends a child that the thread of this loop has forked, when it gets back to the loop:
        that has its sockets in common with the parent."""
        if self._thread is threading.current_thread():
            self._loop.call_soon(end_as_a_program)

    def start(self, coroutine: Coroutine[Any, Any, bool]) -> None:
        """Runs a coroutine beside the others.

        Args:
            coroutine: the life of a job; returns whether the job was answered.
        """
        with self._lock:
            self._running += 1
            self._idle.clear()
        self._loop.call_soon_threadsafe(self._begin, coroutine)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Returns the result of a coroutine to another thread.

        Args:
            coroutine: is run beside the others.

        Raises:
            BaseException: the exception of the coroutine.
        """
        outcome = Outcome[Any]()
        asyncio.run_coroutine_threadsafe(outcome.of(coroutine), self._loop).result()
        return outcome.get()

    def run_whole(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Returns the result of the coroutine of a task to another thread.

        Args:
            coroutine: is run beside the others, and cancelled where this thread is interrupted.

        Raises:
            BaseException: the exception of the coroutine.
        """
        outcome = Outcome[Any]()
        running = asyncio.run_coroutine_threadsafe(outcome.of(coroutine), self._loop)
        try:
            # Not for ever: no thread but the main one can be interrupted while it waits.
            while not wait([running], _LOOKS_UP).done:
                pass
        finally:
            running.cancel()  # does nothing to what has ended
        return outcome.get()

    async def in_thread(self, step: Callable[[], Any]) -> Any:
        """Returns what a function returns that may wait.

        Args:
            step: is called in another thread.
        """
        return await asyncio.to_thread(step)

    async def pause(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Waits between two attempts.

        Args:
            seconds: for how long at most.
            is_over: returns whether there is nothing more to wait for; asked again by `notify`.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not is_over():
                    await self._news.wait()

    def notify(self) -> None:
        """Has coroutines that pause look whether that is over."""
        self._loop.call_soon_threadsafe(self._notify)

    def take_answered(self) -> int:
        """Returns how many jobs were answered since this was last asked."""
        with self._lock:
            answered, self._answered = self._answered, 0
        return answered

    def is_idle(self) -> bool:
        """Returns whether no coroutine runs."""
        with self._lock:
            return not self._running

    def finish(self) -> None:
        """Waits until no coroutine runs."""
        with self._lock:
            if not self._running:
                return
        self._idle.wait()

    def close(self) -> None:
        """Ends the thread, and cancels the coroutines that run."""
        self.cancelling = True
        self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join(_CLEANING_UP)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._run_until_stopped()
            self._loop.run_until_complete(_cancel_others())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    def _run_until_stopped(self) -> None:
        """Runs the event loop, on and on: a coroutine may stop it, and out of it comes what a task
        of asyncio that a coroutine has started exits with, before that coroutine gets it."""
        forks = this_process.forks
        while not self._stopped:
            try:
                self._loop.run_forever()
            except SystemExit:
                if this_process.forks != forks:
                    end_as_a_program()
            except KeyboardInterrupt as error:
                self.error = error
                self._wake()

    def _begin(self, coroutine: Coroutine[Any, Any, bool]) -> None:
        task = self._loop.create_task(self._guarded(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._end)

    async def _guarded(self, coroutine: Coroutine[Any, Any, bool]) -> None:
        try:
            answered = await coroutine
        except BaseException as error:
            if not stops_worker(error):
                raise
            self.error = error
        else:
            with self._lock:
                self._answered += answered

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with self._lock:
            self._running -= 1
            if not self._running:
                self._idle.set()
        self._wake()

    def _notify(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._loop.create_task(self._stop_when_empty())

    async def _stop_when_empty(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stopped = True
        self._loop.stop()


async def _cancel_others() -> None:
    """Ends what jobs have left running in the loop, as `asyncio.run` does."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


_event_loops: weakref.WeakSet[EventLoop] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for event_loop in _event_loops:
        event_loop.end_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
