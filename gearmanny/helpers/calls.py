"""One call of a cached function, and what is known of it so far."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from gearmanny.errors import EncodingError
from gearmanny.helpers import entries, values
from gearmanny.helpers.counting import Counts, Outcome
from gearmanny.helpers.flights import EventLoop, Flight, Flights
from gearmanny.helpers.freshness import Ages
from gearmanny.helpers.keys import Arguments
from gearmanny.helpers.leases import Leases
from gearmanny.net.forks import this_process

logger = logging.getLogger("gearmanny.cache")


class Cache(Protocol):
    """The state that all calls of a cache share."""

    flights: Flights
    leases: Leases
    json_encoder: type[json.JSONEncoder]
    level: int
    """At which hits and misses are logged."""
    unstorable: set[str]
    """Functions with an answer that was too large."""


class Call:
    """One call of a cached function."""

    __slots__ = (
        "_counts",
        "_forks",
        "ages",
        "arguments",
        "cache",
        "entry",
        "flight",
        "holder",
        "is_away",
        "is_shared",
        "key",
        "loop",
        "may_fall_back",
        "seen",
        "unique_name",
    )

    def __init__(
        self,
        cache: Cache,
        key: str,
        arguments: Arguments,
        ages: Ages,
        counts: Counts,
        *,
        is_shared: bool,
    ) -> None:
        """
        Args:
            cache: where the answer is kept.
            key: of the answer.
            arguments: of the call.
            ages: of the answers of the function.
            counts: where the outcome is counted.
            is_shared: whether programs of the first version have answers of the function.
        """
        self.cache = cache
        self.key = key
        self.ages = ages
        self.unique_name = counts.unique_name
        self.is_shared = is_shared
        self.flight = Flight(key)
        """In which the answer is computed."""
        self.loop: EventLoop | None = None
        """That takes the steps of the call."""
        self.holder: str | None = None
        """Of the lease on the answer."""
        self.may_fall_back = True
        """Whether an old answer may stand in for a failure."""
        self.entry: entries.Entry | None = None
        """The entry that was found."""
        self.seen: object = None
        """When our entry was stored, as it says."""
        self.is_away = False
        """Whether MongoDB did not answer when the entry was looked for."""
        self.arguments = arguments
        self._counts = counts
        self._forks = this_process.forks

    @property
    def is_inherited(self) -> bool:
        """Whether this is a child that was forked by what computes: the answer is its parent's."""
        return self._forks != this_process.forks

    def lead(self, flight: Flight) -> None:
        """Notes that the call computes the answer, and has to end the flight."""
        self.flight = flight
        if self.loop is not None:
            flight.runs_in(self.loop, threading.get_ident())

    def candidates(self) -> list[entries.Document]:
        """Returns what programs of the first version may have stored as the arguments."""
        given, named = self._as_json(self.arguments.given), self._as_json(self.arguments.named)
        if given is None or named is None or values.as_it_is([given, named]) is None:
            return []
        return entries.candidates(given, named)

    def shared_arguments(self) -> entries.Document | None:
        """Returns the arguments that these programs look for; None where they must find none."""
        return self._as_json(self.arguments.named) if self.is_shared else None

    def _as_json(self, arguments: dict[str, Any]) -> entries.Document | None:
        try:
            text = values.to_json(self.unique_name, arguments, self.cache.json_encoder)
        except EncodingError:
            return None
        found: entries.Document = json.loads(text)
        return found

    def submit(self, submit: Callable[[], None]) -> None:
        """Has a background job compute the answer, and ends the flight. For a while, no other call
        in this process does the same."""
        now = time.monotonic()
        self.cache.flights.rest(self.key, now, now + self.cache.leases.seconds / 4)
        self.cache.flights.abandon(self.flight)  # first: the job may run in this process
        try:
            submit()
        except Exception as error:
            self.log_failure(error)

    def count(self, outcome: Outcome) -> None:
        """Counts how the call was answered."""
        self._counts.add(outcome)

    def log(self, what: str) -> None:
        """Logs what happens to the call, without the values of its arguments."""
        if logger.isEnabledFor(self.cache.level):
            logger.log(
                self.cache.level,
                "%s: %s %s",
                what,
                self.unique_name,
                sorted(self.arguments.named),
                extra={"action": f"cache_{what.replace(' ', '_')}", "type": self.unique_name},
            )

    def log_failure(self, error: Exception) -> None:
        """Logs that computing failed, and that the old answer is served."""
        logger.warning(
            "%s failed, and its old answer is served",
            self.unique_name,
            exc_info=error,
            extra={"action": "cache_refresh_failed", "type": self.unique_name},
        )

    def log_unstorable(self) -> None:
        """Logs, once for each function, that an answer is too large."""
        if self.unique_name not in self.cache.unstorable:
            self.cache.unstorable.add(self.unique_name)
            logger.warning(
                "an answer of %r is too large for MongoDB, and is computed each time",
                self.unique_name,
                extra={"action": "cache_unstorable", "type": self.unique_name},
            )
