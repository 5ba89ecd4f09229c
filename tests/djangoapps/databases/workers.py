"""Workers that leave their database connections in every state."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, transaction

from gearmanny.hooks import RejectJob
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker, task


def execute(statement: str, *values: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def new_cursor() -> Any:
    return connection.chunked_cursor()  # of the thread that asks


@contextlib.contextmanager
def audit(job: GearmanJob) -> Iterator[None]:
    """Writes what is called into the database."""
    if job.data == {"n": -1}:
        execute("INSERT INTO audited VALUES (%s)", "rejected")
        raise RejectJob("negative numbers are not for us")
    execute("INSERT INTO audited VALUES (%s)", job.task)
    yield
    execute("INSERT INTO audited VALUES (%s)", f"{job.task} done")


class Plain(BaseWorker):
    name = "plain"

    def task_write(self, n: int) -> None:
        execute("INSERT INTO written VALUES (%s)", n)

    @task(timeout=0.01)
    def task_begin_without_end(self) -> None:
        while True:
            with transaction.atomic():
                pass

    @task(timeout=0.01)
    def task_swallow(self) -> None:
        with contextlib.suppress(BaseException):
            self.task_begin_without_end()

    @task(timeout=1, retries=1, backoff=0)
    def task_write_at_last(self, n: int) -> None:
        if self.job.attempt == 1:
            self.task_swallow()
            raise OSError("not yet")
        self.task_write(n)

    @task(timeout=0.2)
    def task_sleep(self) -> None:
        execute("SELECT pg_sleep(60)")

    def task_leave_open(self, how: str) -> None:
        if how == "atomic":
            transaction.atomic().__enter__()
        elif how == "autocommit":
            transaction.set_autocommit(False)
        execute("BEGIN" if how == "begin" else "SELECT 1")

    def task_backend(self) -> int:
        return execute("SELECT pg_backend_pid()")[0][0]  # type: ignore[no-any-return]


class Asynchronous(BaseWorker):
    name = "asynchronous"
    concurrency = 2

    async def task_write(self, n: int) -> int:
        await sync_to_async(execute)("INSERT INTO written VALUES (%s)", n)
        return os.getpid()

    async def task_backend(self) -> int:
        return (await sync_to_async(execute)("SELECT pg_backend_pid()"))[0][0]  # type: ignore[no-any-return]

    async def task_leave_open(self, how: str) -> None:
        def leave_open() -> None:
            Plain.task_leave_open(None, how)  # type: ignore[arg-type]

        await sync_to_async(leave_open)()

    async def task_idle(self, path: str) -> None:
        with open(path, "w"):
            pass
        while os.path.exists(path):
            await asyncio.sleep(0.01)

    async def task_read_slowly(self, path: str) -> int:
        """Returns how many rows a query has, which is read while others are done."""
        cursor = await sync_to_async(new_cursor)()
        await sync_to_async(cursor.execute)("SELECT generate_series(1, 10000)")
        rows = await sync_to_async(cursor.fetchmany)(10)
        with open(path, "w"):
            pass
        while os.path.exists(path):
            await asyncio.sleep(0.01)
        rows += await sync_to_async(cursor.fetchall)()
        await sync_to_async(cursor.close)()
        return len(rows)

    @task(timeout=0.1)
    async def task_sleep(self) -> None:
        await sync_to_async(execute)("SELECT pg_sleep(0.5)")


class Audited(Asynchronous):
    name = "audited"
    hooks = [audit]
