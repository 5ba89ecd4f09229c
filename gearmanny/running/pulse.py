"""The sign of life of a process: a thread counts up a number, in memory that its parent shares.

The thread counts as long as Python runs. It does not when the process is stopped, or when C code
holds the GIL.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading

INTERVAL = 1.0
"""Seconds between two beats, at most."""

_COUNT = struct.Struct("<Q")
_RESTING = 0


class Pulse:
    """The pulse of one process. Made before the fork, written by the child, read by the parent."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _COUNT.size)
        self._interval = INTERVAL
        self._beats = _RESTING
        self._thread: threading.Thread | None = None
        self._rests = threading.Event()

    @property
    def count(self) -> int | None:
        """The number of beats so far; None while nothing beats, which is no bad sign."""
        (count,) = _COUNT.unpack_from(self._memory)
        return count or None

    def start(self, stall_timeout: float) -> None:
        """Begins to beat, in the child.

        A process that has a thread should not fork. So the pulse rests from a fork until `resume`
        is called.

        Args:
            stall_timeout: seconds without a beat that would be too long.
        """
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
            _COUNT.pack_into(self._memory, 0, self._beats)
            self._rests.wait(self._interval)

    def _rest(self) -> None:
        thread = self._thread
        if thread is not None:
            self._rests.set()
            thread.join()
            _COUNT.pack_into(self._memory, 0, _RESTING)
            self._thread = None
