"""Waiting for a store that is away: a database that restarts must not cost a result."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from gearmanny.errors import StoreUnavailable
from gearmanny.payload.backoff import Backoff
from gearmanny.working.interrupts import GivenBack
from gearmanny.working.membership import Membership

Result = TypeVar("Result")

_LAST_TRIES = 5.0
"""Seconds for which a worker that stops tries to write what became of a job."""


class Patience:
    """Repeats operations of a store until it can be reached."""

    def __init__(self, membership: Membership, stopping: Callable[[], bool]) -> None:
        """
        Args:
            membership: shows meanwhile that this process lives.
            stopping: returns whether the worker stops.
        """
        self._membership = membership
        self._stopping = stopping

    def until_available(self, operation: Callable[[], Result]) -> Result:
        """Returns what an operation returns, as soon as the store can be reached.

        Args:
            operation: of the store.

        Raises:
            GivenBack: the worker stops, and the store cannot be reached.
        """
        self._membership.resume()
        rests = Backoff(first=0.1, longest=1.0)
        until: float | None = None
        while True:
            try:
                return operation()
            except StoreUnavailable:
                if self._stopping():
                    until = until or time.monotonic() + _LAST_TRIES
                    if time.monotonic() > until:
                        raise GivenBack from None
            time.sleep(rests.next_delay())
