"""Closing the connections to databases and caches before a fork, so that processes share none."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.memcached import BaseMemcachedCache
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

logger = logging.getLogger("gearmanny.runner")


@contextlib.contextmanager
def closed_before_forks() -> Iterator[None]:
    """Calls `close_before_fork` before each fork of this process, until the block ends.

    Run a `WorkRunner` in it, in a management command of your own. It forks again whenever it
    replaces a process, and code that runs in between, such as a log handler, may have opened
    connections. Forks of the children are not affected.
    """
    # A handler cannot be removed, but it can do nothing when it is no longer needed.
    parent: int | None = os.getpid()

    def close() -> None:
        if os.getpid() == parent:
            close_before_fork()

    os.register_at_fork(before=close)
    try:
        yield
    finally:
        parent = None


def close_before_fork() -> None:
    """Closes what two processes must not share: the database connections and the caches of this
    thread, and the pools of database connections of this process.

    Each process opens its own again on next use. A failure to close one is logged, and the others
    are closed nevertheless. Two kinds of connections stay open: those that other threads use, and
    those of a cache backend whose `close()` keeps them, if a variable of the project refers to the
    cache.
    """
    failures = _close_all()
    for what, failure in failures:
        logger.warning(
            "%s could not be closed before a fork",
            what,
            exc_info=failure,
            extra={"action": "close_failed"},
        )
    if failures:
        _close_all()  # a handler of the log may use them


def _close_all() -> list[tuple[str, Exception]]:
    failures: list[tuple[str, Exception]] = []
    for alias in connections:
        try:
            _close_database(connections[alias])
        except ImproperlyConfigured:
            pass  # its driver is not installed, so it was never used
        except Exception as error:
            failures.append((f"the database {alias!r}", error))
    for cache in caches.all(initialized_only=True):
        try:
            _close_cache(cache)
        except Exception as error:
            failures.append((f"a cache of the backend {type(cache).__name__}", error))
    for alias in caches:
        # A new one is made on next use: `close()` of some backends does nothing.
        with contextlib.suppress(AttributeError):  # it was not used
            del caches[alias]
    return failures


def _close_database(connection: Any) -> None:  # only some backends have pools
    try:
        connection.close()
    finally:
        # A pool belongs to the class: an alias has one even if only another thread used it.
        # It is looked up, because asking a backend for its pool creates one.
        pools = getattr(connection, "_connection_pools", {})
        of_postgresql = connection.alias
        of_oracle = (connection.alias, connection.settings_dict["USER"])
        if of_postgresql in pools or of_oracle in pools:
            connection.close_pool()


def _close_cache(cache: BaseCache) -> None:
    cache.close()
    if isinstance(cache, BaseMemcachedCache):
        BaseMemcachedCache.close(cache)  # that for pylibmc keeps its connections
