"""Eager mode of a Django project: its jobs run as `runworkers` would run them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings as django_settings
from django.core import mail

from gearmanny.contrib.django.discovery import find_workers, workers_of_tasks
from gearmanny.contrib.django.encoding import DjangoJsonWorker
from gearmanny.contrib.django.hooks import defaults_of_the_settings, healthy_connections
from gearmanny.contrib.django.settings import get_settings
from gearmanny.contrib.django.signalling import SignalSender
from gearmanny.contrib.django.store import get_store, task_transaction
from gearmanny.contrib.django.transactions import transactions_of_the_test
from gearmanny.eager.joined import Eager
from gearmanny.eager.outbox import outbox
from gearmanny.protocol.server import Server
from gearmanny.worker import BaseWorker
from gearmanny.working.asynchooks import Outcome
from gearmanny.working.context import JobLoop
from gearmanny.working.eventloop import EventLoop
from gearmanny.working.interrupts import stops_worker


def _current_test() -> object:
    """Returns the outbox for mails: Django's test cases have a new one each, in any test runner."""
    return getattr(mail, "outbox", None)


outbox.tell_tests_by(_current_test)


class DjangoEager(Eager):
    """Eager mode whose jobs run in the thread that has the database connections of the test, also
    those of `async def` tasks and those that async views call."""

    _test: object = None

    def work_off(self, server: Server) -> None:
        test = _current_test()
        if test is not self._test:
            self._test = test
            self.renew()
        super().work_off(server)

    async def work_aside(self, work: Callable[[], None]) -> None:
        await sync_to_async(work)()

    def new_event_loop(self, wake: Callable[[], object]) -> JobLoop:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return _LoopAround(wake)
        # A blocking client in a coroutine: where this thread can run no other one.
        return super().new_event_loop(wake)


class _LoopAround:
    """Runs each coroutine until it ends, and what it does with the database in this thread."""

    cancelling = False

    def __init__(self, wake: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._wake = wake
        self._answered = 0
        self._beside: EventLoop | None = None

    def start(self, coroutine: Coroutine[Any, Any, bool]) -> None:
        async def run() -> None:
            try:
                self._answered += await coroutine
            except BaseException as error:
                if not stops_worker(error):
                    raise
                self.error = error

        # What a task of asyncio exits with that the coroutine has started. Its job has failed then.
        with contextlib.suppress(SystemExit):
            # In a context of its own: what the coroutine sets there would be set in its caller.
            contextvars.copy_context().run(async_to_sync(run))
        self._wake()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        # Not here: this loop ends with each coroutine, and one may go on where another began.
        if self._beside is None:
            self._beside = EventLoop(lambda: None)
        return self._beside.run(coroutine)

    def run_whole(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        outcome = Outcome[Any]()
        contextvars.copy_context().run(async_to_sync(outcome.of), coroutine)
        return outcome.get()

    async def in_thread(self, step: Callable[[], Any]) -> Any:
        return await sync_to_async(step)()  # the thread that has the transaction of the test

    async def pause(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Does not wait."""

    def notify(self) -> None:
        """Nobody pauses."""

    def take_answered(self) -> int:
        answered, self._answered = self._answered, 0
        return answered

    def is_idle(self) -> bool:
        return True

    def finish(self) -> None:
        """They have ended."""

    def close(self) -> None:
        if self._beside is not None:
            self._beside.close()


def new_eager() -> Eager:
    """Returns an eager mode without workers yet, but that of Django's tasks, which runs jobs as
    `runworkers` does. Only database connections are not closed: jobs run in the transaction of
    their test."""
    hooks = [
        defaults_of_the_settings if hook is healthy_connections else hook
        for hook in get_settings().hooks()
    ]
    store = get_store()
    eager = DjangoEager(
        hooks=[transactions_of_the_test, *hooks],
        send_tracebacks=django_settings.DEBUG or None,
        default_work_class=DjangoJsonWorker,
        sync_to_async=sync_to_async,
        records=None if store is None else store.of_callers,
        transaction=task_transaction,
        listener=SignalSender(clean_up=None),
    )
    eager.add(*(found.worker for found in workers_of_tasks()))
    return eager


def project_workers() -> list[type[BaseWorker]]:
    """Returns the worker classes of the project.

    Raises:
        DiscoveryError: a `workers.py` cannot be imported, or there is no worker at all.
    """
    return [found.worker for found in find_workers()]
