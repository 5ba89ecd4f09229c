"""Our backend of Django's tasks, and others, under the contract that all may be held to.

django-tasks-db is always there. The others are held to it where they are installed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, ClassVar

import pytest
from django.conf import settings
from django.test import SimpleTestCase, override_settings

from gearmanny.contrib.django.taskcontract import TaskBackendContract
from tests.support.livetasks import LiveTasks, default_database, sqlite_in
from tests.support.servers import ROOT
from tools.postgres import Postgres
from tools.taskpeers import DB, DJ_QUEUE, OURS, OX, QUEUES, RQ, Peer, Restarting

TASKS = {"default": {"BACKEND": OURS.backend, "QUEUES": QUEUES}}


@pytest.fixture(autouse=True, scope="module")
def entries(
    postgres: Postgres, tmp_path_factory: Any, django_db_setup: None, django_db_blocker: Any
) -> Iterator[None]:
    """The databases of the tests."""
    with django_db_blocker.unblock(), postgres.database("contract") as entry:
        OnPeer.entry = TestOursOnPostgreSQL.entry = entry
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
    """The tests of another backend."""

    databases = {"default"}
    patience = 60.0  # the first test waits for the worker to start
    entry: ClassVar[dict[str, Any]]
    peer: ClassVar[Peer]
    breaks = False
    """Whether a task can break the worker for all that follow, so that each test has its own."""

    @classmethod
    @contextlib.contextmanager
    def run_peer(cls) -> Iterator[None]:
        """Runs a worker, and another one when that has ended."""
        with (
            cls.peer.settings(settings.INSTALLED_APPS) as its,
            override_settings(**its),
            default_database(cls.entry),
            Restarting(
                [*cls.peer.worker, *cls.peer.quick], {"DATABASES": {"default": cls.entry}} | its
            ),
        ):
            yield

    @classmethod
    def run_worker(cls) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if cls.breaks else cls.run_peer()

    def setUp(self) -> None:
        if self.breaks:
            self.enterContext(self.run_peer())
        super().setUp()


def new_test(name: str, difference: str) -> Callable[[OnPeer], object]:
    """Returns a test of the contract that fails, or else it would be wrong to say so."""

    @pytest.mark.xfail(reason=difference, strict=not difference.startswith("sometimes"))
    def test(self: OnPeer) -> object:
        self.patience = 8.0  # that of the others is not needed to see that it does not end
        return getattr(TaskBackendContract, name)(self)

    return test


def contract_of(peer: Peer, **attributes: Any) -> Any:
    """Returns the tests of another backend; None where it is not installed.

    Args:
        peer: the backend.
        attributes: more of the class.
    """
    if not find_spec(peer.package):
        return None
    tests = {name: new_test(name, text) for name, text in DIFFERENCES[peer.package].items()}
    return type(peer.package, (OnPeer, SimpleTestCase), {"peer": peer, **tests, **attributes})


DIFFERENCES = {
    DB.package: {
        "test_texts_that_databases_refuse_arrive_or_are_refused": "raises DataError",
        "test_keys_that_are_not_text_arrive_or_are_refused": "changes keys",
        "test_nan_and_infinity_arrive_or_are_refused": "raises DataError",
        "test_odd_return_values_arrive_or_fail_their_tasks": "changes keys",
        "test_receivers_that_raise_change_nothing": "the task fails",
        "test_return_values_are_normalized": "the task fails for bytes",
        "test_signals_of_the_worker": "the sender is an instance",
        "test_task_whose_process_dies_comes_to_an_end": "it stays RUNNING",
    },
    RQ.package: {
        "test_arguments_are_normalized": "pickles arguments",
        "test_coroutines": "sometimes, a finished result has no times yet",
        "test_failed_task": "sometimes, a finished result has no times yet",
        "test_later_task": "begins up to a second early",
        "test_receivers_that_raise_change_nothing": "the task fails",
        "test_result_is_the_same_however_it_is_retrieved": (
            "sometimes, a finished result has no times yet"
        ),
        "test_return_value_that_is_not_json_fails_the_task": "pickles return values",
        "test_return_values_are_normalized": "pickles return values",
        "test_successful_task": "last_attempted_at is the time of the end",
        "test_task_finds_what_its_transaction_wrote": "sometimes, it runs before COMMIT",
        "test_task_is_rolled_back_with_its_transaction": "the task runs all the same",
    },
    OX.package: {
        "test_texts_that_databases_refuse_arrive_or_are_refused": "raises DataError",
        "test_keys_that_are_not_text_arrive_or_are_refused": "changes keys",
        "test_nan_and_infinity_arrive_or_are_refused": "raises DataError",
        "test_odd_return_values_arrive_or_fail_their_tasks": "changes keys",
    },
    DJ_QUEUE.package: {
        "test_argument_that_is_not_json_is_refused": "raises EnqueueError",
        "test_arguments_are_normalized": "refuses bytes and tuples",
        "test_texts_that_databases_refuse_arrive_or_are_refused": "raises DataError",
        "test_keys_that_are_not_text_arrive_or_are_refused": "changes keys",
        "test_nan_and_infinity_arrive_or_are_refused": "raises EnqueueError",
        "test_coroutines": "ids that are no UUID raise ValidationError",
        "test_exceptions_that_would_end_a_program_fail_the_task": (
            "it stays RUNNING, and the thread of the worker ends"
        ),
        "test_failed_task": "a finished result has no worker_ids",
        "test_later_task": "a finished result has no started_at",
        "test_odd_return_values_arrive_or_fail_their_tasks": "changes keys",
        "test_queues": "raises EnqueueError",
        "test_receivers_that_raise_change_nothing": "sends no signals",
        "test_result_that_does_not_exist": "ids that are no UUID raise ValidationError",
        "test_return_value_that_is_not_json_fails_the_task": "the error is a ValueError",
        "test_return_values_are_normalized": "the task fails",
        "test_signal_of_the_caller": "sends no signals",
        "test_signals_of_the_worker": "sends no signals",
        "test_successful_task": "a finished result has no worker_ids",
    },
}
"""What others do instead, by package and test."""

TestTasksDB = contract_of(DB)
TestTasksRQ = contract_of(RQ)
TestOx = contract_of(OX)
TestDjQueue = contract_of(DJ_QUEUE, breaks=True)


def test_the_differences_are_those_of_the_document() -> None:
    names = sorted({name for tests in DIFFERENCES.values() for name in tests})
    rows = {name: [tests.get(name, "") for tests in DIFFERENCES.values()] for name in names}
    document = (ROOT / "docs" / "tasks.md").read_text()
    for name, cells in rows.items():
        row = " | ".join(["| " + name.removeprefix("test_").replace("_", " "), *cells])
        assert f"{row} |\n" in document
