"""What tests of a Django project need: eager mode with workers of their own, live workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import connections
from django.test import override_settings

from gearmanny.contrib.django.clients import async_client, client
from gearmanny.contrib.django.connections import close_for_good
from gearmanny.contrib.django.eager import new_eager
from gearmanny.contrib.django.encoding import DjangoJsonWorker
from gearmanny.contrib.django.hooks import begin_beside_others, end_beside_others
from gearmanny.contrib.django.settings import NAME
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
    """Runs the calls of all clients of this process where they are made, until the block ends, as
    `GEARMANNY["EAGER"]` does, but with workers of its own: `gearmanny.testing.eager`, with the
    hooks and the encoder of the project, in the transaction of the test.

    Args:
        workers: the worker classes that do the jobs.

    Raises:
        InvalidTask: a worker cannot be exported, or two export the same function.
    """
    stand_in = new_eager()
    stand_in.add(*workers)
    with calls_run_in(stand_in):
        yield stand_in


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
    of_the_project = WorkerOptions(
        hosts=parse_hosts([host]),
        hooks=(_NoConnectionsLeft,),
        sync_to_async=sync_to_async,
        default_work_class=DjangoJsonWorker,
    )
    return make_worker(kind, of_the_project, **options)


class _NoConnectionsLeft:
    """A hook that closes the database connections of a worker's thread after a job, and of the
    thread of the ORM: the database could not be removed while they are open."""

    def __init__(self, job: GearmanJob) -> None:
        pass

    def __enter__(self) -> None:
        """There is nothing to be done before."""

    def __exit__(self, *exc_info: object) -> None:
        close_for_good()

    async def __aenter__(self) -> None:
        await sync_to_async(begin_beside_others)()

    async def __aexit__(self, *exc_info: object) -> None:
        await sync_to_async(end_beside_others)(close_for_good)


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
