"""Leases are kept while their answers are computed: by one thread, and only if that takes long."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from gearmanny.helpers import entries
from gearmanny.helpers.flights import Flight
from gearmanny.net.forks import this_process

_RENEWALS = 3
"""How often a lease is renewed within its time."""


class Leases:
    """The leases of this process on the answers of one cache."""

    def __init__(self, seconds: float, ask: Callable[[entries.Operation], Any]) -> None:
        """
        Args:
            seconds: for which a lease holds when its process has ended.
            ask: does an operation on the collection; raises what keeps it from that.
        """
        # Others notice that it is over by asking ever again.
        self.seconds = seconds * 0.9
        self._ask = ask
        self._held: dict[str, Flight] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._forks = this_process.forks

    def hold(self, holder: str, flight: Flight) -> None:
        """Keeps a lease that was granted, until it is dropped: not while the flight rests, so that
        other processes do not wait for it for ever."""
        if self._forks != this_process.forks:
            self.__init__(self.seconds / 0.9, self._ask)  # type: ignore[misc]
        with self._changed:
            self._held[holder] = flight
            if self._thread is None:
                thread = threading.Thread(target=self._renew, name=__name__, daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread can be started
                    thread.start()
                    self._thread = thread

    def drop(self, holder: str | None) -> None:
        """Keeps a lease no longer."""
        if self._forks != this_process.forks:
            return  # it is the parent's, a thread of which may have had the lock
        with self._changed:
            self._held.pop(holder, None)  # type: ignore[arg-type]
            if not self._held:
                self._changed.notify()

    def _renew(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._held, self.seconds / _RENEWALS)
                if not self._held:
                    self._thread = None
                    return
                held = list(self._held.items())
            for holder, flight in held:
                if flight.rests():
                    continue
                with contextlib.suppress(Exception):  # then it ends, and others compute too
                    self._ask(entries.renew(flight.key, holder, self.seconds))
