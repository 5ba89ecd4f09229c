"""Flights: one caller in this process computes an answer, and the others wait for it.

Threads and event loops alike: a flight is waited for by both.
"""

from __future__ import annotations

import concurrent.futures
import json
import threading
from contextvars import ContextVar
from typing import Any

from gearmanny.net.forks import this_process

computing: ContextVar[frozenset[tuple[int, str]]] = ContextVar(
    "gearmanny_cache_computing", default=frozenset()
)
"""The cache and the key of the answers that are being computed around here: a call out of such a
computation for the same answer would wait for itself."""


class Flight:
    """One computation, from when somebody begins it until there is an answer, or will be none."""

    def __init__(self) -> None:
        self.landed: concurrent.futures.Future[str | None] = concurrent.futures.Future()
        """The answer as JSON, so that everybody has a copy; None when whoever computed it was
        interrupted, and somebody else has to."""
        self.landed.set_running_or_notify_cancel()  # cancelling one who waits must not cancel it
        self.passengers = 0


class Flights:
    """The flights of one cache, by the keys of their answers."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._rests: dict[str, float] = {}
        self._changing = threading.Lock()
        self._forks = this_process.forks

    def board(self, key: str) -> tuple[Flight, bool]:
        """Returns the flight for an answer, and whether the caller is the one to compute it, and
        has to end the flight."""
        if self._forks != this_process.forks:
            self._after_fork()
        with self._changing:
            flight = self._flights.get(key)
            if flight is not None:
                flight.passengers += 1
                return flight, False
            flight = self._flights[key] = Flight()
            return flight, True

    def board_alone(self, key: str, now: float) -> Flight | None:
        """Returns a flight for an answer that nobody waits for; None when somebody computes it
        already, or it is not yet time to try again.

        Args:
            key: of the answer.
            now: the time in seconds, of the clock of `rest`.
        """
        if self._rests.get(key, now) > now:
            return None
        flight, leads = self.board(key)
        return flight if leads else None

    def rest(self, key: str, now: float, until: float) -> None:
        """Keeps `board_alone` from beginning a flight for some time."""
        with self._changing:
            self._rests = {each: end for each, end in self._rests.items() if end > now}
            self._rests[key] = until

    def land(self, key: str, value: Any) -> None:
        """Ends a flight with an answer."""
        flight = self._end(key)
        if flight.passengers:
            flight.landed.set_result(json.dumps(value))

    def fail(self, key: str, error: Exception) -> None:
        """Ends a flight with the failure of its computation, which is that of all who wait."""
        self._end(key).landed.set_exception(error)

    def abandon(self, key: str) -> None:
        """Ends a flight with nothing: one of those who wait begins the next."""
        self._end(key).landed.set_result(None)

    def _end(self, key: str) -> Flight:
        with self._changing:  # from here on, nobody boards it
            return self._flights.pop(key, None) or Flight()

    def _after_fork(self) -> None:
        # Those who computed are threads of the parent, one of which may have had the lock.
        self._changing = threading.Lock()
        self._flights = {}
        self._rests = {}
        self._forks = this_process.forks
