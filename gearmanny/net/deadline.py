"""Deadlines: moments in the future, for waits of several steps."""

from __future__ import annotations

import threading
import time

from gearmanny.payload.checks import WAIT


class Deadline:
    """A moment in the future, or never: time for a wait of several steps."""

    def __init__(self, timeout: float | None) -> None:
        """
        Args:
            timeout: seconds from now; None, or more than any lock waits, for never.

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
        """Returns the seconds that are left, 0 when it has passed, None for never."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())


NEVER = Deadline(None)
"""No deadline."""
