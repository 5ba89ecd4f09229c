"""The thread in which coroutines enqueue tasks, where nobody has a transaction open.

Django's ORM has one thread for all coroutines, and a query or a call in there holds up all others.
Only there, however, a coroutine may be in a transaction. So that thread is used where it might be.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver

from gearmanny.contrib.django.connectors import is_in_memory
from gearmanny.contrib.django.guard import is_test
from gearmanny.contrib.django.settings import get_settings
from gearmanny.net.forks import this_process

Result = TypeVar("Result")

APP = "gearmanny.contrib.django"

_is_aside: ContextVar[bool] = ContextVar("gearmanny_is_aside", default=False)
"""Whether the caller was called by what runs in that thread: a receiver of a signal."""


class _Here(threading.local):
    is_ours = False
    """Whether this is that thread."""


_here = _Here()


class _Known:
    """The connections of all other threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[BaseDatabaseWrapper] = weakref.WeakSet()

    def add(self, connection: BaseDatabaseWrapper) -> None:
        with self._lock:
            self._connections.add(connection)

    def have_transaction(self, alias: str) -> bool:
        """Returns whether a transaction is open on a database."""
        with self._lock:
            known = list(self._connections)
        return any(
            connection.alias == alias
            and connection.connection is not None
            and (connection.in_atomic_block or not connection.autocommit)
            for connection in known
        )


_known = _Known()


@receiver(connection_created)
def _note(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if not _here.is_ours:
        _known.add(connection)


class _Thread:
    """The thread of one process."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="gearmanny tasks")
        self._lock = threading.Lock()
        self._calls: set[object] = set()
        """Those that wait or run."""
        self._has_rested = True

    async def run(self, call: Callable[[], Result]) -> Result:
        with self._lock:
            self._calls.add(call)
        try:
            run = sync_to_async(self._run, thread_sensitive=False, executor=self._executor)
            result: Result = await run(call)
            return result
        finally:
            self._is_last(call)  # it never began, where its caller was cancelled

    def _run(self, call: Callable[[], Result]) -> Result:
        _here.is_ours = True
        token = _is_aside.set(True)
        try:
            if self._has_rested:
                close_old_connections()
            return call()
        finally:
            _is_aside.reset(token)
            self._has_rested = self._is_last(call)
            if self._has_rested:  # as at the end of a request
                close_old_connections()

    def _is_last(self, call: object) -> bool:
        with self._lock:
            self._calls.discard(call)
            return not self._calls


@functools.lru_cache(maxsize=1)
def _thread(forks: int) -> _Thread:
    return _Thread()


async def aside(call: Callable[[], Result]) -> Result:
    """Returns what a function returns that uses the database of the records.

    Args:
        call: the function. It runs in the thread that has the transaction of its caller, if it may
            be in one, and otherwise in one that no other code holds up.
    """
    alias = get_settings().RECORDS.DATABASE
    is_with_caller = (
        _is_aside.get()
        or not apps.is_installed(APP)  # and so has not seen all connections
        or is_test()
        or get_settings().EAGER
        or is_in_memory(connections[alias])
        or _known.have_transaction(alias)
    )
    if is_with_caller:
        return await sync_to_async(call)()
    return await _thread(this_process.forks).run(call)
