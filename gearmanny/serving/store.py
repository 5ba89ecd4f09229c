"""Background jobs in a file, so that they survive the job server.

One table, in SQLite. What was kept and forgotten since the last `commit()`
becomes durable with it, all at once: one commit serves all jobs that arrive
together.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from gearmanny.errors import GearmanException, InvalidOption

_FORMAT = 1
"""Of the table. Stands in the file as `user_version`."""

_TABLE = """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, function BLOB NOT NULL, unique_key BLOB NOT NULL,
        data BLOB NOT NULL, priority INTEGER NOT NULL, due REAL NOT NULL
    )
"""


class StoredJob(NamedTuple):
    """A job that has not been done yet."""

    row: int
    function: bytes
    unique: bytes
    data: bytes
    priority: int
    due: float
    """Seconds since the epoch, 0 for at once."""


class Store:
    """The background jobs of one job server, which has the file for itself.

    For one thread: that which made it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """
        Args:
            path: the file. It is made when it is missing.

        Raises:
            InvalidOption: it cannot be opened, is something else, or another server uses it.
        """
        self._path = os.path.abspath(path)  # to SQLite, ":memory:" would be none
        try:
            self._database = sqlite3.connect(self._path, timeout=0)
        except (sqlite3.Error, ValueError) as error:
            raise self._unusable(error) from error
        try:
            self._open()
        except (sqlite3.Error, InvalidOption) as error:
            self._database.close()
            raise self._unusable(error) from error

    def _open(self) -> None:
        run = self._database.execute
        # Before the first access, so that a second server is refused, and no other file is needed.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("BEGIN IMMEDIATE")
        (format_,) = run("PRAGMA user_version").fetchone()
        if format_ == 0 and not run("SELECT 1 FROM sqlite_master").fetchone():
            run(_TABLE)
            run(f"PRAGMA user_version = {_FORMAT}")
        elif format_ != _FORMAT:
            raise InvalidOption("it is a database of something else")
        self._database.commit()

    def jobs(self) -> list[StoredJob]:
        """Returns what is there, in the order in which it was kept.

        Raises:
            InvalidOption: the file is damaged.
        """
        try:
            rows = self._database.execute(
                "SELECT id, function, unique_key, data, priority, due FROM jobs ORDER BY id"
            ).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return [StoredJob(*row) for row in rows]

    def keep(self, function: bytes, unique: bytes, data: bytes, priority: int, due: float) -> int:
        """Keeps a job from the next `commit()` on; returns the number by which to forget it.

        Raises:
            GearmanException: the file cannot be written.
        """
        row = self._write(
            "INSERT INTO jobs (function, unique_key, data, priority, due) VALUES (?, ?, ?, ?, ?)",
            (function, unique, data, priority, due),
        ).lastrowid
        assert row is not None
        return row

    def forget(self, row: int) -> None:
        """Forgets a job from the next `commit()` on. Raises what `keep` raises."""
        self._write("DELETE FROM jobs WHERE id = ?", (row,))

    def commit(self) -> None:
        """Makes durable what was kept and forgotten. Raises what `keep` raises."""
        if self._database.in_transaction:
            with self._writing():
                self._database.commit()

    def close(self) -> None:
        """Gives the file back. What was not committed is lost."""
        self._database.close()

    def _write(self, statement: str, values: tuple[bytes | float, ...]) -> sqlite3.Cursor:
        with self._writing():
            return self._database.execute(statement, values)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise GearmanException(
                f"The store {self._path!r} cannot be written: {error}. What was accepted before "
                "is in it: mend the disk, and start again."
            ) from error

    def _unusable(self, error: Exception) -> InvalidOption:
        reason = "another job server uses it" if "locked" in str(error) else str(error)
        return InvalidOption(
            f"The store {self._path!r} cannot be used: {reason}. Name another file, which need "
            "not exist, in a folder that does."
        )
