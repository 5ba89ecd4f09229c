"""The hook that does around a job what Django does around a request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.db import reset_queries
from django.utils import timezone, translation

from gearmanny.contrib.django.connections import discard_all, tidy_up, tidy_up_beside_others
from gearmanny.contrib.django.threads import close_those_of_ended_threads, runs_jobs_here
from gearmanny.hooks import never_waits
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.interrupts import was_interrupted

logger = logging.getLogger("gearmanny.worker")


class healthy_connections:
    """A hook that does around a job, and around each of its attempts, what Django does around a
    request.

    Before and after it, database connections are closed that broke, outlived `CONN_MAX_AGE`, or
    were left in a transaction. The log of queries, which grows under DEBUG, is emptied; language
    and time zone are those of the settings. Afterwards caches are closed, and the connections of
    threads that the task started, as `threads.py` describes.

    After a task that was interrupted by its time limit, all connections of its thread are closed.
    `async def` tasks share the connections of the one thread in which Django's ORM runs: while
    other jobs run, none is closed for its age.
    """

    def __init__(self, job: GearmanJob) -> None:
        self._job = job

    def __enter__(self) -> None:
        _use_defaults()
        _caches.lend()
        _begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if was_interrupted(self._job, error):
            _caches.drop()
            discard_all()
        else:
            _caches.keep()
            tidy_up()
        close_those_of_ended_threads()

    async def __aenter__(self) -> None:
        await sync_to_async(begin_beside_others)()
        _use_defaults()  # not before: asgiref shows this thread what came from another only now

    async def __aexit__(self, *exc_info: object) -> None:
        await sync_to_async(end_beside_others)(tidy_up)


def _use_defaults() -> None:
    """Sets the language and the time zone of the settings."""
    translation.deactivate()
    timezone.deactivate()


@never_waits
@contextmanager
def defaults_of_the_settings(job: GearmanJob) -> Iterator[None]:
    """A hook that does what `healthy_connections` does in the transaction of a test, too: it sets
    the language and the time zone of the settings.

    Args:
        job: the job.
    """
    _use_defaults()
    yield


_connections: Any = caches._connections  # type: ignore[attr-defined]


def _close_caches() -> None:
    """Closes the caches that the job used; a failure to close one is logged."""
    for cache in caches.all(initialized_only=True):
        try:
            cache.close()
        except Exception:
            logger.warning(
                "a cache of the backend %s could not be closed after a job",
                type(cache).__name__,
                exc_info=True,
                extra={"action": "close_failed"},
            )


class _Caches(threading.local):
    """The caches of a thread, from one job to the next.

    Django keeps caches in the context of variables, and each job has a context of its own. Without
    this, each would connect anew.
    """

    def __init__(self) -> None:
        self._made: dict[str, BaseCache] = {}

    def lend(self) -> None:
        """Lets the job use the caches that were made before."""
        for alias, cache in self._made.items():
            caches[alias] = cache

    def keep(self) -> None:
        """Closes the caches that the job used, as at the end of a request, and keeps them."""
        _close_caches()
        self._made = {alias: caches[alias] for alias in caches if hasattr(_connections, alias)}

    def drop(self) -> None:
        """Closes the caches that the job used: it was interrupted, perhaps while it used one."""
        _close_caches()
        self._made.clear()


_caches = _Caches()


class _Thread(threading.local):
    jobs = 0
    """How many jobs use the connections of this thread."""


_thread = _Thread()


def _begin() -> None:
    runs_jobs_here()
    reset_queries()
    tidy_up()


def begin_beside_others() -> None:
    """Counts a job among those that share the connections of this thread, and tidies these up."""
    if _thread.jobs:
        # Not for themselves, but others may never pause.
        reset_queries()
        tidy_up_beside_others()
    else:
        _begin()
    _thread.jobs += 1


def end_beside_others(clean_up: Callable[[], object]) -> None:
    """Counts a job no longer among those that share the connections of this thread. Closes the
    caches that it used.

    Args:
        clean_up: called after the last one.
    """
    _thread.jobs -= 1
    _close_caches()
    if _thread.jobs:
        tidy_up_beside_others()
    else:
        clean_up()
    close_those_of_ended_threads()
