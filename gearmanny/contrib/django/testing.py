"""What tests of a Django project need: eager mode as `runworkers` would run it, live servers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.conf import settings as django_settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from gearmanny.contrib.django.clients import async_client, client
from gearmanny.contrib.django.discovery import find_workers
from gearmanny.contrib.django.encoding import DjangoJsonWorker
from gearmanny.contrib.django.settings import NAME
from gearmanny.eager import Eager
from gearmanny.errors import InvalidOption
from gearmanny.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker, JsonWorker


def new_eager() -> Eager:
    """Returns an eager mode without workers that runs them as `runworkers` does. Only the hook
    that closes database connections is missing: jobs run in the transaction of their test."""
    return Eager(send_tracebacks=django_settings.DEBUG or None, default_work_class=DjangoJsonWorker)


def project_workers() -> list[type[BaseWorker]]:
    """Returns the worker classes of the project. Raises DiscoveryError."""
    return [found.worker for found in find_workers()]


def new_worker(kind: type[BaseWorker], host: str, **options: Any) -> BaseWorker:
    """Returns a worker for a thread of a test, that encodes as those of `runworkers` do.

    Raises:
        InvalidOption: the test runs in a transaction.
    """
    if any(each.in_atomic_block for each in connections.all(initialized_only=True)):
        raise InvalidOption(
            "A live worker has database connections of its own, on which it does not see what a "
            "test writes inside a transaction. Mark the test with "
            "@pytest.mark.django_db(transaction=True) or derive it from TransactionTestCase, or "
            "run the worker with gearman_eager."
        )
    if kind.work_class is JsonWorker:
        options.setdefault("gearman_worker", DjangoJsonWorker())
    worker = kind(hosts=[host], **options)
    worker.hooks = (_without_connections_left, *worker.hooks)
    return worker


@contextlib.contextmanager
def _without_connections_left(job: GearmanJob) -> Iterator[None]:
    """Closes the database connections of a worker's thread after a job: the database could not
    be removed while they are open."""
    try:
        yield
    finally:
        for connection in connections.all(initialized_only=True):
            BaseDatabaseWrapper.close(connection)  # that of SQLite keeps those in memory open


@contextlib.contextmanager
def clients_connected_to(host: str) -> Iterator[None]:
    """Lets the clients of the project call a live job server."""
    settings = {**getattr(django_settings, NAME, {}), "HOSTS": [host], "EAGER": False}
    with override_settings(**{NAME: settings}):
        try:
            yield
        finally:
            client.close()
            async_client.close()
