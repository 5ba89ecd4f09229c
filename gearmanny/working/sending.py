"""Sending to a job server that may not read.

A job server that pauses, or that is busy, closes its window. Nobody waits for it but the tasks that
report to it: the worker goes on with its other job servers and, in an event loop, with its other
coroutines. What the kernel does not take is sent by a thread, which exists until all is sent. So an
answer is neither lost nor given up, which would make its job run twice; and a peer that has
vanished, and not just paused, is noticed by that thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from gearmanny.errors import JobServerLost
from gearmanny.net.transport import Connection

Data = bytes | memoryview

_LOOKS_UP = 0.05
"""Seconds after which a thread that waits can be interrupted."""


class Sender:
    """Sends what a link has queued, and waits for nothing."""

    def __init__(
        self,
        connection: Connection,
        lock: threading.Lock,
        take_next: Callable[[], Data],
        on_emptied: Callable[[], object],
    ) -> None:
        """
        Args:
            connection: the socket.
            lock: guards the queue, and this.
            take_next: returns the next bytes of the queue; empty if there are none.
            on_emptied: called when everything was sent that had to wait, or the connection ended.
        """
        self.full = False
        """Whether something waits until the job server takes it."""
        self.error: JobServerLost | None = None
        """Why the connection has ended, where that was noticed by sending."""
        self._connection = connection
        self._lock = lock
        self._take_next = take_next
        self._on_emptied = on_emptied
        self._unsent: Data = b""
        self._taken_at = 0.0
        """When something that had to wait was taken last, by `time.monotonic`."""
        self._emptied = threading.Event()
        self._closing = False

    def flush(self) -> None:
        """Sends what the job server takes at once; the rest is sent later. Called with the lock.

        Raises:
            JobServerLost: the connection has ended.
        """
        if self.error is not None:
            raise self.error
        if self.full:
            return
        try:
            if self._send():
                return
        except JobServerLost as error:
            self.error = error
            raise
        self._taken_at = time.monotonic()
        self._emptied.clear()
        self.full = True
        threading.Thread(target=self._send_rest, name="gearmanny sender", daemon=True).start()

    def silence(self) -> float:
        """Returns the seconds for which the job server has taken nothing; 0 if nothing waits."""
        return time.monotonic() - self._taken_at if self.full else 0.0

    def wait(self, longest: float) -> bool:
        """Waits until everything was sent, or the connection has ended.

        Args:
            longest: seconds without anything being taken, after which to give up.

        Returns:
            Whether nothing waits any more.
        """
        while self.full and self.silence() < longest:
            self._emptied.wait(_LOOKS_UP)
        return not self.full

    def close(self) -> None:
        """Closes the connection: later, if the thread uses it."""
        with self._lock:
            self._closing = True
            if self.full:
                self._connection.shutdown()
                return
        self._connection.close()

    def _send(self) -> bool:
        """Sends what the job server takes at once; returns whether that was everything."""
        while data := self._unsent or self._take_next():
            sent = self._connection.send_some(data)
            if sent == len(data):
                self._unsent = b""
                continue
            self._unsent = memoryview(data)[sent:]
            if not sent:
                return False
            self._taken_at = time.monotonic()
        return True

    def _send_rest(self) -> None:
        try:
            while not self._send_when_possible():
                pass
        except JobServerLost as error:
            self.error = error
            with contextlib.suppress(OSError):
                self._connection.shutdown()  # so that the loop notices
        with self._lock:
            self.full = False
            if self._closing:
                self._connection.close()
        self._emptied.set()
        self._on_emptied()

    def _send_when_possible(self) -> bool:
        self._connection.wait_to_send()
        with self._lock:
            return self._send()
