"""Turns at what one thread may do at a time, which outlive deadlines and interrupts.

A lock that is taken with a timeout stays taken when an interrupt arrives just before the block
that gives it back. Here, a thread is known by its *baton*, a lock of its own that it made before:
`leave(baton)` gives back whatever that thread has, once or twice. Every change is a single
assignment, so whoever comes next finds things whole. Nobody is removed but by itself: to wake a
thread that is awake does nothing, and a thread that was woken passes the turn on when it leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from gearmanny.net.deadline import Deadline

R = TypeVar("R")


class Missed(Exception):
    """The deadline passed before it was our turn."""


def _never() -> bool:
    return False


class Turns:
    """Whose turn it is, and who waits for it."""

    __slots__ = ("_holder", "_lock", "_waiting")

    def __init__(self, lock: threading.Lock) -> None:
        """
        Args:
            lock: guards this, and whatever `unless` and who calls `wake` depend on.
        """
        self._lock = lock
        self._holder: threading.Lock | None = None
        self._waiting: dict[object, list[threading.Lock]] = {}

    @property
    def taken(self) -> bool:
        """Whether it is somebody's turn."""
        return self._holder is not None

    def do(self, work: Callable[[], R], deadline: Deadline) -> R:
        """Does something when it is our turn, and returns what comes of it.

        Args:
            work: what is done.
            deadline: until when the turn is waited for.

        Raises:
            Missed: the deadline passed first.
            BaseException: any that `work` raises.
        """
        baton = threading.Lock()
        try:
            self._take(baton, deadline)
            result = work()
            self.leave(baton)
        except BaseException:  # not `finally`: an interrupt may come while we leave
            self.leave(baton)
            raise
        return result

    def enter(
        self, baton: threading.Lock, waiter: object = None, unless: Callable[[], object] = _never
    ) -> bool:
        """Takes the turn, or begins to wait for it.

        Args:
            baton: ours. It can be acquired as soon as there is something to do for us.
            waiter: by which `wake` finds us.
            unless: whether there is nothing to be waited for. Called under the lock.

        Returns:
            Whether it is our turn.
        """
        with self._lock:
            self._forget(baton, waiter)
            if self._holder is None:
                self._holder = baton
                return True
            if unless():
                _wake(baton)
            else:
                baton.acquire(blocking=False)  # it may still be ours, from the last time
                self._waiting[waiter] = [*self._waiting.get(waiter, ()), baton]
            return False

    def leave(self, baton: threading.Lock, waiter: object = None) -> None:
        """Gives the turn back, or stops to wait for it, and calls the next one.

        Args:
            baton: ours.
            waiter: the one that we entered with.
        """
        with self._lock:
            if self._holder is baton:
                self._holder = None
            self._forget(baton, waiter)
            if self._waiting and self._holder is None:
                _wake(next(iter(self._waiting.values()))[0])

    def wake(self, waiter: object) -> None:
        """Wakes the threads that wait for something. Called under the lock."""
        if self._waiting:
            for baton in self._waiting.get(waiter, ()):
                _wake(baton)

    def wake_all(self) -> None:
        """Wakes all threads. Called under the lock."""
        for batons in self._waiting.values():
            for baton in batons:
                _wake(baton)

    def _take(self, baton: threading.Lock, deadline: Deadline) -> None:
        while not self.enter(baton):
            remaining = deadline.remaining()
            if not baton.acquire(timeout=-1 if remaining is None else remaining):
                raise Missed

    def _forget(self, baton: threading.Lock, waiter: object) -> None:
        if self._waiting:
            others = [other for other in self._waiting.get(waiter, ()) if other is not baton]
            if others:
                self._waiting[waiter] = others
            else:
                self._waiting.pop(waiter, None)


def _wake(baton: threading.Lock) -> None:
    if baton.locked():
        baton.release()
