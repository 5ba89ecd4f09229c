"""Whether a server is asked, judged by how it answered before.

Pure: the current time, in seconds of any clock that does not go back, comes in as an argument.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from gearmanny.payload.backoff import Backoff

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0
"""Seconds between two probes."""


class Breaker:
    """Keeps callers from waiting for a server that does not answer.

    After a failure nobody asks the server but a probe, which no caller waits for. The first probe
    is due at once, so that one slow answer switches nothing off. After every further failure in a
    row, the next one is due 1 to 30 s later. A probe that succeeds lets callers ask again; only the
    success of one of them ends the row.
    """

    def __init__(self, random: Callable[[], float] = random.random) -> None:
        """Args: random: returns a number from 0 to 1, by which delays are shortened."""
        self.is_closed = True
        """Whether callers may ask the server."""
        self.is_suspicious = False
        """Whether there was a failure since the last success of a caller."""
        self._backoff = Backoff(first=_FIRST_DELAY, longest=_LONGEST_DELAY, random=random)
        self._probe_at = 0.0

    def failed(self, now: float) -> None:
        """Notes that the server did not answer a caller, or a probe."""
        self._probe_at = now + (self._backoff.next_delay() if self.is_suspicious else 0.0)
        self.is_suspicious = True
        self.is_closed = False

    def probe_is_due(self, now: float) -> bool:
        """Returns whether it is time for a probe."""
        return not self.is_closed and now >= self._probe_at

    def probed(self) -> None:
        """Notes that the server has answered a probe."""
        self.is_closed = True

    def succeeded(self) -> None:
        """Notes that the server has answered a caller."""
        self.is_closed = True
        self.is_suspicious = False
        self._backoff.reset()
