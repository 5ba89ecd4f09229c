"""The tests that Django has of its tasks, run by our backend and a live worker.

Of the package django-tasks, no release has tests. So they are collected with Django 6.0 and later.
"""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from typing import Any

import pytest
from django.tasks import TaskResultStatus
from django.test import SimpleTestCase, override_settings

from tests.support.djangosuite import Waiting, fetch, load
from tests.support.livetasks import LiveTasks, default_database
from tools.postgres import Postgres

custom, dummy, immediate, tasks = map(
    load, ("test_custom_backend", "test_dummy_backend", "test_immediate_backend", "test_tasks")
)

LEFT_OUT = {
    "CustomBackendTestCase": {
        "test_backend_does_not_support_priority": "ours supports priorities",
        "test_no_enqueue": "is about an abstract class, and ours has the method",
    },
    "DummyBackendTestCase": {
        "test_refresh_result": "changes a result in the memory of Dummy",
        "test_refresh_result_async": "changes a result in the memory of Dummy",
    },
    "ImmediateBackendTestCase": {
        "test_throws_keyboard_interrupt": "an interrupt stops the worker, not the caller",
    },
    "ImmediateBackendTransactionTestCase": {
        "test_doesnt_wait_until_transaction_commit_by_default": (
            "no worker has the task before COMMIT"
        ),
    },
}
"""The tests that do not apply to a backend with workers, by class, and why."""

WITHOUT_RECORDS = (
    "test_cannot_get_result",
    "test_cannot_refresh_result",
    "test_cannot_pass_run_after",
)
"""Tests of what Immediate has not, which apply where jobs have no records."""

OURS = "gearmanny.contrib.django.tasks.GearmanBackend"


@pytest.fixture(autouse=True, scope="module")
def live(postgres: Postgres, django_db_setup: None, django_db_blocker: Any) -> Iterator[LiveTasks]:
    """The workers of the tests."""
    backends = {alias: {"BACKEND": OURS} for alias in ("default", "immediate")}
    with (
        postgres.database("suite") as entry,
        django_db_blocker.unblock(),
        default_database(entry),
        LiveTasks(entry, backends, "tasks", fetch()) as live,
    ):
        yield live


class OnOurs:
    """What the classes below have in common."""

    databases = {"default"}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__mro__:
            for name in LEFT_OUT.get(base.__name__, ()):
                setattr(cls, name, None)

    def tearDown(self) -> None:
        for result in Waiting.end_all():
            assert result.status == TaskResultStatus.SUCCESSFUL, result.errors
        super().tearDown()  # type: ignore[misc]


class TestCustomBackend(OnOurs, custom.CustomBackendTestCase):
    pass


if hasattr(custom, "CustomTaskTestCase"):  # since Django 6.1

    class TestCustomTask(OnOurs, custom.CustomTaskTestCase):
        pass


class TestDummyBackend(OnOurs, dummy.DummyBackendTestCase):
    def test_check(self) -> None:
        tasks = {"default": {"BACKEND": OURS, "QUEUES": ["default"]}}  # ours insists on names
        with override_settings(TASKS=tasks):
            super().test_check()


class TestDummyBackendInTransactions(OnOurs, dummy.DummyBackendTransactionTestCase):
    pass


class TestImmediateBackend(OnOurs, immediate.ImmediateBackendTestCase):
    pass


class TestImmediateBackendInTransactions(OnOurs, immediate.ImmediateBackendTransactionTestCase):
    pass


class TestImmediateBackendWithoutRecords(OnOurs, immediate.ImmediateBackendTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(override_settings(GEARMANNY=LiveTasks.current.settings()))


for name in unittest.defaultTestLoader.getTestCaseNames(immediate.ImmediateBackendTestCase):
    is_with = name not in WITHOUT_RECORDS
    setattr(TestImmediateBackendWithoutRecords if is_with else TestImmediateBackend, name, None)


class TestTasks(OnOurs, tasks.TaskTestCase):
    pass


def names_of(*classes: type[SimpleTestCase]) -> list[str]:
    names = unittest.defaultTestLoader.getTestCaseNames
    return [f"{kind.__name__}.{name}" for kind in classes for name in names(kind)]


def test_every_test_is_run_or_left_out_for_a_reason() -> None:
    modules = (custom, dummy, immediate, tasks)
    theirs = [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == module.__name__
        if issubclass(kind, unittest.TestCase)
    ]
    ours = [kind for kind in globals().values() if isinstance(kind, type)]
    run = names_of(*(kind for kind in ours if issubclass(kind, OnOurs) and kind is not OnOurs))
    left_out = {f"{kind}.{name}" for kind, names in LEFT_OUT.items() for name in names}
    assert left_out < set(names_of(*theirs))
    assert len(run) == len(names_of(*theirs)) - len(left_out)
    assert len(run) >= 65
