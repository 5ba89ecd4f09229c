"""Tests of the kinds of tasks, of their arguments, and of what `using()` changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async
from django.utils import timezone

from gearmanny.contrib.django.compat import InvalidTask, TaskResultDoesNotExist, TaskResultStatus
from gearmanny.contrib.django.taskcontract.base import Contract


class Options(Contract):
    """What tasks may be, and be called with."""

    def test_arguments_arrive(self) -> None:
        for value in self.tasks.PLAIN.values():
            self.assertEqual(self.value(self.task("echo").enqueue(value)), [[value], {}])

    def test_arguments_are_normalized(self) -> None:
        result = self.task("echo").enqueue(b"two", three=(3, None))
        self.assertEqual((result.args, result.kwargs), (["two"], {"three": [3, None]}))
        self.assertEqual(self.value(result), [["two"], {"three": [3, None]}])

    def test_return_values_are_normalized(self) -> None:
        result = self.task("give_a_tuple").enqueue()
        self.assertEqual(self.value(result), [{"a": [1, "two"]}, None])

    def test_nan_and_infinity_arrive_or_are_refused(self) -> None:
        self.try_arguments("not a number", "infinity")

    def test_keys_that_are_not_text_arrive_or_are_refused(self) -> None:
        self.try_arguments("key that is a number")

    def test_texts_that_databases_refuse_arrive_or_are_refused(self) -> None:
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
