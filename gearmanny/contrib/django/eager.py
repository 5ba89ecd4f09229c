"""Eager mode of a Django project: its jobs run as `runworkers` would run them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings as django_settings

from gearmanny.companions import JobLoop
from gearmanny.contrib.django.discovery import find_workers
from gearmanny.contrib.django.encoding import DjangoJsonWorker
from gearmanny.contrib.django.hooks import healthy_connections
from gearmanny.contrib.django.settings import get_settings
from gearmanny.eager import Eager
from gearmanny.worker import BaseWorker


class DjangoEager(Eager):
    """Eager mode whose jobs run in the thread that has the database connections of the test, also
    those of `async def` tasks and those that async views call."""

    async def work_aside(self, work: Callable[[], None]) -> None:
        await sync_to_async(work)()

    def event_loop(self) -> JobLoop | None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return _LoopAround()
        return None  # a blocking client in a coroutine: where this thread can run no other one


class _LoopAround:
    """Runs each coroutine until it ends, and what it does with the database in this thread."""

    cancelling = False

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.stopping = asyncio.Event()
        self._ended = 0

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await coroutine
            except (KeyboardInterrupt, SystemExit) as error:
                self.error = error

        async_to_sync(run)()
        self._ended += 1

    def take_ended(self) -> int:
        ended, self._ended = self._ended, 0
        return ended

    def stop(self) -> None:
        """Coroutines never wait for another attempt here."""

    def finish(self) -> None:
        """They have ended."""

    def close(self) -> None:
        """There is nothing to be given back."""


def new_eager() -> Eager:
    """Returns an eager mode without workers that runs them as `runworkers` does. Only the hook
    that closes database connections is missing: jobs run in the transaction of their test."""
    return DjangoEager(
        hooks=[hook for hook in get_settings().hooks() if hook is not healthy_connections],
        send_tracebacks=django_settings.DEBUG or None,
        default_work_class=DjangoJsonWorker,
    )


def project_workers() -> list[type[BaseWorker]]:
    """Returns the worker classes of the project. Raises DiscoveryError."""
    return [found.worker for found in find_workers()]
