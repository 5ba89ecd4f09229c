"""The hook that does around a job what Django does around a request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from asgiref.sync import sync_to_async
from django.db import reset_queries

from gearmanny.contrib.django.connections import discard_all, tidy_up, tidy_up_beside_others
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.interrupts import was_interrupted


class healthy_connections:
    """A hook that closes database connections before and after a job, and between its attempts, if
    they broke, outlived `CONN_MAX_AGE`, or were left in a transaction. It also empties the log of
    queries, which grows without limit under DEBUG.

    After a task that was interrupted by its time limit, all connections of its thread are closed.
    `async def` tasks share the connections of the one thread in which Django's ORM runs: while
    other jobs run, none is closed for its age.
    """

    def __init__(self, job: GearmanJob) -> None:
        self._job = job

    def __enter__(self) -> None:
        _begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if was_interrupted(self._job, error):
            discard_all()
        else:
            tidy_up()

    async def __aenter__(self) -> None:
        await sync_to_async(begin_beside_others)()

    async def __aexit__(self, *exc_info: object) -> None:
        await sync_to_async(end_beside_others)(tidy_up)


class _Thread(threading.local):
    jobs = 0
    """How many jobs use the connections of this thread."""


_thread = _Thread()


def _begin() -> None:
    reset_queries()
    tidy_up()


def begin_beside_others() -> None:
    """Counts a job among those that share the connections of this thread, and tidies these up."""
    if _thread.jobs:
        tidy_up_beside_others()
    else:
        _begin()
    _thread.jobs += 1


def end_beside_others(clean_up: Callable[[], object]) -> None:
    """Counts a job no longer among those that share the connections of this thread.

    Args:
        clean_up: called after the last one.
    """
    _thread.jobs -= 1
    if _thread.jobs:
        tidy_up_beside_others()
    else:
        clean_up()
