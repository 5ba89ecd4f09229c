"""Database connections of a Django project: what one job leaves behind, the next does not meet."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gearmanny.client import AsyncClient, SimpleClient, WorkResult
from gearmanny.errors import TaskError
from tests.support.servers import PATIENCE, ROOT, Server, Start, until
from tools.postgres import Postgres

TABLES = ["CREATE TABLE written (n integer)", "CREATE TABLE audited (what text)"]

Query = Callable[[str], list[tuple[Any, ...]]]


def query_sqlite(path: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path, timeout=PATIENCE)
    try:
        with connection:
            return connection.execute(statement).fetchall()
    finally:
        connection.close()


def query_postgres(entry: dict[str, Any], statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(
        host=entry["HOST"],
        port=entry["PORT"],
        user=entry["USER"],
        password=entry["PASSWORD"],
        dbname=entry["NAME"],
        autocommit=True,
    ) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def start(start_command: Start) -> Start:
    """Starts `runworkers` of a project with this database: `start(entry, "audited", …)`."""

    def start(entry: dict[str, Any], *options: str, **environment: str) -> subprocess.Popen[str]:
        return start_command(
            "runworkers",
            *options,
            TEST_APP="tests.djangoapps.databases",
            TEST_DATABASES=json.dumps({"default": entry}),
            **environment,
        )

    return start


@pytest.fixture(params=["sqlite", "postgresql", "pool"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[dict[str, Any], Query]]:
    """A database whose connections last, and what asks it."""
    entry: dict[str, Any]
    if request.param == "sqlite":
        path = tmp_path / "written.db"
        entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
        query: Query = lambda statement: query_sqlite(path, statement)  # noqa: E731
    else:
        entry = request.getfixturevalue("postgres_database")
        query = lambda statement: query_postgres(entry, statement)  # noqa: E731
    for table in TABLES:
        query(table)
    if request.param == "pool":
        yield {**entry, "OPTIONS": {"pool": {"min_size": 1, "max_size": 1, "timeout": 5}}}, query
    else:
        yield {**entry, "CONN_MAX_AGE": None}, query


class TestInterruptedTasks:
    @pytest.mark.parametrize("function", ["begin_without_end", "swallow"])
    def test_what_is_written_afterwards_is_kept(
        self,
        start: Start,
        database: tuple[dict[str, Any], Query],
        gearman_client: SimpleClient,
        function: str,
    ) -> None:
        entry, query = database
        start(entry)
        for n in range(60):
            try:
                gearman_client.call(f"plain_{function}")
            except TaskError as error:
                assert error.type == "gearmanny.errors.TaskTimeLimitExceeded"
            gearman_client.plain_write(n=n)
        assert query("SELECT count(*) FROM written") == [(60,)]

    def test_so_is_what_the_next_attempt_writes(
        self, start: Start, database: tuple[dict[str, Any], Query], gearman_client: SimpleClient
    ) -> None:
        entry, query = database
        start(entry)
        for n in range(3):
            gearman_client.plain_write_at_last(n=n)
        assert query("SELECT count(*) FROM written") == [(3,)]

    def test_a_query_that_goes_on_is_not_the_next_job_s(
        self, start: Start, postgres_database: dict[str, Any], gearman_client: SimpleClient
    ) -> None:
        for table in TABLES:
            query_postgres(postgres_database, table)
        start({**postgres_database, "CONN_MAX_AGE": None})
        for n in range(3):
            with pytest.raises(TaskError, match="TaskTimeLimitExceeded"):
                gearman_client.plain_sleep()
            gearman_client.plain_write(n=n)

    @pytest.mark.parametrize("in_thread", [False, True])
    def test_the_same_holds_in_eager_mode_and_in_threads(
        self, tmp_path: Path, in_thread: bool
    ) -> None:
        path = tmp_path / "written.db"
        query_sqlite(path, TABLES[0])
        subprocess.run(
            [sys.executable, "-c", EAGER, str(path), *(["in-thread"] if in_thread else [])],
            cwd=ROOT,
            check=True,
            timeout=PATIENCE * 2,
        )
        assert query_sqlite(path, "SELECT count(*) FROM written") == [(40,)]


EAGER = """
import sys, threading
from django.conf import settings
database = {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1], "CONN_MAX_AGE": None}
settings.configure(DATABASES={"default": database})
import django; django.setup()
from gearmanny.client import SimpleClient
from gearmanny.contrib.django.testing import eager
from gearmanny.errors import TaskError
from tests.djangoapps.databases.workers import Plain

