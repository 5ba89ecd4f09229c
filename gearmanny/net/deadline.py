"""Deadlines, for waits that consist of several steps."""

from __future__ import annotations

import threading
import time

from gearmanny.payload.checks import WAIT


class Deadline:
    """A point in time, or never, until which several steps may wait."""

    def __init__(self, timeout: float | None) -> None:
        """
        Args:
            timeout: seconds from now. None means never; so does a number that is larger than
                `threading.TIMEOUT_MAX`.

        Raises:
            InvalidOption: `timeout` is not a number of seconds, or is negative.
        """
        self._at: float | None = None
        if timeout is None:
            return
        WAIT.check("timeout", timeout, optional=True)
        if timeout < threading.TIMEOUT_MAX:
            self._at = time.monotonic() + timeout

    def remaining(self) -> float | None:
        """Returns the seconds that are left: 0 after the deadline, None if there is none."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    def has_passed(self) -> bool:
        """Returns whether no time is left."""
        return self.remaining() == 0

    def within(self, seconds: float | None) -> Deadline:
        """Returns the moment some seconds from now, or this one where that is earlier.

        Args:
            seconds: None for this one.
        """
        left = self.remaining()
        if seconds is None or (left is not None and left <= seconds):
            return self
        return Deadline(seconds)

    def share(self, parts: int) -> Deadline:
        """Returns the moment when one of several equal parts of the time that is left is over.

        Args:
            parts: how many there are.
        """
        left = self.remaining()
        return self if left is None else Deadline(left / parts)


NEVER = Deadline(None)
"""No deadline."""
