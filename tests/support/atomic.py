"""Tasks that are one transaction, for tests of the workers that run them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psycopg

from gearmanny.worker import BaseWorker, task
from tests.support.recorded import wait_for


class Account(BaseWorker):
    """Its tasks write into a table, in the transaction that they are given."""

    name = "account"
    connection: ClassVar[Any] = None
    """The one that has the transaction."""
    interferes: ClassVar[list[Callable[[], object]]] = []
    """Called by a task when it has written, one in each run."""

    def write(self, value: int) -> None:
        self.connection.execute(f"INSERT INTO written (value) VALUES ({value})")
        if self.interferes:
            self.interferes.pop(0)()

    @task(atomic=True)
    def task_write(self, value: int) -> int:
        self.write(value)
        return value

    @task(atomic=True)
    def task_write_all(self, values: list[int]) -> Iterator[int]:
        while values:
            value = values.pop(0)
            self.write(value)
            yield value

    @task(atomic=True)
    def task_fail(self, value: int) -> None:
        self.write(value)
        raise ValueError("no luck")

    @task(atomic=True)
    def task_unencodable(self, value: int) -> set[int]:
        self.write(value)
        return {value}

    @task(atomic=True, timeout=0.3)
    def task_endless(self, value: int) -> None:
        self.write(value)
        wait_for("/nowhere")

    @task(atomic=True, retries=1, backoff=0)
    def task_second(self, value: int) -> int:
        self.write(value)
        if self.job.attempt == 1:
            raise ValueError("the first attempt")
        return value

    @task(atomic=True)
    def task_wait(self, value: int, path: str) -> None:
        self.write(value)
        Path(f"{path}.runs").write_text("1\n")
        wait_for(path)

    @task(atomic=True)
    def task_returns_a_coroutine(self, value: int) -> Any:
        self.write(value)
        return self.soon(value)

    async def soon(self, value: int) -> int:
        return value


@contextlib.contextmanager
def transaction(url: str) -> Iterator[Any]:
    """What atomic tasks run in, on PostgreSQL."""
    with contextlib.closing(psycopg.connect(url)) as connection, connection:
        Account.connection = connection
        yield connection
        Commit.before()


class Commit:
    before: ClassVar[Callable[[], object]] = staticmethod(lambda: None)
    """Called when everything is written."""