def call():
    with eager([Plain]), SimpleClient() as client:
        for n in range(40):
            try:
                client.plain_begin_without_end()
            except TaskError:
                pass
            client.plain_write(n=n)

if "in-thread" in sys.argv:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
else:
    call()
"""


INTERRUPTED = """
import sys
from django.conf import settings
database = {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[2], "CONN_MAX_AGE": None}
settings.configure(DATABASES={"default": database})
import django; django.setup()
from django.db import transaction
from gearmanny.contrib.django.hooks import healthy_connections
from tests.djangoapps.databases.workers import BaseWorker, execute

class Endless(BaseWorker):
    name = "endless"
    def task_loop(self):
        print("begun", flush=True)
        while True:
            with transaction.atomic():
                pass

worker = Endless([sys.argv[1]], hooks=[healthy_connections])
for n in range(10):
    try:
        worker.start()
    except KeyboardInterrupt:
        execute("INSERT INTO written VALUES (%s)", n)
"""


def test_what_is_written_after_an_interrupt_is_kept(
    gearman_server: Server, gearman_client: SimpleClient, tmp_path: Path
) -> None:
    path = tmp_path / "written.db"
    query_sqlite(path, TABLES[0])
    command = [sys.executable, "-c", INTERRUPTED, gearman_server.host, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        gearman_client.using(background=True).endless_loop()
        for _ in range(10):  # the job goes back each time, and is given out again
            assert worker.stdout.readline() == "begun\n"
            worker.send_signal(signal.SIGINT)
        assert worker.wait(PATIENCE) == 0
    assert query_sqlite(path, "SELECT count(*) FROM written") == [(10,)]


@pytest.mark.parametrize("how", ["atomic", "begin", "autocommit"])
def test_a_transaction_that_a_task_leaves_open_ends_with_its_job(
    start: Start,
    database: tuple[dict[str, Any], Query],
    gearman_client: SimpleClient,
    how: str,
) -> None:
    entry, query = database
    start(entry)
    for n in range(3):
        gearman_client.plain_leave_open(how=how)
        gearman_client.plain_write(n=n)
    assert query("SELECT count(*) FROM written") == [(3,)]


class TestCoroutines:
    def test_they_get_rid_of_a_dead_connection(
        self, start: Start, own_postgres: Postgres, gearman_client: SimpleClient
    ) -> None:
        def works() -> bool:
            try:
                gearman_client.asynchronous_backend()
            except TaskError:
                return False
            return True

        with own_postgres.database("restarted") as entry:
            start({**entry, "CONN_MAX_AGE": None})
            before = gearman_client.asynchronous_backend()
            assert gearman_client.asynchronous_backend() == before, "the connection is kept"
            own_postgres.restart()
            until(works, "a new connection")

    def test_connections_that_are_not_to_last_are_closed(
        self, start: Start, postgres_database: dict[str, Any], gearman_client: SimpleClient
    ) -> None:
        start(postgres_database)  # whose CONN_MAX_AGE is 0
        gearman_client.asynchronous_backend()

        def open_connections() -> int:
            (row,) = query_postgres(
                postgres_database,
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid != pg_backend_pid()",
            )
            return int(row[0])

        until(lambda: open_connections() == 0, "the connection being closed")

    def test_a_neighbour_s_connection_stays_open(
        self,
        start: Start,
        postgres_database: dict[str, Any],
        gearman_server: Server,
        gearman_client: SimpleClient,
        tmp_path: Path,
    ) -> None:
        start(postgres_database)
        path = tmp_path / "reading"
        with AsyncClient([gearman_server.host]) as client:
            work = client.asynchronous_read_slowly(path=str(path))
            until(path.exists, "the query")
            gearman_client.asynchronous_backend()
            path.unlink()
            assert work.get_result(PATIENCE) == 10_000

    @pytest.fixture
    def idle_neighbour(
        self, gearman_server: Server, tmp_path: Path
    ) -> Iterator[Callable[[], WorkResult]]:
        """Lets another job do nothing for as long as the test takes."""
        path = tmp_path / "idle"
        with AsyncClient([gearman_server.host]) as client:

            def start() -> WorkResult:
                work = client.asynchronous_idle(path=str(path))
                until(path.exists, "the neighbour")
                return work

            yield start
            path.unlink(missing_ok=True)

    @pytest.mark.parametrize("how", ["atomic", "begin", "autocommit"])
    def test_a_transaction_that_is_left_open_beside_a_neighbour_ends(
        self,
        start: Start,
        database: tuple[dict[str, Any], Query],
        gearman_client: SimpleClient,
        idle_neighbour: Callable[[], WorkResult],
        how: str,
    ) -> None:
        entry, query = database
        start(entry)
        idle_neighbour()
        for n in range(3):
            gearman_client.asynchronous_leave_open(how=how)
            gearman_client.asynchronous_write(n=n)
        assert query("SELECT count(*) FROM written") == [(3,)]

    def test_health_checks_hold_beside_a_neighbour(
        self,
        start: Start,
        own_postgres: Postgres,
        gearman_client: SimpleClient,
        idle_neighbour: Callable[[], WorkResult],
    ) -> None:
        with own_postgres.database("checked") as entry:
            start({**entry, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True})
            before = gearman_client.asynchronous_backend()
            idle_neighbour()
            gearman_client.asynchronous_backend()
            own_postgres.restart()
            assert gearman_client.asynchronous_backend() != before

    def test_a_hook_may_use_the_database(
        self, start: Start, database: tuple[dict[str, Any], Query], gearman_client: SimpleClient
    ) -> None:
        entry, query = database
        hygiene = "gearmanny.contrib.django.hooks.healthy_connections"
        start(
            entry,
            "asynchronous",
            "audited",
            TEST_HOOKS=f"{hygiene},tests.djangoapps.databases.workers.audit",
        )
        gearman_client.asynchronous_write(n=1)
        with pytest.raises(TaskError, match="not for us"):
            gearman_client.asynchronous_write(n=-1)
        twice = ["asynchronous_write", "asynchronous_write done", "rejected"]
        until(lambda: len(query("SELECT what FROM audited")) == 3, "the hook being left")
        assert [what for (what,) in query("SELECT what FROM audited")] == twice
        gearman_client.audited_write(n=2)
        until(lambda: len(query("SELECT what FROM audited")) == 7, "the hooks being left")
        assert query("SELECT n FROM written ORDER BY n") == [(1,), (2,)]

    def test_one_that_is_cancelled_leaves_a_sound_connection(
        self, start: Start, postgres_database: dict[str, Any], gearman_client: SimpleClient
    ) -> None:
        for table in TABLES:
            query_postgres(postgres_database, table)
        start({**postgres_database, "CONN_MAX_AGE": None})
        for n in range(3):
            with pytest.raises(TaskError, match="TaskTimeLimitExceeded"):
                gearman_client.asynchronous_sleep()
            gearman_client.asynchronous_write(n=n)
        assert query_postgres(postgres_database, "SELECT count(*) FROM written") == [(3,)]
