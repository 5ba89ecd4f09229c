"""The thread that acts when the time of a task is over: see `timelimits.py`."""

from __future__ import annotations

import math
import threading
import time
from typing import Protocol


class Limit(Protocol):
    """A time limit, as the thread sees it."""

    due: float
    """When there is something to do next, by `time.monotonic`."""

    def act(self) -> None:
        """Does that. Called with the mutex."""


class Watchdog:
    """The thread that sees to the limits of one worker, one at a time. It is started by the first
    of them, and ends with `close()`."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        """Held to change what both threads know. Not a lock written in Python: an exception could
        come between taking it and the `with` block."""
        self._limit: Limit | None = None
        self._thread: threading.Thread | None = None
        self._news = threading.Event()
        self._wakes_at = math.inf
        self._closed = False

    def watch(self, limit: Limit) -> None:
        """Begins to look after a limit, in the place of the last one.

        Args:
            limit: the limit.
        """
        with self.mutex:
            self._limit = limit
            sleeps_too_long = limit.due < self._wakes_at
        if sleeps_too_long or (self._thread is None and limit.due < math.inf):
            self.look()

    def look(self) -> None:
        """Has the thread look at the limit again, whose time has changed."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="gearmanny watchdog", daemon=True
            )
            self._thread.start()
        else:
            self._news.set()

    def forget(self) -> None:
        """Ends to look after the current limit. Called with the mutex."""
        # The thread finds out when it next wakes: waking it would cost more than the limit.
        self._limit = None

    def close(self) -> None:
        """Ends the thread."""
        if self._thread is not None:
            self._closed = True
            self._news.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._news.clear()
            with self.mutex:
                now = time.monotonic()
                if self._limit is not None and self._limit.due <= now:
                    self._limit.act()
                self._wakes_at = math.inf if self._limit is None else self._limit.due
            if not self._closed:
                # Again at the latest after what a lock can wait.
                self._news.wait(min(max(0.0, self._wakes_at - now), threading.TIMEOUT_MAX))
