"""Caches the answers of costly tasks in MongoDB.

A cache must never be the reason why a task fails or hangs: while MongoDB is away, tasks run
uncached.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

try:
    import pymongo  # noqa: F401
except ImportError as error:
    raise ImportError("The MongoDB cache needs pymongo: pip install 'gearmanny[mongo]'") from error

from gearmanny.helpers.caches import DEFAULT_LEASE, MongoCache, Washer
from gearmanny.helpers.functions import CachedFunction, CachedGenerator, Options
from gearmanny.helpers.options import (
    DEFAULT_COLLECTION,
    DEFAULT_DBNAME,
    DEFAULT_HOST,
    check_ignore,
    check_key,
    check_max_days_age,
    check_stale_days,
    check_unique_name,
    check_version,
)
from gearmanny.helpers.storage import Client, Unavailable

__all__ = ["Cachewrap", "MongoCache", "Unavailable", "cacheBuilder", "cached_by"]

logger = logging.getLogger("gearmanny.cache")

P = ParamSpec("P")
R = TypeVar("R")


class Cachewrap(Protocol):
    """Makes a decorator that caches what a function returns."""

    def __call__(
        self,
        unique_name: str,
        max_days_age: float = 1,
        *,
        stale_days: float | None = None,
        ignore: Iterable[str] = (),
        key: Callable[..., Any] | None = None,
        version: str | int | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


_functions: dict[tuple[object, str, object], str] = {}
"""Those that have been decorated, by the cache and the name of their answers, and their version."""


def cached_by(get_cache: Callable[[], MongoCache], scope: object = None) -> Cachewrap:
    """Returns a `cachewrap` whose cache is asked for at every call.

    Args:
        get_cache: returns the cache.
        scope: equal for caches that have the same collection. Default: `get_cache`.
    """

    def cachewrap(
        unique_name: str,
        max_days_age: float = 1,
        *,
        stale_days: float | None = None,
        ignore: Iterable[str] = (),
        key: Callable[..., Any] | None = None,
        version: str | int | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Caches what a function or a task method returns, by the arguments of the call.

        Args:
            unique_name: under which its answers are kept.
            max_days_age: days for which an answer is used; a float for parts of a day.
            stale_days: days after that for which it is still served while it is computed again.
                Default: as the cache says.
            ignore: names of arguments that do not count.
            key: given the arguments of a call; what it returns counts in their place.
            version: answers of another version are not used.

        Raises:
            InvalidOption: a value that is not allowed.
        """
        name = check_unique_name(unique_name)
        fresh = check_max_days_age(max_days_age)
        stale = None if stale_days is None else check_stale_days(stale_days)
        check_key(key)
        check_version(version)

        def decorate(function: Any) -> Any:
            if isinstance(function, (staticmethod, classmethod)):
                return type(function)(decorate(function.__func__))
            names = check_ignore(ignore, inspect.signature(function))
            _check_only_one(scope or get_cache, name, version, function)
            kind = _kind_of(function)
            return _with_surface(
                kind(get_cache, function, Options(name, fresh, stale, names, key, version))
            )

        return cast("Callable[[Callable[P, R]], Callable[P, R]]", decorate)

    return cachewrap


def cacheBuilder(
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
) -> Cachewrap:
    """Returns `cachewrap(unique_name, max_days_age=1)`, a decorator for tasks and functions.

    Takes the arguments of `MongoCache`. Nothing is connected before the first call.

    Raises:
        InvalidOption: a value that is not allowed.
    """
    cache = MongoCache(
        host,
        dbname,
        collection,
        DEBUG,
        returnvalue_washer,
        json_encoder,
        timeout=timeout,
        stale_days=stale_days,
        lease=lease,
        enabled=enabled,
    )
    scope = host if isinstance(host, str) else id(host), dbname, collection
    return cached_by(lambda: cache, scope)


def _kind_of(function: Callable[..., Any]) -> type[CachedFunction]:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        from gearmanny.helpers.coroutines import (  # noqa: PLC0415  imports asyncio
            CachedAsyncGenerator,
            CachedCoroutine,
        )

        return CachedCoroutine if inspect.iscoroutinefunction(function) else CachedAsyncGenerator
    return CachedGenerator if inspect.isgeneratorfunction(function) else CachedFunction


def _with_surface(cached: CachedFunction) -> Callable[..., Any]:
    wrapper: Any = cached.wrapper()
    wrapper.cache_info = cached.cache_info
    wrapper.cache_clear = cached.cache_clear
    wrapper.cached = cached.cached
    wrapper.refresh = cached.refresh
    return cast("Callable[..., Any]", wrapper)


def _check_only_one(
    scope: object, name: str, version: object, function: Callable[..., Any]
) -> None:
    this = f"{function.__module__}.{getattr(function, '__qualname__', function)}"
    other = _functions.setdefault((scope, name, version), this)
    if other != this:
        logger.warning(
            "%s and %s are both cached as %r: each gets the answers of the other. Give them "
            "different names.",
            other,
            this,
            name,
            extra={"action": "cache_name_shared", "type": name},
        )
