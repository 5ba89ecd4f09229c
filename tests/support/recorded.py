"""Jobs with a record, for tests of the workers that run them: handed over as callers do it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from gearmanny.errors import TaskTimeLimitExceeded
from gearmanny.records.ids import Travelling
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import State
from gearmanny.records.values import NewJob, Snapshot
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.worker import BaseWorker, RawWorker, task
from tests.contract.wire import P, Wire
from tests.support.servers import PATIENCE, Server, until


class Recorded(BaseWorker):
    """Has a task for each thing that may happen to a job with a record."""

    name = "recorded"

    def setUp(self) -> None:
        self.register_task("recorded_registered", registered)
        self.register_task("recorded_traced", traced)
        self.register_task("recorded_interrupted", interrupted)

    def task_echo(self, value: Any) -> Any:
        return value

    async def task_echo_later(self, value: Any) -> Any:
        return value

    def task_numbers(self, count: int) -> Iterator[int]:
        yield from range(count)

    async def task_numbers_later(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    def task_fail(self) -> None:
        raise ValueError("no luck")

    async def task_fail_later(self) -> None:
        raise ValueError("no luck")

    def task_unencodable(self) -> set[int]:
        return {1}

    @task(timeout=0.2)
    def task_endless(self) -> None:
        while True:
            time.sleep(0.01)

    def task_wait(self, path: str) -> int:
        """Says that it runs, and waits for a file."""
        self.progress(1, 3)
        with Path(f"{path}.runs").open("a") as file:
            file.write(f"{os.getpid()}\n")
        wait_for(path)
        return os.getpid()

    async def task_wait_later(self, path: str) -> int:
        Path(f"{path}.runs").write_text("1\n")
        while not Path(path).exists():
            await asyncio.sleep(0.01)
        return os.getpid()

    def task_report(self, path: str, fails: bool = False) -> None:
        """Reports progress, waits for a file, and reports more just before its end."""
        self.progress(1, 3)
        wait_for(path)
        self.progress(2, 3)
        if fails:
            raise ValueError("no luck")

    async def task_report_later(self, path: str, fails: bool = False) -> None:
        self.progress(1, 3)
        while not Path(path).exists():
            await asyncio.sleep(0.01)
        self.progress(2, 3)
        if fails:
            raise ValueError("no luck")

    @task(retries=1, backoff=3600)
    def task_report_twice(self, path: str, fails: bool = True) -> None:
        self.task_report(path, fails)

    def task_fork(self) -> list[list[int]]:
        """Returns the threads for records that are there before a fork, and after it."""
        before = threads()
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        return [before, threads()]

    def task_die(self) -> None:
        os._exit(7)


def threads() -> list[int]:
    """Returns the native ids of the threads that show that this process lives."""
    return [
        thread.native_id or 0
        for thread in threading.enumerate()
        if thread.name == "gearmanny records"
    ]


def interrupted(worker: GearmanWorker, job: GearmanJob) -> Any:
    raise KeyboardInterrupt


def traced(worker: GearmanWorker, job: GearmanJob) -> Any:
    return job.traceparent


def registered(worker: GearmanWorker, job: GearmanJob) -> Any:
    return [job.data, job.unique[:2]]


class Stubborn(BaseWorker):
    name = "stubborn"
    timeout_grace = 0.1

    @task(timeout=0.2)
    def task_go_on(self) -> None:
        while True:
            with contextlib.suppress(TaskTimeLimitExceeded):
                time.sleep(0.01)

    @task(timeout=0.2)
    async def task_block(self) -> None:
        while True:
            time.sleep(0.01)


class Bytes(BaseWorker):
    name = "bytes"
    work_class = RawWorker

    def task_turn(self, payload: bytes) -> bytes:
        return payload[::-1]

    def task_parts(self, payload: bytes) -> Iterator[bytes]:
        yield payload
        yield payload


def wait_for(path: str) -> None:
    deadline = time.monotonic() + 3 * PATIENCE
    while not Path(path).exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def runs(path: Path) -> list[str]:
    """Returns the processes in which a task that waits for a file has begun."""
    file = Path(f"{path}.runs")
    return file.read_text().split() if file.exists() else []


class Caller:
    """Submits jobs with records, as callers do, and hands them over as often as it is told."""

    def __init__(self, store: SQLStore, server: Server) -> None:
        self.store = store
        self._port = server.port

    def submit(self, function: str, arguments: Any = None, **options: Any) -> str:
        """Records a job; returns its id."""
        if not isinstance(arguments, bytes):
            arguments = json.dumps(arguments or {})
        (submitted,) = self.store.submit([NewJob(function, arguments, **options)])
        return submitted.id

    def hand_over(self, function: str, id: str, number: int = 1, store: str = "") -> bytes:
        """Hands a job over to the job server; returns its handle."""
        unique = bytes(Travelling(store or self.store.id, id, number))
        with Wire(self._port) as wire:
            return wire.submit(P.SUBMIT_JOB_BG, function.encode(), unique, b'{"not": "these"}')

    def call(self, function: str, arguments: Any = None, **options: Any) -> str:
        """Does both; returns the id."""
        id = self.submit(function, arguments, **options)
        self.hand_over(function, id)
        return id

    def at_server(self, function: str) -> list[int]:
        """How many jobs of a function the job server has, and how many of them are running."""
        with Wire(self._port) as wire:
            return (wire.row("status", function.encode()) or [0, 0, 0])[:2]

    def until_answered(self, function: str) -> None:
        """Waits until the job server has no job of a function any more."""
        until(lambda: self.at_server(function) == [0, 0], f"{function} answered")

    def look(self, id: str) -> Snapshot:
        snapshot = self.store.look(id)
        assert snapshot is not None
        return snapshot

    def until(self, id: str, state: State) -> Snapshot:
        """Waits for a state of a job."""
        until(lambda: self.look(id).state is state, f"the job being {state}")
        return self.look(id)

    def error(self, id: str) -> dict[str, Any]:
        """Waits until a job has failed; returns what its record says of that."""
        text = self.until(id, State.FAILED).error
        assert text is not None
        error: dict[str, Any] = json.loads(text)["gearmanny_error"]
        return error
