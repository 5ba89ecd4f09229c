"""Time limits: an exception inside a task when its time is over, and nowhere else.

A thread of its own, the watchdog, knows the time. It has to be a thread: while
the task waits in C code that is deaf to signals, only a thread can still act.

- A task in the main thread is interrupted by a signal, also out of a blocking
  call. The signal is SIGURG, which nobody uses and which does nothing where it
  is not handled: no alarm of the task's own is touched, and one that came too
  late would be harmless.
- A task in any other thread gets an asynchronous exception: Python raises it at
  the next bytecode, which after a blocking call is when that has returned.

Both arrive at a moment that nobody knows. So what must not be interrupted is
shielded, and an exception that was due meanwhile is raised when the shield is
lifted. A limit begins shielded, and ends before `TimeLimit.run` returns: an
interruption on the way out costs the result, and never a later job.

A task that goes on nevertheless is ended with its process. No thread can help
where C code keeps the interpreter's lock: there, nothing in Python runs, unless
another process sends the same signal, and that code looks at signals.

The job of a task may be cancelled while it runs. That is a time limit which is over
at once, with another exception.

A coroutine is cancelled by its event loop. A thread sees to those that ignore
that: one that blocks the loop keeps everything in it from noticing.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from types import FrameType, MethodType
from typing import Any, TypeVar

from gearmanny.errors import JobCancelled, TaskTimeLimitExceeded
from gearmanny.working.interrupts import is_stopping
from gearmanny.working.lastresort import end_process, where
from gearmanny.working.watchdog import Watchdog

Result = TypeVar("Result")

interrupt_by_signals = True
"""Whether signals interrupt the main thread of this process."""

_SIGNAL = signal.SIGURG

_NUDGED = 0.1
"""Seconds for which a task lets other threads run that was nudged (`net/forks.py`)."""

_A_LITTLE_LATER = 0.001
"""Seconds, in which a finalizer has ended."""

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc


class TimeLimit:
    """The limit of one attempt at one job."""

    def __init__(
        self,
        watchdog: Watchdog,
        function: str,
        timeout: float,
        grace: float | None,
        on_ignored: Callable[[TaskTimeLimitExceeded | JobCancelled], object],
    ) -> None:
        """
        Args:
            watchdog: that of the worker.
            function: the Gearman function, for messages.
            timeout: seconds that the task may take; `math.inf` for ever.
            grace: seconds that it may go on nevertheless, before its process is ended; None
                for ever.
            on_ignored: called by another thread just before that, with the exception that the
                task ignored.
        """
        self.due = time.monotonic() + timeout
        """When the watchdog has something to do next, by `time.monotonic`."""
        self._grace_over = math.inf
        """When the process is to be ended, by `time.monotonic`."""
        self._lost = False
        """Whether Python ignored the interruption."""
        self._watchdog = watchdog
        self._mutex = watchdog.mutex
        self._function = function
        self._timeout = timeout
        self._grace = grace
        self._on_ignored = on_ignored
        self._thread = threading.get_ident()
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._by_signal = interrupt_by_signals and in_main_thread
        self.previous: Any = None
        self._shields = 1
        self.is_over = False
        """Whether the time has passed, and the task was interrupted or is about to be."""
        self.kind: type[TaskTimeLimitExceeded | JobCancelled] = TaskTimeLimitExceeded
        """The exception that interrupts it."""
        self._sent = False
        self._postponed = False
        self.has_ended = False

    def run(self, task: Callable[[], Result]) -> Result:
        """Returns the result of the task.

        Args:
            task: runs it.

        Raises:
            TaskTimeLimitExceeded: its time was over, and it did not catch that.
            JobCancelled: its job was cancelled, and it did not catch that.
            BaseException: any other exception of the task.
        """
        if self._by_signal:
            self.previous = signal.signal(_SIGNAL, self._on_signal)
        hook = _UnraisableHook(self, sys.unraisablehook)
        sys.unraisablehook = hook
        try:
            try:
                self._watchdog.watch(self)
                self._lift_shield()
                return task()
            finally:
                self._end()
        except (TaskTimeLimitExceeded, JobCancelled) as error:
            if not error.function:  # raised by Python itself, which knows its class only
                error.__init__(*self._facts())  # type: ignore[misc]
            raise
        finally:
            # Again, because the exception may have interrupted the first time: there is but one.
            self._end()
            if sys.unraisablehook is hook:  # else another thread's is installed
                sys.unraisablehook = hook.otherwise
            if self._by_signal:
                signal.signal(_SIGNAL, self.previous or signal.SIG_DFL)

    def shielding(self, lock: AbstractContextManager[Any]) -> AbstractContextManager[None]:
        """Returns a lock within which the task is not interrupted.

        Args:
            lock: the lock that is held then.
        """
        return _ShieldingLock(self, lock)

    def cancel(self) -> None:
        """Interrupts the task now, unless it has ended or its time is over. For any thread."""
        with self._mutex:
            if self.has_ended or self.is_over:
                return
            self.kind = JobCancelled
            self.due = time.monotonic()
            self.act()
        self._watchdog.look()  # whether the task goes on nevertheless

    def act(self) -> None:
        """Does what is due: interrupts the task, or else ends the process. Called by the watchdog,
        with the mutex: what the task is to do next has to wait for that."""
        if self._lost:
            self._lost = False
            self.due = self._grace_over
        elif self.is_over:
            self._end_process()
        else:
            self.is_over = True
            self.due = math.inf if self._grace is None else self.due + self._grace
        if self._shields:
            self._postponed = True
            return
        self._sent = True
        if self._by_signal:
            signal.pthread_kill(self._thread, _SIGNAL)
        else:
            _set_async_exc(ctypes.c_ulong(self._thread), ctypes.py_object(self.kind))

    def on_ignored(self) -> bool:
        """Has the task interrupted again, because nothing has come of the first time. Returns
        whether it was this task that was interrupted."""
        if threading.get_ident() != self._thread or self.has_ended:
            return False
        # By the watchdog and a little later: in here it would be ignored as well.
        self._grace_over, self._lost = self.due, True
        self.due = time.monotonic() + _A_LITTLE_LATER
        self._watchdog.look()
        return True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Runs in the thread of the task, which may hold the mutex: so it must not wait for it.
        if callable(self.previous):
            self.previous(number, frame)
        if self._sent and not self.has_ended:
            self._sent = False
            if self._shields:
                self._postponed = True
            elif is_stopping(frame):
                self.on_ignored()  # or the handler would end half way, and the worker not stop
            else:
                raise self._error()
        elif not self.is_over:
            time.sleep(_NUDGED)  # less where one of them now interrupts the task

    def _raise_shield(self) -> None:
        if threading.get_ident() == self._thread:
            # An asynchronous exception that is on its way arrives before this returns.
            with self._mutex:
                self._shields += 1

    def _lift_shield(self) -> None:
        if threading.get_ident() == self._thread:
            with self._mutex:
                self._shields -= 1
                due = self._postponed and not self._shields
                if due:
                    self._postponed = False
            if due:
                raise self._error()

    def _end(self) -> None:
        with self._mutex:
            self.has_ended = True
            self._watchdog.forget()
            if self._sent and not self._by_signal:
                _set_async_exc(ctypes.c_ulong(self._thread), None)

    def _error(self, *grace: float) -> TaskTimeLimitExceeded | JobCancelled:
        return self.kind(*self._facts(*grace))

    def _facts(self, *grace: float) -> tuple[Any, ...]:
        if self.kind is JobCancelled:
            return (self._function,)
        return self._function, self._timeout, *grace

    def _end_process(self) -> None:
        assert self._grace is not None
        error = self._error(self._grace).with_traceback(where(self._thread))
        end_process(partial(self._on_ignored, error))


class _UnraisableHook:
    """Stands in for `sys.unraisablehook`, which is called where Python ignores an exception: in a
    finalizer, or the callback of a weak reference."""

    def __init__(self, limit: TimeLimit, otherwise: Callable[[Any], object]) -> None:
        self._limit: TimeLimit = limit
        self.otherwise: Callable[[Any], object] = otherwise
        # Not those of threads that ended while another began.
        while isinstance(self.otherwise, _UnraisableHook) and self.otherwise._limit.has_ended:
            self.otherwise = self.otherwise.otherwise

    def __call__(self, unraisable: Any) -> None:
        ours = isinstance(unraisable.exc_value, self._limit.kind)
        if not ours or not self._limit.on_ignored():
            self.otherwise(unraisable)


def _forget_handler() -> None:
    handler = signal.getsignal(_SIGNAL)
    if isinstance(handler, MethodType) and isinstance(handler.__self__, TimeLimit):
        # Nobody watches it here.
        signal.signal(_SIGNAL, handler.__self__.previous or signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget_handler)


class _ShieldingLock:
    """A lock within which a task is not interrupted; its limit strikes afterwards."""

    def __init__(self, limit: TimeLimit, lock: AbstractContextManager[Any]) -> None:
        self._limit = limit
        self._lock = lock

    def __enter__(self) -> None:
        self._limit._raise_shield()
        self._lock.__enter__()

    def __exit__(self, *exc_info: Any) -> None:
        self._lock.__exit__(*exc_info)
        self._limit._lift_shield()
