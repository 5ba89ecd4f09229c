"""Helpers for tests of a Django project: eager mode with workers of their own, live workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import connections
from django.test import override_settings

from gearmanny.contrib.django.clients import async_client, client, raw_client
from gearmanny.contrib.django.connections import close_for_good
from gearmanny.contrib.django.connectors import connector_of
from gearmanny.contrib.django.eager import new_eager
from gearmanny.contrib.django.encoding import DjangoJsonWorker
from gearmanny.contrib.django.hooks import begin_beside_others, end_beside_others
from gearmanny.contrib.django.sections import NAME
from gearmanny.contrib.django.signalling import SignalSender
from gearmanny.contrib.django.store import get_store, task_transaction
from gearmanny.eager.joined import Eager
from gearmanny.errors import InvalidOption
from gearmanny.net.hosts import parse_hosts
from gearmanny.running.factory import make_worker
from gearmanny.testing import calls_run_in
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker
from gearmanny.working.options import WorkerOptions


@contextlib.contextmanager
def eager(workers: Sequence[type[BaseWorker]] = ()) -> Iterator[Eager]:
    """Runs the calls of all clients of this process where they are made, until the block ends.

    Like `GEARMANNY["EAGER"]`, with the hooks and the encoder of the project and in the transaction
    of the test, but with the workers that are given here.

    Args:
        workers: the worker classes that do the jobs.

    Yields:
        The `Eager`, to which more workers may be added.

    Raises:
        InvalidTask: a worker cannot be exported, or two export the same function.
    """
    stand_in = new_eager()
    stand_in.add(*workers)
    with calls_run_in(stand_in):
        yield stand_in


def new_worker(kind: type[BaseWorker], host: str, **options: Any) -> BaseWorker:
    """Returns a worker for a thread of a test, which encodes as `runworkers` does.

    Args:
        kind: its class.
        host: its job server, `"name:port"`.
        options: more arguments of the class.

    Raises:
        InvalidOption: the test runs in a transaction, an argument is invalid, or records are in a
            database in memory.
        InvalidTask: a task cannot be exported.
    """
    if any(each.in_atomic_block for each in connections.all(initialized_only=True)):
        raise InvalidOption(
            "A live worker has database connections of its own, on which it does not see what a "
            "test writes inside a transaction. Mark the test with "
            "@pytest.mark.django_db(transaction=True) or derive it from TransactionTestCase, or "
            "run the worker with gearman_eager."
        )
    store = get_store()
    if store is not None:
        connector_of(store.alias)  # reports now what the thread of the worker could not
    of_the_project = WorkerOptions(
        hosts=parse_hosts([host]),
        hooks=(_NoConnectionsLeft,),
        sync_to_async=sync_to_async,
        default_work_class=DjangoJsonWorker,
        records=store,
        transaction=task_transaction,
        listener=SignalSender(clean_up=close_for_good),
    )
    return make_worker(kind, of_the_project, **options)


class _NoConnectionsLeft:
    """A hook that closes the database connections of a worker's thread after a job, and of the
    thread of the ORM: the database could not be removed while they are open."""

    def __init__(self, job: GearmanJob) -> None:
        pass

    def __enter__(self) -> None:
        """Does nothing: all is done after the job."""

    def __exit__(self, *exc_info: object) -> None:
        close_for_good()

    async def __aenter__(self) -> None:
        await sync_to_async(begin_beside_others)()

    async def __aexit__(self, *exc_info: object) -> None:
        await sync_to_async(end_beside_others)(close_for_good)


@contextlib.contextmanager
def clients_connected_to(host: str) -> Iterator[None]:
    """Lets the clients of the project call a live job server, until the block ends.

    Args:
        host: the job server, `"name:port"`.
    """
    settings = {**getattr(django_settings, NAME, {}), "HOSTS": [host], "EAGER": False}
    with override_settings(**{NAME: settings}):
        try:
            yield
        finally:
            client.close()
            async_client.close()
            raw_client.close()
