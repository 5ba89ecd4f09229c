"""Tests of transactions, of signals, and of workers that die."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.db import connections, transaction

from gearmanny.contrib.django.compat import (
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
)
from gearmanny.contrib.django.taskcontract.base import Contract


class Effects(Contract):
    """What others notice of a task."""

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

    def test_task_whose_process_dies_comes_to_an_end(self) -> None:
        result = self.ended(self.task("die_at_first").enqueue(self.path("died")))
        self.assertGreaterEqual(len(result.errors), 1)
        if result.status == TaskResultStatus.SUCCESSFUL:
            self.assertEqual((result.attempts, len(result.worker_ids)), (2, 2))
