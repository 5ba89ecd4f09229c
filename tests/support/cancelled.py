"""Tasks that are tried again later, and tasks that are cancelled while they run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg

from gearmanny.errors import JobCancelled, TaskTimeLimitExceeded
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.worker import BaseWorker, Job, task
from tests.support.recorded import wait_for


class Trying(BaseWorker):
    """Fails until its third attempt."""

    name = "trying"

    def setUp(self) -> None:
        self.seen: list[tuple[int, str]] = []
        """The number of each attempt, and what hooks saw of its end."""
        self.hooks = (self.look,)

    @contextlib.contextmanager
    def look(self, job: Job) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.seen.append((job.attempt, type(error).__name__))
            raise
        self.seen.append((job.attempt, ""))

    def third(self) -> int:
        attempt: int = self.job.attempt
        if attempt < 3:
            raise ValueError(f"attempt {attempt}")
        return attempt

    @task(retries=2, backoff=0)
    def task_plain(self) -> int:
        return self.third()

    @task(retries=2, backoff=0)
    async def task_later(self) -> int:
        return self.third()

    @task(retries=2, backoff=0)
    def task_parts(self) -> Iterator[int]:
        yield 0
        yield self.third()

    @task(retries=2, backoff=0)
    async def task_parts_later(self) -> AsyncIterator[int]:
        yield 0
        yield self.third()

    @task(retries=2, backoff=0)
    def task_changed(self, values: list[int]) -> list[int]:
        values.append(self.third())
        return values

    @task(retries=1, backoff=0, timeout=0.1, retry_on=TaskTimeLimitExceeded)
    def task_hasty(self) -> str:
        if self.job.attempt == 1:
            wait_for("/nowhere")
        return "in time"

    @task(retries=1, backoff=lambda attempt: attempt * 86_400.0)
    def task_tomorrow(self) -> None:
        raise ValueError("not today")

    @task(retries=1, backoff=lambda attempt: 1e10)
    def task_never(self) -> None:
        raise ValueError("not in this life")

    @task(retries=1, backoff=lambda attempt: attempt / 0)
    def task_unreckoned(self) -> None:
        raise ValueError("no luck")

    @task(retries=1, backoff=lambda attempt: attempt / 0)
    async def task_unreckoned_later(self) -> None:
        raise ValueError("no luck")

    @task(retries=1, backoff=0)
    def task_hopeless(self) -> None:
        raise ValueError(f"attempt {self.job.attempt}")

    @task(retries=1, backoff=0)
    def task_wait_and_fail(self, path: str) -> None:
        Path(f"{path}.runs").write_text("1\n")
        wait_for(path)
        raise ValueError("all the same")

    def task_pid(self) -> int:
        return os.getpid()


class Cancellable(BaseWorker):
    """Its tasks say by a file that they run, and go on for ever."""

    name = "cancellable"
    timeout_grace = 2.0

    def setUp(self) -> None:
        self.register_task("cancellable_registered", registered)

    def begin(self, path: str) -> None:
        Path(f"{path}.runs").write_text(f"{os.getpid()}\n")

    def task_sleep(self, path: str) -> None:
        self.begin(path)
        time.sleep(1000)

    def task_steps(self, path: str) -> None:
        self.begin(path)
        while True:
            time.sleep(0.01)

    @task(retries=5, backoff=0)
    def task_again_and_again(self, path: str) -> None:
        self.begin(path)
        time.sleep(1000)

    @task(timeout=500)
    def task_limited(self, path: str) -> None:
        self.begin(path)
        time.sleep(1000)

    def task_socket(self, path: str) -> None:
        reader, writer = socket.socketpair()
        with reader, writer:
            self.begin(path)
            reader.recv(1)

    def task_query(self, path: str) -> None:
        url = Path(f"{path}.url").read_text()
        with psycopg.connect(url) as connection:
            self.begin(path)
            connection.execute("SELECT pg_sleep(1000)")

    def task_in_c(self, path: str) -> int:
        divisor = (1 << 8_000_000) + 1
        self.begin(path)
        return (1 << 16_000_000) % divisor

    def task_parts(self, path: str) -> Iterator[int]:
        yield 1
        self.begin(path)
        time.sleep(1000)

    async def task_later(self, path: str) -> None:
        self.begin(path)
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            Path(f"{path}.cancelled").touch()
            raise

    async def task_parts_later(self, path: str) -> AsyncIterator[int]:
        yield 1
        self.begin(path)
        await asyncio.sleep(1000)

    async def task_block(self, path: str) -> None:
        self.begin(path)
        while True:
            time.sleep(0.01)

    def task_fork(self, path: str) -> None:
        """The helper lives on."""
        child = os.fork()
        if not child:
            signal.pause()
        try:
            self.begin(path)
            os.waitpid(child, 0)
        finally:
            Path(f"{path}.helper").write_text(str(child))

    def task_swallow(self, path: str) -> str:
        try:
            self.begin(path)
            time.sleep(1000)
        except JobCancelled as error:
            return str(error)
        return "?"

    def task_wrap(self, path: str) -> None:
        try:
            self.begin(path)
            time.sleep(1000)
        except Exception as error:
            raise ValueError("something else") from error

    def task_wrap_steps(self, path: str) -> None:
        try:
            self.begin(path)
            wait_for("/nowhere")
        except Exception as error:
            raise ValueError("something else") from error

    def task_go_on(self, path: str) -> None:
        self.begin(path)
        while True:
            with contextlib.suppress(JobCancelled):
                time.sleep(0.01)

    def task_pid(self) -> int:
        return os.getpid()


def registered(worker: GearmanWorker, job: GearmanJob) -> Any:
    Path(f"{job.data['path']}.runs").write_text(f"{os.getpid()}\n")
    time.sleep(1000)
