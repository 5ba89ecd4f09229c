"""Tests for backends of Django's Tasks that have workers and keep results.

A test case of Django's, mixed with `TaskBackendContract`, runs them for a backend::

    @override_settings(TASKS={"default": {"BACKEND": "shop.backend.Backend"}})
    class TestBackend(TaskBackendContract, SimpleTestCase):
        databases = {"default"}

        @classmethod
        @contextlib.contextmanager
        def run_worker(cls):
            with subprocess.Popen(["./manage.py", "shop_worker"]) as worker:
                yield
                worker.terminate()
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections, transaction
from django.test import SimpleTestCase
from django.utils import timezone

from gearmanny.contrib.django.compat import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
    task_enqueued,
)

if TYPE_CHECKING:
    _Base = SimpleTestCase
else:
    _Base = object  # so that nobody runs the tests who only imports them


class TaskBackendContract(_Base):
    """The tests. Mix them with a test case that may use the database of the tasks, and whose
    transactions are real: no `TestCase`."""

    alias = "default"
    """The alias of the backend in TASKS."""
    database = "default"
    """The alias of the database whose transactions the backend takes part in."""
    other_queue = "other"
    """The name of a queue of the backend besides `default`, which the worker serves, too."""
    patience = 20.0
    """The seconds that a task may take before it counts as lost."""

    @classmethod
    def run_worker(cls) -> contextlib.AbstractContextManager[object]:
        """Returns a context in which a worker runs, in a process of its own.

        It does one task at a time, in the settings of the test, and is started anew where a task
        ends its process.
        """
        raise NotImplementedError

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.enterClassContext(cls.run_worker())

    def setUp(self) -> None:
        super().setUp()
        self._folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    # For the tests.

    @property
    def backend(self) -> Any:
        """The backend."""
        return task_backends[self.alias]

    def task(self, name: str, **changes: Any) -> Any:
        """Returns a task of `contracttasks`.

        Args:
            name: its name.
            **changes: of `using()`.
        """
        return getattr(self.tasks, name).using(backend=self.alias, **changes)

    @property
    def tasks(self) -> ModuleType:
        """The module of the tasks, which is imported in the settings of the test."""
        return import_module("gearmanny.contrib.django.contracttasks")

    def path(self, name: str) -> str:
        """Returns the path of a file of this test."""
        return str(self._folder / name)

    def until_status(self, result: Any, *statuses: TaskResultStatus) -> None:
        """Waits until a task has one of some statuses."""
        deadline = time.monotonic() + self.patience
        result.refresh()
        while result.status not in statuses:
            self.assertLess(time.monotonic(), deadline, f"The task is still {result.status}.")
            time.sleep(0.005)
            result.refresh()

    def ended(self, result: Any) -> Any:
        """Returns the result of a task after its end."""
        self.until_status(result, TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED)
        return result

    def value(self, result: Any) -> Any:
        """Returns what a task returns."""
        self.ended(result)
        self.assertEqual(result.status, TaskResultStatus.SUCCESSFUL, result.errors)
        return result.return_value

    @contextlib.contextmanager
    def busy_worker(self) -> Iterator[None]:
        """Keeps the worker busy: it takes no other task before the end of the block."""
        path = self.path("go on")
        blocker = self.task("wait_for").enqueue(path)
        self.until_status(blocker, TaskResultStatus.RUNNING)
        try:
            yield
        finally:
            Path(path).touch()
            self.ended(blocker)

    # Results.

    def test_enqueued_task_is_ready(self) -> None:
        with self.busy_worker():
            before = timezone.now()
            result = self.task("echo").enqueue(1, b"two", three=(3, None))
            for each in (result, self.task("echo").get_result(result.id)):
                self.assertEqual(each.status, TaskResultStatus.READY)
                self.assertIs(each.is_finished, False)
                self.assertEqual((each.args, each.kwargs), ([1, "two"], {"three": [3, None]}))
                self.assertEqual((each.attempts, each.worker_ids, each.errors), (0, [], []))
                self.assertIsNone(each.started_at)
                self.assertIsNone(each.finished_at)
                self.assertIsNone(each.last_attempted_at)
                self.assertLess(abs(each.enqueued_at - before), timedelta(seconds=10))
                self.assertEqual(each.backend, self.alias)
                with self.assertRaisesMessage(ValueError, "Task has not finished yet"):
                    each.return_value  # noqa: B018
            self.assertIsInstance(result.id, str)
            self.assertLessEqual(len(result.id), 64)

    def test_successful_task(self) -> None:
        result = self.task("echo").enqueue(1, b"two", three=(3, None))
        self.assertEqual(self.value(result), [[1, "two"], {"three": [3, None]}])
        self.assertEqual((result.attempts, len(result.worker_ids), result.errors), (1, 1, []))
        self.assertIsInstance(result.worker_ids[0], str)
        times = [result.enqueued_at, result.started_at, result.finished_at]
        self.assertEqual(times, sorted(times))
        self.assertEqual(result.last_attempted_at, result.started_at)
        self.assertEqual({timezone.is_aware(time) for time in times}, {settings.USE_TZ})

    def test_result_is_the_same_however_it_is_retrieved(self) -> None:
        task = self.task("echo", queue_name=self.other_queue)
        result = self.ended(task.enqueue("a", b=1))
        for found in (task.get_result(result.id), self.backend.get_result(result.id)):
            self.assertEqual(found, result)
            self.assertEqual(found.task, task)
            self.assertEqual(found.return_value, result.return_value)

    def test_failed_task(self) -> None:
        result = self.ended(self.task("fail").enqueue("no luck"))
        self.assertEqual(result.status, TaskResultStatus.FAILED)
        with self.assertRaisesMessage(ValueError, "Task failed"):
            result.return_value  # noqa: B018
        (error,) = result.errors
        self.assertEqual(error.exception_class_path, f"{self.tasks.__name__}.Refused")
        self.assertIs(error.exception_class, self.tasks.Refused)
        self.assertTrue(error.traceback.startswith("Traceback "), error.traceback)
        self.assertIn("in fail\n", error.traceback)
        self.assertTrue(error.traceback.endswith("Refused: no luck\n"), error.traceback)
        self.assertEqual((result.attempts, len(result.worker_ids)), (1, 1))
        self.assertIsNotNone(result.finished_at)

    def test_exceptions_that_would_end_a_program_fail_the_task(self) -> None:
        for name, error in {"leave": "SystemExit", "cancel": "CancelledError"}.items():
            result = self.ended(self.task(name).enqueue())
            self.assertEqual(result.status, TaskResultStatus.FAILED)
            self.assertEqual(result.errors[0].exception_class.__name__, error)
            self.assertEqual(self.value(self.task("echo").enqueue()), [[], {}])

    def test_return_value_that_is_not_json_fails_the_task(self) -> None:
        result = self.ended(self.task("give_an_object").enqueue())
        self.assertEqual(result.status, TaskResultStatus.FAILED)
        self.assertIs(result.errors[0].exception_class, TypeError)

    def test_result_that_does_not_exist(self) -> None:
        for id in ("123", "", str(uuid4()), "x" * 64, "x" * 1000):
            with self.assertRaises(TaskResultDoesNotExist):
                self.backend.get_result(id)

    def test_result_of_another_task(self) -> None:
        result = self.task("echo").enqueue()
        with self.assertRaises(TaskResultMismatch):
            self.task("leave").get_result(result.id)

    # Arguments and return values.

    def test_arguments_arrive(self) -> None:
        for value in self.tasks.PLAIN.values():
            self.assertEqual(self.value(self.task("echo").enqueue(value)), [[value], {}])

    def test_arguments_that_json_has_not_arrive_or_are_refused(self) -> None:
        self.try_arguments("not a number", "infinity")

    def test_arguments_that_json_changes_arrive_or_are_refused(self) -> None:
        self.try_arguments("key that is a number")

    def test_arguments_that_databases_refuse_arrive_or_are_refused(self) -> None:
        self.try_arguments("null character", "lone surrogate")

    def try_arguments(self, *names: str) -> None:
        """Enqueues values; those that are not refused must arrive."""
        for name in names:
            try:
                result = self.task("echo").enqueue(self.tasks.ODD[name])
            except (TypeError, ValueError):
                continue
            self.assert_same(self.value(result), [[self.tasks.ODD[name]], {}])

    def test_return_values_arrive(self) -> None:
        for name, value in self.tasks.PLAIN.items():
            self.assertEqual(self.value(self.task("give").enqueue(name)), value)

    def test_odd_return_values_arrive_or_fail_their_tasks(self) -> None:
        for name, value in self.tasks.ODD.items():
            result = self.ended(self.task("give").enqueue(name))
            if result.status == TaskResultStatus.SUCCESSFUL:
                self.assert_same(result.return_value, value)

    def assert_same(self, first: Any, second: Any) -> None:
        """Compares values by their text, as NaN is not equal to itself."""
        self.assertEqual(repr(first), repr(second))

    def test_argument_that_is_not_json_is_refused(self) -> None:
        for value in (object(), datetime.now(), {1, 2}):
            with self.assertRaises(TypeError):
                self.task("echo").enqueue(value)
        with self.assertRaises(ValueError):
            self.task("echo").enqueue(b"\xff")

    # What tasks are.

    def test_task_takes_context(self) -> None:
        result = self.task("look_around").enqueue(5)
        self.assertEqual(self.value(result), [result.id, "RUNNING", 1, [5], 1])

    def test_async_task(self) -> None:
        if not self.backend.supports_async_task:
            with self.assertRaises((InvalidTask, AttributeError)):
                self.task("echo_later")
            return
        self.assertEqual(self.value(self.task("echo_later").enqueue(1, a=2)), [[1], {"a": 2}])

    async def test_coroutines(self) -> None:
        task = self.task("echo")
        result = await task.aenqueue(1)
        await sync_to_async(self.ended)(result)
        found = await task.aget_result(result.id)
        self.assertEqual(found, result)
        await found.arefresh()
        self.assertEqual(found.return_value, [[1], {}])
        with self.assertRaises(TaskResultDoesNotExist):
            await task.aget_result("123")

    def test_queues(self) -> None:
        task = self.task("echo", queue_name=self.other_queue)
        result = self.ended(task.enqueue(1))
        self.assertEqual(self.backend.get_result(result.id).task.queue_name, self.other_queue)
        if self.backend.queues:
            with self.assertRaises(InvalidTask):
                self.task("echo", queue_name="of nobody")

    def test_later_task(self) -> None:
        due = timezone.now() + timedelta(seconds=0.5)
        if not self.backend.supports_defer:
            with self.assertRaises(InvalidTask):
                self.task("echo", run_after=due)
            return
        later = self.task("echo", run_after=due).enqueue()
        past = self.task("echo", run_after=due - timedelta(days=1)).enqueue()
        self.value(past)
        self.value(later)
        self.assertGreaterEqual(later.started_at, due)
        self.assertEqual(self.backend.get_result(later.id).task.run_after, due)

    def test_priorities(self) -> None:
        if not self.backend.supports_priority:
            with self.assertRaises(InvalidTask):
                self.task("note", priority=1)
            return
        path = self.path("order")
        with self.busy_worker():
            results = [
                self.task("note", priority=priority).enqueue(path, f"{priority}")
                for priority in (-10, 0, 10, -10, 0, 10)
            ]
        for result in results:
            self.value(result)
        self.assertEqual(Path(path).read_text().split(), ["10", "10", "0", "0", "-10", "-10"])
        self.assertEqual(self.backend.get_result(results[0].id).task.priority, -10)

    # Transactions.

    @contextlib.contextmanager
    def table(self) -> Iterator[str]:
        """Makes a table for the block; yields its name."""
        name = f"contract_{uuid4().hex}"
        with connections[self.database].cursor() as cursor:
            cursor.execute(f"CREATE TABLE {name} (name varchar(50))")
            try:
                yield name
            finally:
                cursor.execute(f"DROP TABLE {name}")

    def insert(self, table: str, name: str) -> None:
        """Writes a name into a table."""
        with connections[self.database].cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} VALUES (%s)", [name])

    def test_task_finds_what_its_transaction_wrote(self) -> None:
        with self.table() as table:
            with transaction.atomic(using=self.database):
                result = self.task("names").enqueue(table, self.database)
                self.insert(table, "committed")
                result.refresh()
                self.assertEqual(result.status, TaskResultStatus.READY)
            self.assertEqual(self.value(result), ["committed"])

    def test_task_is_rolled_back_with_its_transaction(self) -> None:
        path = self.path("lines")
        with contextlib.suppress(ZeroDivisionError), transaction.atomic(using=self.database):
            lost = self.task("note").enqueue(path, "rolled back")
            raise ZeroDivisionError
        self.value(self.task("note").enqueue(path, "after it"))
        self.assertEqual(Path(path).read_text(), "after it\n")
        with self.assertRaises(TaskResultDoesNotExist):
            lost.refresh()

    # Signals.

    def test_signal_of_the_caller(self) -> None:
        seen = []

        def receive(sender: Any, task_result: Any, **kwargs: Any) -> None:
            seen.append((sender, task_result.id, task_result.status))

        task_enqueued.connect(receive)
        try:
            result = self.task("echo").enqueue()
        finally:
            task_enqueued.disconnect(receive)
        self.assertEqual(seen, [(type(self.backend), result.id, TaskResultStatus.READY)])

    def test_signals_of_the_worker(self) -> None:
        self.observe("SUCCESSFUL", "no exception", False)
        self.observe("FAILED", "Refused", True)

    def test_receivers_that_raise_change_nothing(self) -> None:
        self.observe("SUCCESSFUL", "no exception", False, True)
        self.observe("FAILED", "Refused", True, True)

    def observe(self, status: str, handled: str, *args: Any) -> None:
        """Runs a task whose signals are observed."""
        path = self.path(status)
        result = self.ended(self.task("observed").enqueue(path, *args))
        self.value(self.task("echo").enqueue())  # the worker sends the signals of one before
        self.assertEqual(str(result.status), status)
        self.assertEqual(
            Path(path).read_text().splitlines(),
            [
                "started, RUNNING, 1, class, no exception",
                f"finished, {status}, 1, class, {handled}",
            ],
        )

    # Workers.

    def test_task_whose_process_dies_comes_to_an_end(self) -> None:
        result = self.ended(self.task("die_at_first").enqueue(self.path("died")))
        self.assertGreaterEqual(len(result.errors), 1)
        if result.status == TaskResultStatus.SUCCESSFUL:
            self.assertEqual((result.attempts, len(result.worker_ids)), (2, 2))
