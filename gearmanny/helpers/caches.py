"""A cache: a collection of answers, and what all functions that use it have in common."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gearmanny.helpers import entries, values
from gearmanny.helpers.flights import Flight, Flights
from gearmanny.helpers.leases import Leases
from gearmanny.helpers.options import (
    DEFAULT_COLLECTION,
    DEFAULT_DBNAME,
    DEFAULT_HOST,
    check_stale_days,
)
from gearmanny.helpers.storage import Client, Storage, Unavailable
from gearmanny.helpers.switch import switch
from gearmanny.logs import show_info
from gearmanny.net.forks import this_process
from gearmanny.payload.checks import SWITCH, TIME_LIMIT

if TYPE_CHECKING:
    from gearmanny.helpers.aio import AioStorage

logger = logging.getLogger("gearmanny.cache")

Washer = Callable[[Any], Any]

DEFAULT_LEASE = 10.0
"""Seconds."""


class MongoCache:
    """A collection of answers. Connects on first use, and again in a forked child."""

    def __init__(
        self,
        host: str | Client = DEFAULT_HOST,
        dbname: str = DEFAULT_DBNAME,
        collection: str = DEFAULT_COLLECTION,
        DEBUG: int = 0,
        returnvalue_washer: Washer | None = None,
        json_encoder: type[json.JSONEncoder] = json.JSONEncoder,
        *,
        timeout: float | None = None,
        stale_days: float = 0,
        lease: float = DEFAULT_LEASE,
        enabled: bool = True,
        is_eager: bool = False,
        around_refresh: Callable[[], contextlib.AbstractContextManager[object]] | None = None,
    ) -> None:
        """
        Args:
            host: URI of the MongoDB server, or a `MongoClient`.
            dbname: name of the database.
            collection: name of the collection.
            DEBUG: whether hits, misses and writes are logged, on `gearmanny.cache`.
            returnvalue_washer: given an answer; what it returns is stored and returned instead.
            json_encoder: makes JSON of arguments and answers that json itself cannot.
            timeout: seconds that MongoDB may take for one operation. None: what the URI says with
                `timeoutMS`, else 1. Shorter timeouts of the URI hold, too.
            stale_days: days for which an answer past its age is still served while it is computed
                again, for functions that do not say it themselves.
            lease: seconds after which others compute what a process was computing that died.
            enabled: False computes every answer.
            is_eager: whether the project is in eager mode, where only tests that ask for it have a
                cache.
            around_refresh: returns the context in which a thread computes an answer again.

        Raises:
            InvalidOption: a value that is not allowed.
        """
        TIME_LIMIT.check("timeout", timeout, optional=True)
        TIME_LIMIT.check("lease", lease)
        SWITCH.check("enabled", enabled)
        self.stale: timedelta = check_stale_days(stale_days)
        self.washer = returnvalue_washer
        self.json_encoder = json_encoder
        self.level = logging.INFO if DEBUG else logging.DEBUG
        self.unstorable: set[str] = set()
        self.flights = Flights()
        self.leases = Leases(lease, lambda operation: self.storage().ask(operation, writes=True))
        if DEBUG:
            show_info(logger)
        self._host = host
        self._dbname = dbname
        self._collection = collection
        self._timeout = timeout
        self._enabled = enabled
        self._is_eager = is_eager
        self._around_refresh = around_refresh or contextlib.nullcontext
        self._connecting = threading.Lock()
        self._forks = this_process.forks
        self._storage: Storage | None = None
        self._aio_storage: AioStorage | None = None

    @property
    def is_on(self) -> bool:
        """Whether answers are looked for and stored."""
        if not self._enabled:
            return False
        return switch.database is not None or (switch.is_on and not self._is_eager)

    def storage(self) -> Storage:
        """Returns the collection in this process.

        Raises:
            InvalidOption: the URI is invalid.
        """
        if self._forks != this_process.forks:
            # A client of the parent cannot be used in a forked child, nor a lock that some thread
            # of the parent held.
            self._connecting = threading.Lock()
            self._storage = None
            self._aio_storage = None
            self._forks = this_process.forks
        dbname = switch.database or self._dbname
        storage = self._storage
        if storage is None or storage.dbname != dbname:
            with self._connecting:
                storage = self._storage
                if storage is None or storage.dbname != dbname:
                    self._aio_storage = None
                    storage = Storage(self._host, dbname, self._collection, self._timeout)
                    self._storage = storage
                    if switch.database is not None:
                        switch.at_the_end(storage.discard)
        return storage

    def aio_storage(self) -> AioStorage:
        """Returns the same for event loops."""
        from gearmanny.helpers.aio import AioStorage  # noqa: PLC0415  imports asyncio

        storage = self.storage()
        if self._aio_storage is None:
            host = self._host if isinstance(self._host, str) else None
            self._aio_storage = AioStorage(storage, host)
        return self._aio_storage

    def to_json(self, unique_name: str, value: Any) -> str:
        """Returns an answer as it is stored: washed, as JSON.

        Raises:
            EncodingError: it is not JSON.
        """
        if self.washer is not None:
            value = self.washer(value)
        return values.to_json(unique_name, value, self.json_encoder)

    def beside(self, flight: Flight, refresh: Callable[[], object]) -> None:
        """Lets a thread compute an answer again."""

        def run() -> None:
            with self._around_refresh():
                refresh()

        try:
            threading.Thread(target=run, name=f"{__name__} refresh", daemon=True).start()
        except RuntimeError:  # no thread can be started
            self.flights.abandon(flight)

    def clear(self, unique_name: str | None = None) -> int:
        """Deletes all answers of a function, or of all.

        Returns:
            How many were deleted.

        Raises:
            Unavailable: MongoDB cannot be used.
        """
        self.flights.leave_all()
        deleted: int = (
            self.storage().ask(entries.delete_all(unique_name), writes=True).deleted_count
        )
        return deleted

    def info(self, unique_name: str | None = None) -> list[dict[str, Any]]:
        """Returns, for each function or for one, its name and how many entries it has, with their
        bytes and the oldest and the newest of them.

        Raises:
            Unavailable: MongoDB cannot be used.
        """
        return list(self.storage().ask(lambda found: list(entries.count(unique_name)(found))))


__all__ = ["MongoCache", "Unavailable", "Washer"]
