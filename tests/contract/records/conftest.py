"""Every test of this folder runs on PostgreSQL and on SQLite, unless it is about one of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gearmanny.records.sql import SQLStore
from gearmanny.records.values import Claimed, NewJob, Process
from tests.support.servers import PATIENCE, until


def url_of(entry: dict[str, Any]) -> str:
    """The URL of a store, in a database that Django would reach by this entry."""
    place = f"{entry['HOST']}:{entry['PORT']}/{entry['NAME']}"
    return f"postgresql://{entry['USER']}:{entry['PASSWORD']}@{place}"


class Database:
    """A database for one test, and everything that it opens there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_postgres = url.startswith("postgresql")
        self._opened: list[Any] = []

    def open(self, setting: str = "", **options: Any) -> SQLStore:
        """Opens the store as another process would, with a setting of PostgreSQL such as
        `"lock_timeout=10"`."""
        setting = setting and f"?options=-c%20{setting.replace('=', '%3D')}"
        store = SQLStore(self.url + setting, **options)
        self._opened.append(store)
        return store

    def connect(self) -> Any:
        """Makes a session of the driver's own, without transactions of its own."""
        connection: Any
        if self.is_postgres:
            connection = psycopg.connect(self.url, autocommit=True)
        else:
            path = self.url.removeprefix("sqlite:///")
            connection = sqlite3.connect(
                path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
        self._opened.append(connection)
        return connection

    def begin(self) -> Any:
        """The same, in a transaction that may write."""
        connection = self.connect()
        connection.execute("BEGIN" if self.is_postgres else "BEGIN IMMEDIATE")
        return connection

    def execute(self, statement: str, *values: object) -> list[Any]:
        """Executes a statement; `%s` stands for values."""
        statement = statement if self.is_postgres else statement.replace("%s", "?")
        cursor = self.connect().execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def until_blocked(self, call: Future[Any]) -> None:
        """Waits until a statement of a session waits for another session."""
        if self.is_postgres:
            until(
                lambda: self.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type='Lock' "
                                     "AND datname = current_database()"),
                "a statement that waits",
            )  # fmt: skip
        assert not call.done()

    def close(self) -> None:
        for opened in self._opened:
            opened.close()


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgresql":
        url = url_of(request.getfixturevalue("postgres_database"))
    else:
        url = f"sqlite:///{tmp_path / 'jobs.db'}"
    database = Database(url)
    yield database
    database.close()


only_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
"""For races that SQLite cannot have: it has one writer at a time, who sees everything."""

only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def store(database: Database) -> SQLStore:
    return database.open()


@pytest.fixture
def other(database: Database) -> SQLStore:
    """The same store, with a session of its own."""
    return database.open()


@pytest.fixture
def process(store: SQLStore) -> Process:
    """This process, as `store` registered it."""
    return store.register(pool="tests")


Claiming = Callable[..., Claimed]


@pytest.fixture
def running(store: SQLStore, process: Process) -> Claiming:
    """Submits a job, and claims it."""

    def submit_and_claim(function: str = "f", **options: Any) -> Claimed:
        (submitted,) = store.submit([NewJob(function, **options)])
        claimed = store.claim(submitted.id, function, 1, process.id)
        assert isinstance(claimed, Claimed)
        return claimed

    return submit_and_claim


@pytest.fixture
def in_thread() -> Iterator[Callable[..., Future[Any]]]:
    """Calls functions in threads."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit
