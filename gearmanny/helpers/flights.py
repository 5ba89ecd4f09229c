"""Flights: one caller in this process computes an answer, and the others wait for it.

Threads and event loops alike: a flight is waited for by both.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Protocol

from gearmanny.net.forks import this_process

computing: ContextVar[frozenset[tuple[int, str]]] = ContextVar(
    "gearmanny_cache_computing", default=frozenset()
)
"""The cache and the key of the answers that are being computed around here: a call out of such a
computation for the same answer would wait for itself."""


class EventLoop(Protocol):
    """An event loop of asyncio."""

    def is_running(self) -> bool:
        """Returns whether it runs."""


class Flight:
    """One computation, from when somebody begins it until there is an answer, or will be none.

    It rests while nothing carries it on: a stream whose reader has its turn, or a coroutine whose
    event loop does not run. That may be for ever.
    """

    def __init__(self, key: str) -> None:
        """Args:
        key: of the answer.
        """
        self.key = key
        self.landed: concurrent.futures.Future[str | None] = concurrent.futures.Future()
        """The answer as JSON, so that everybody has a copy; None when whoever computed it was
        interrupted, and somebody else has to."""
        self.landed.set_running_or_notify_cancel()  # cancelling one who waits must not cancel it
        self.passengers = 0
        self._reader: object = None
        self._paused_at: float | None = None
        self._loop: EventLoop | None = None
        self._thread: object = None
        self._stopped_at: float | None = None

    @contextlib.contextmanager
    def paused(self, reader: object) -> Iterator[None]:
        """Notes that the flight rests while the block runs.

        Args:
            reader: the thread or the asyncio task that reads the stream.
        """
        self._reader, self._paused_at = reader, time.monotonic()
        try:
            yield
        finally:
            self._reader = self._paused_at = None

    def runs_in(self, loop: EventLoop, thread: object) -> None:
        """Notes the event loop that carries the flight on, and its thread."""
        self._loop, self._thread = loop, thread

    def rests_with(self, *callers: object) -> bool:
        """Returns whether it is one of these threads and tasks that has to carry it on."""
        if self._reader is not None and self._reader in callers:
            return True
        return self._is_stopped() and self._thread in callers

    def rests(self) -> bool:
        """Returns whether nothing carries the flight on at the moment."""
        return self._paused_at is not None or self._is_stopped()

    def rested(self, now: float) -> float:
        """Returns for how many seconds the flight has rested: a stopped event loop is noticed by
        asking."""
        if not self._is_stopped():
            self._stopped_at = None
        elif self._stopped_at is None:
            self._stopped_at = now
        begins = [at for at in (self._paused_at, self._stopped_at) if at is not None]
        return now - min(begins) if begins else 0.0

    def _is_stopped(self) -> bool:
        return self._loop is not None and not self._loop.is_running()


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
        self._check_forks()
        with self._changing:
            flight = self._flights.get(key)
            if flight is not None:
                flight.passengers += 1
                return flight, False
            flight = self._flights[key] = Flight(key)
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
        self._check_forks()
        with self._changing:
            self._rests = {each: end for each, end in self._rests.items() if end > now}
            self._rests[key] = until

    def land(self, flight: Flight, value: Any) -> None:
        """Ends a flight with an answer."""
        self.leave(flight)
        if flight.passengers:
            flight.landed.set_result(json.dumps(value))

    def fail(self, flight: Flight, error: Exception) -> None:
        """Ends a flight with the failure of its computation, which is that of all who wait."""
        self.leave(flight)
        flight.landed.set_exception(error)

    def abandon(self, flight: Flight) -> None:
        """Ends a flight with nothing: one of those who wait begins the next."""
        self.leave(flight)
        if not flight.landed.done():
            flight.landed.set_result(None)

    def leave(self, flight: Flight) -> None:
        """Lets nobody board a flight any more. Those who wait for it get its answer."""
        self._check_forks()
        with self._changing:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]

    def leave_all(self, key: str | None = None) -> None:
        """Lets nobody board any flight any more, or that for an answer."""
        self._check_forks()
        with self._changing:
            if key is None:
                self._flights.clear()
            else:
                self._flights.pop(key, None)

    def _check_forks(self) -> None:
        if self._forks == this_process.forks:
            return
        # Those who computed are threads of the parent, one of which may have had the lock.
        self._changing = threading.Lock()
        self._flights = {}
        self._rests = {}
        self._forks = this_process.forks
