"""What the tests of the contract have in common."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from django.test import SimpleTestCase

from gearmanny.contrib.django.compat import TaskResultStatus, task_backends

if TYPE_CHECKING:
    TestCase = SimpleTestCase
else:
    TestCase = object  # so that nobody runs the tests who only imports them


class Contract(TestCase):
    """The base of the tests."""

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

    @property
    def backend(self) -> Any:
        """The backend."""
        return task_backends[self.alias]

    def task(self, name: str, **changes: Any) -> Any:
        """Returns a task of `taskcontract.tasks`.

        Args:
            name: its name.
            **changes: of `using()`.
        """
        return getattr(self.tasks, name).using(backend=self.alias, **changes)

    @property
    def tasks(self) -> ModuleType:
        """The module of the tasks, which is imported in the settings of the test."""
        return import_module("gearmanny.contrib.django.taskcontract.tasks")

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
