"""The worker that most tests call, and the gate that holds its tasks back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from gearmanny.client import Data, Progress, Warning
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE


class Gate:
    """Holds tasks back until a test lets them go."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self._lock = threading.Lock()
        self._entered = threading.Semaphore(0)
        self.runs = 0
        """How many tasks have come to it."""

    def pass_through(self) -> int:
        """Waits until the gate is opened; returns how many had come by then, this one included."""
        with self._lock:
            self.runs += 1
            run = self.runs
        self._entered.release()
        assert self.opened.wait(PATIENCE)
        return run

    def wait_for_entry(self) -> None:
        """Waits until one more task has come."""
        assert self._entered.acquire(timeout=PATIENCE)


class Refused(Exception):
    """An exception with arguments of its own."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)


class Called(BaseWorker):
    """Has a task for each thing that a call may meet."""

    name = "called"
    gate = Gate()

    def setUp(self) -> None:
        self.seen: list[Any] = []

    def task_echo(self, value: Any) -> Any:
        return value

    def task_note(self, value: Any) -> int:
        """Returns how many values this worker has noted in `seen`."""
        self.seen.append(value)
        return len(self.seen)

    def task_fail(self) -> None:
        raise ValueError("no luck")

    def task_refuse(self) -> None:
        raise Refused(7, "as told")

    def task_unencodable(self) -> set[int]:
        return {1, 2}

    def task_pass(self) -> int:
        """Returns its number among those that came to the gate."""
        return self.gate.pass_through()

    def task_held(self, value: Any = None) -> Any:
        """Returns the value; reports its progress before the gate and behind it."""
        self.progress(1, 2)
        self.gate.pass_through()
        self.progress(2, 2)
        return value

    def task_report(self) -> str:
        """Sends `REPORTS`."""
        self.progress(1, 4)
        self.send_job_data({"part": 1})
        self.send_job_warning("careful")
        self.progress(4, 4)
        return "reported"

    def task_numbers(self, count: int) -> Iterator[int]:
        yield from range(count)

    def task_rows(self) -> Iterator[str]:
        yield "first"
        self.gate.pass_through()
        yield "second"

    def task_break(self) -> Iterator[int]:
        yield 1
        raise ValueError("broken")


REPORTS = [Progress(1, 4), Data({"part": 1}), Warning("careful"), Progress(4, 4)]
