"""The signs of life of a process: a thread counts up a number, in memory that its parent shares,
and notes there what it sees of the worker's loop.

The thread counts as long as Python runs. It does not when the process is stopped, or when C code
holds the GIL.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections.abc import Callable
from typing import NamedTuple

from gearmanny.working.exported import Loop

INTERVAL = 1.0
"""Seconds between two beats, at most."""

_COUNT = struct.Struct("<Q")
_LOOP = struct.Struct("<Q?")
_RESTING = 0


class Vitals(NamedTuple):
    """The signs of life of a process at one moment."""

    beats: int | None
    """The number of beats so far; None while nothing beats, which is no bad sign."""
    turns: int
    """How often its loop has turned; 0 before it begins. It does not turn while a job runs."""
    connected: bool
    """Whether the loop has a connection over which a job server has answered."""


class Pulse:
    """The pulse of one process. Made before the fork, written by the child, read by the parent."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _COUNT.size + _LOOP.size)
        self._interval = INTERVAL
        self._beats = _RESTING
        self._thread: threading.Thread | None = None
        self._rests = threading.Event()
        self._loop: Callable[[], Loop | None] = lambda: None

    @property
    def count(self) -> int | None:
        """The number of beats so far; None while nothing beats, which is no bad sign."""
        (count,) = _COUNT.unpack_from(self._memory)
        return count or None

    @property
    def vitals(self) -> Vitals:
        """The signs of life, not older than a beat."""
        return Vitals(self.count, *_LOOP.unpack_from(self._memory, _COUNT.size))

    def start(self, stall_timeout: float, loop: Callable[[], Loop | None] = lambda: None) -> None:
        """Begins to beat, in the child.

        A process that has a thread should not fork. So the pulse rests from a fork until `resume`
        is called.

        Args:
            stall_timeout: seconds without a beat that would be too long.
            loop: returns the loop of the process; None before it begins.
        """
        self._loop = loop
        self._interval = min(INTERVAL, stall_timeout / 4)
        os.register_at_fork(before=self._rest)
        self.resume()

    def resume(self) -> None:
        """Beats again after a fork."""
        if self._thread is None:
            self._rests.clear()
            self._thread = threading.Thread(target=self._run, name="gearmanny pulse", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Gives the memory back, in the parent."""
        self._memory.close()

    def _run(self) -> None:
        while not self._rests.is_set():
            self._beats += 1
            loop = self._loop()
            if loop is not None:
                _LOOP.pack_into(self._memory, _COUNT.size, loop.turns, loop.connected)
            _COUNT.pack_into(self._memory, 0, self._beats)
            self._rests.wait(self._interval)

    def _rest(self) -> None:
        thread = self._thread
        if thread is not None:
            self._rests.set()
            thread.join()
            _COUNT.pack_into(self._memory, 0, _RESTING)
            self._thread = None
