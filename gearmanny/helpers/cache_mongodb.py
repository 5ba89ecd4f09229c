"""Caches the answers of costly tasks in MongoDB.

A cache must never be the reason why a task fails or hangs: while MongoDB is
away, tasks run uncached. That is found out once, and then not tried again for
a while.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, Protocol, TypeVar

from gearmanny.errors import EncodingError, InvalidOption
from gearmanny.helpers._freshness import (
    Freshness,
    cache_key,
    check_max_days_age,
    check_unique_name,
    delete_at,
    judge,
    named_arguments,
)

try:
    import pymongo
    import pymongo.errors
    from bson.errors import BSONError
    from pymongo.collection import Collection

    from gearmanny.helpers._collection import carry_over, local_time, prepare, reason_of
except ImportError as error:
    raise ImportError("The MongoDB cache needs pymongo: pip install 'gearmanny[mongo]'") from error

__all__ = ["MongoCache", "cacheBuilder", "cached_by"]

logger = logging.getLogger("gearmanny.cache")

_OPERATION_TIMEOUT = 0.9
"""Seconds for one look or one write: a call makes both, and may lose 2 s at the most."""

_AVOID_UNREACHABLE = 30.0
"""Seconds for which a MongoDB that did not answer is not tried again."""

P = ParamSpec("P")
R = TypeVar("R")
Washer = Callable[[Any], Any]


class Cachewrap(Protocol):
    """Makes a decorator that caches what a function returns."""

    def __call__(
        self, unique_name: str, max_days_age: float = 1
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


class MongoCache:
    """A collection of answers. Connects on first use, and again in a forked child."""

    def __init__(
        self,
        host: str = "mongodb://localhost:27017/",
        dbname: str = "GEARMANCACHE",
        collection: str = "gearman_cache_table",
        DEBUG: int = 0,
        returnvalue_washer: Washer | None = None,
        json_encoder: type[json.JSONEncoder] = json.JSONEncoder,
    ) -> None:
        """
        Args:
            host: URI of the MongoDB server.
            dbname: name of the database.
            collection: name of the collection.
            DEBUG: whether hits, misses and writes are logged, on `gearmanny.cache`.
            returnvalue_washer: given what a function returned; what it returns is stored and
                returned instead.
            json_encoder: makes JSON of arguments and answers that json itself cannot.
        """
        self._host = host
        self._dbname = dbname
        self._collection_name = collection
        self._washer = returnvalue_washer
        self._json_encoder = json_encoder
        self._level = logging.INFO if DEBUG else logging.DEBUG
        if DEBUG and not logger.isEnabledFor(logging.INFO):
            logger.setLevel(logging.INFO)
        self._connecting = threading.Lock()
        self._pid = 0
        self._collection: Collection[dict[str, Any]] | None = None
        self._indexed = False
        self._away_until = 0.0
        self._reported_away = False

    def answer(
        self,
        unique_name: str,
        arguments: dict[str, Any],
        max_age: timedelta,
        compute: Callable[[], Any],
    ) -> Any:
        """Returns the cached answer, or computes, stores and returns it.

        An answer comes back as JSON makes it (a tuple as a list), computed or cached. A falsy
        one is no answer: it is not stored, and an old one is returned instead if there is any.

        Raises:
            EncodingError: the arguments or the answer are not JSON.
        """
        key = cache_key(unique_name, arguments, self._json_encoder)
        entry = self._find(key)
        now = datetime.now(UTC)
        freshness = judge(entry["added"] if entry else None, max_age, now)
        self._log(freshness.value, unique_name, arguments)
        if entry and freshness is Freshness.HIT:
            return self._as_json(unique_name, entry["data"])
        value = compute()
        if self._washer is not None:
            value = self._washer(value)
        value = self._as_json(unique_name, value)
        if value:
            self._store(key, unique_name, arguments, value, max_age)
        elif entry:
            self._log("served stale", unique_name, arguments)
            return self._as_json(unique_name, entry["data"])
        return value

    def _find(self, key: str) -> dict[str, Any] | None:
        return self._try(lambda collection: collection.find_one({"key": key}))

    def _store(
        self,
        key: str,
        unique_name: str,
        arguments: dict[str, Any],
        value: Any,
        max_age: timedelta,
    ) -> None:
        added = datetime.now(UTC)
        entry = {
            "key": key,
            "type": unique_name,
            "query": {"kwargs": self._as_json(unique_name, arguments)},
            "data": value,
            "added": added,
            "purge_at": local_time(added + max_age),
            "delete_at": delete_at(added, max_age),
        }

        def replace(collection: Collection[dict[str, Any]]) -> bool:
            try:
                collection.replace_one({"key": key}, entry, upsert=True)
            except pymongo.errors.DuplicateKeyError:
                pass  # another worker stored the same answer in the same moment
            except (
                *(BSONError, OverflowError, ValueError, RecursionError),
                pymongo.errors.OperationFailure,
            ) as error:
                # JSON holds what a document cannot, such as integers of more than 64 bits.
                logger.warning(
                    "an answer of %r cannot be stored in MongoDB: %s",
                    unique_name,
                    type(error).__name__,  # its text may quote the answer
                    extra={"action": "cache_unstorable"},
                )
                return False
            return True

        if self._try(replace):
            self._log("write", unique_name, arguments)

    def _try(self, operation: Callable[[Collection[dict[str, Any]]], R]) -> R | None:
        """Returns what an operation returns; None when MongoDB is away or refuses it."""
        if time.monotonic() < self._away_until:
            return None
        try:
            with pymongo.timeout(_OPERATION_TIMEOUT):
                result = operation(self._connect())
        except pymongo.errors.PyMongoError as error:
            self._away_until = time.monotonic() + _AVOID_UNREACHABLE
            if not self._reported_away:
                self._reported_away = True
                logger.warning(
                    "MongoDB cannot be used: %s. Tasks run uncached until it can.",
                    reason_of(error),
                    extra={"action": "cache_away"},
                )
            return None
        if self._reported_away:
            self._reported_away = False
            logger.warning("MongoDB can be used again.", extra={"action": "cache_back"})
        return result

    def _connect(self) -> Collection[dict[str, Any]]:
        if self._pid != os.getpid():
            # A client of the parent cannot be used in a forked child, nor a lock that some thread
            # of the parent held.
            self._pid = os.getpid()
            self._connecting = threading.Lock()
            self._collection = None
            self._indexed = False
        with self._connecting:
            if self._collection is None:
                self._collection = self._open()
            if not self._indexed:
                prepare(self._collection)
                self._indexed = True
                with contextlib.suppress(RuntimeError):  # no thread can be started
                    threading.Thread(target=self._carry_over, name=__name__, daemon=True).start()
            return self._collection

    def _carry_over(self) -> None:
        # A method: as long as it runs, the client is not closed.
        assert self._collection is not None
        carry_over(self._collection)

    def _open(self) -> Collection[dict[str, Any]]:
        try:
            client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
                self._host, tz_aware=True, appname="gearmanny"
            )
        except (pymongo.errors.ConfigurationError, ValueError, TypeError) as error:
            reason = _without_password(str(error), self._host)
            raise InvalidOption(f"The URI of MongoDB cannot be used: {reason}") from None
        finalizer = weakref.finalize(self, _close_in, os.getpid(), client)
        finalizer.atexit = False  # what ends anyhow need not take leave of a server that is away
        return client[self._dbname][self._collection_name]

    def _as_json(self, unique_name: str, value: Any) -> Any:
        try:
            return json.loads(json.dumps(value, allow_nan=False, cls=self._json_encoder))
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodingError(
                f"The answer of {unique_name!r} cannot be cached: it is not JSON ({error})."
            ) from error

    def _log(self, what: str, unique_name: str, arguments: dict[str, Any]) -> None:
        logger.log(
            self._level,
            "%s: %s %s",
            what,
            unique_name,
            sorted(arguments),
            extra={"action": f"cache_{what.replace(' ', '_')}", "type": unique_name},
        )


def cached_by(get_cache: Callable[[], MongoCache]) -> Cachewrap:
    """Returns a `cachewrap` whose cache is asked for at every call."""

    def cachewrap(
        unique_name: str, max_days_age: float = 1
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Caches what a function or a task method returns, by the arguments of the call.

        Args:
            unique_name: under which its answers are kept.
            max_days_age: days for which an answer is used; a float for parts of a day.

        Raises:
            InvalidOption: one of them cannot be.
        """
        name = check_unique_name(unique_name)
        max_age = check_max_days_age(max_days_age)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            signature = inspect.signature(function)

            @functools.wraps(function)
            def cached(*args: P.args, **kwargs: P.kwargs) -> R:
                arguments = named_arguments(signature, args, kwargs)
                compute = functools.partial(function, *args, **kwargs)
                answer: R = get_cache().answer(name, arguments, max_age, compute)
                return answer

            return cached

        return decorate

    return cachewrap


def cacheBuilder(
    host: str = "mongodb://localhost:27017/",
    dbname: str = "GEARMANCACHE",
    collection: str = "gearman_cache_table",
    DEBUG: int = 0,
    returnvalue_washer: Washer | None = None,
) -> Cachewrap:
    """Returns `cachewrap(unique_name, max_days_age=1)`, a decorator for tasks and functions.

    Takes the arguments of `MongoCache`. Nothing is connected before the first call.
    """
    cache = MongoCache(host, dbname, collection, DEBUG, returnvalue_washer)
    return cached_by(lambda: cache)


def _without_password(text: str, uri: str) -> str:
    """pymongo quotes what it cannot read, which a password that was not escaped is part of."""
    password = uri.rpartition("@")[0].partition("://")[2].partition(":")[2]
    parts = filter(None, re.split(r"[/?#%:@,&=\[\]]", password))
    return functools.reduce(lambda rest, part: rest.replace(part, "***"), parts, text)


def _close_in(pid: int, client: pymongo.MongoClient[dict[str, Any]]) -> None:
    if pid == os.getpid():
        # It takes leave of the server, and would wait 30 s for one that is away.
        with pymongo.timeout(_OPERATION_TIMEOUT):
            client.close()
