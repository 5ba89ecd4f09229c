"""Delays before an idempotent job whose connection was lost is sent again."""

from __future__ import annotations

from gearmanny.payload.backoff import Backoff

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 1.0
"""Seconds between attempts to find a job server for a job that has to be sent again."""


def new_backoff() -> Backoff:
    """Returns the delays between these attempts."""
    return Backoff(first=_FIRST_DELAY, longest=_LONGEST_DELAY)
