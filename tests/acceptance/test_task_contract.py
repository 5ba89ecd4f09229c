"""Our backend of Django's tasks, and another one, under the contract that both may be held to."""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, ClassVar

import pytest
from django.test import SimpleTestCase, override_settings

from gearmanny.contrib.django.taskcontract import TaskBackendContract
from tests.support.livetasks import LiveTasks, default_database, sqlite_in
from tests.support.peertasks import PEERS, Peer
from tools.postgres import Postgres

OURS = "gearmanny.contrib.django.tasks.GearmanBackend"

TASKS = {"default": {"BACKEND": OURS, "QUEUES": ["default", "other"]}}


@pytest.fixture(autouse=True, scope="module")
def entries(
    postgres: Postgres, tmp_path_factory: Any, django_db_setup: None, django_db_blocker: Any
) -> Iterator[None]:
    """The databases of the tests."""
    with django_db_blocker.unblock(), postgres.database("contract") as entry:
        OnPeer.entry = entry
        TestOursOnPostgreSQL.entry = entry
        TestOursOnSQLite.entry = sqlite_in(tmp_path_factory.mktemp("contract"))
        yield


class OnOurs(TaskBackendContract):
    databases = {"default"}
    entry: ClassVar[dict[str, Any]]

    @classmethod
    @contextlib.contextmanager
    def run_worker(cls) -> Iterator[None]:
        with default_database(cls.entry), LiveTasks(cls.entry, TASKS, "tests.djangoapps.empty"):
            yield


@override_settings(TASKS=TASKS)
class TestOursOnPostgreSQL(OnOurs, SimpleTestCase):
    pass


@override_settings(TASKS=TASKS)
class TestOursOnSQLite(OnOurs, SimpleTestCase):
    pass


class OnPeer(TaskBackendContract):
    databases = {"default"}
    patience = 8.0
    peer: ClassVar[Peer]
    entry: ClassVar[dict[str, Any]]

    @classmethod
    def run_worker(cls) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if cls.peer.breaks else cls.peer.running(cls.entry)

    def setUp(self) -> None:
        if self.peer.breaks:
            self.enterContext(self.peer.running(self.entry))
        super().setUp()


def differing(name: str) -> Callable[..., object]:
    """Returns a test of the contract that fails, or else it would be wrong to say so."""

    @unittest.expectedFailure
    def test(self: OnPeer) -> object:
        return getattr(TaskBackendContract, name)(self)

    return test


for peer in PEERS:
    if find_spec(peer.package):
        name = "Test_" + peer.package
        globals()[name] = type(
            name,
            (OnPeer, SimpleTestCase),
            {"peer": peer, **{test: differing(test) for test in peer.differences}},
        )
