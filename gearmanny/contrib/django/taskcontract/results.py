"""Tests of results."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.utils import timezone

from gearmanny.contrib.django.compat import (
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
)
from gearmanny.contrib.django.taskcontract.base import Contract


class Results(Contract):
    """What becomes of a task, as its result has it."""

    def test_enqueued_task_is_ready(self) -> None:
        with self.busy_worker():
            before = timezone.now()
            result = self.task("echo").enqueue(1, two=[2])
            for each in (result, self.task("echo").get_result(result.id)):
                self.assertEqual(each.status, TaskResultStatus.READY)
                self.assertIs(each.is_finished, False)
                self.assertEqual((each.args, each.kwargs), ([1], {"two": [2]}))
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
        result = self.task("echo").enqueue(1, two=[2])
        self.assertEqual(self.value(result), [[1], {"two": [2]}])
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
