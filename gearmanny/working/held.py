"""A job with a record, while this process has it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from gearmanny.records.values import Claimed


class Held:
    """A job of this process, from its claim to its end."""

    def __init__(self, claimed: Claimed) -> None:
        """
        Args:
            claimed: the job.
        """
        self.claim = claimed.claim
        self.failures = claimed.failures
        """How often the task failed before."""
        self.progress: tuple[int, int] | None = None
        """Not written yet."""
        self.silent_until = 0.0
        """The time, by `time.monotonic()`, from which on it may be written again."""
        self.writing = threading.Lock()
        """Held while progress is written, so that none overtakes what was reported before."""
        self.is_committing = False
        """Whether its end is part of a transaction of which nobody knows what became."""
        self.is_cancelled = False
        """Whether its cancellation was requested while it ran."""
        self._interrupt: Callable[[], object] | None = None
        self._lock = threading.Lock()
        """Held while the task is interrupted, and to say that it has ended."""

    def cancel(self) -> None:
        """Interrupts the task, once; where it does not run now, when it begins to. For any
        thread."""
        with self._lock:
            if not self.is_cancelled:
                self.is_cancelled = True
                if self._interrupt is not None:
                    self._interrupt()

    @contextlib.contextmanager
    def interruptible(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Runs a task in a block.

        Args:
            interrupt: interrupts the task; called by another thread, or by this one at once.
        """
        with self._lock:
            self._interrupt = interrupt
            if self.is_cancelled:
                interrupt()
        try:
            yield
        finally:
            with self._lock:
                self._interrupt = None
