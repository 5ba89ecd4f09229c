"""The end of a process in which a task goes on long after its time."""

from __future__ import annotations

import contextlib
import math
import os
import sched
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

_LAST_WORDS = 5.0
"""Seconds that the report about a task which ignored its limit may take: it may need a lock that
this very task holds, and then the process ends without a report."""


class LastResort:
    """A thread that ends this process when a coroutine goes on long after its time limit, or after
    its cancellation. It is started for the first coroutine that may, and ends with `close()`."""

    def __init__(self) -> None:
        self._events = sched.scheduler(time.monotonic)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._news = threading.Event()
        self._wakes_at = math.inf
        self._closed = False

    @contextlib.contextmanager
    def after(self, seconds: float, last_words: Callable[[], object]) -> Iterator[None]:
        """Ends the process unless the block has ended in time.

        Args:
            seconds: how long the block may take.
            last_words: called by another thread just before the end.
        """
        event = self._events.enter(seconds, 0, end_process, (last_words,))
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="gearmanny last resort", daemon=True
                )
                self._thread.start()
            elif event.time < self._wakes_at:
                self._news.set()
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):  # too late: the process is being ended
                self._events.cancel(event)

    def close(self) -> None:
        """Ends the thread."""
        if self._thread is not None:
            self._closed = True
            self._news.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._news.clear()
            # Until the next line has run, an event that is entered may come too late for it.
            self._wakes_at = math.inf
            delay = self._events.run(blocking=False)
            self._wakes_at = math.inf if delay is None else time.monotonic() + delay
            if not self._closed:
                self._news.wait(delay and min(delay, threading.TIMEOUT_MAX))


def end_process(last_words: Callable[[], object]) -> None:
    """Ends this process, after a moment in which a thread may report why.

    Args:
        last_words: reports it.
    """
    reporting = threading.Thread(target=last_words, daemon=True)
    reporting.start()
    reporting.join(_LAST_WORDS)
    os._exit(1)


def where(thread: int) -> TracebackType | None:
    """Returns the place where a thread is, as the traceback of an exception raised there.

    Args:
        thread: its identifier, as `threading.get_ident` returns it.
    """
    frame = sys._current_frames().get(thread)
    traceback = None
    while frame is not None:
        traceback = TracebackType(traceback, frame, frame.f_lasti, frame.f_lineno or 0)
        frame = frame.f_back
    return traceback
