"""Background jobs in a file, so that they survive a restart of the job server.

The file is an SQLite database with one table. Jobs are stored and deleted in a
transaction that ends with `commit()`: one commit for all jobs that arrive
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
"""Version of the table, stored in the file as `user_version`."""

_TABLE = """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, function BLOB NOT NULL, unique_key BLOB NOT NULL,
        data BLOB NOT NULL, priority INTEGER NOT NULL, due REAL NOT NULL
    )
"""


class StoredJob(NamedTuple):
    """A stored job."""

    row: int
    function: bytes
    unique: bytes
    data: bytes
    priority: int
    due: float
    """When to run it, in seconds since the epoch; 0 for at once."""


class Store:
    """The background jobs of one job server, which locks the file.

    Use it only in the thread that created it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """
        Args:
            path: the file. It is created if it does not exist.

        Raises:
            InvalidOption: the file cannot be opened, is not a store, or is used by another server.
        """
        self._path = os.path.abspath(path)  # so that ":memory:" is a file, too
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
            raise InvalidOption("it is the database of another program")
        self._database.commit()

    def jobs(self) -> list[StoredJob]:
        """Returns the stored jobs in the order in which they were stored.

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
        """Stores a job with the next `commit()`.

        Args:
            function: the name of its function.
            unique: its unique id; empty for none.
            data: its payload.
            priority: its priority.
            due: when to run it, in seconds since the epoch; 0 for at once.

        Returns:
            The row number to pass to `forget`.

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
        """Deletes a job with the next `commit()`.

        Args:
            row: its row number, as returned by `keep`.

        Raises:
            GearmanException: the file cannot be written.
        """
        self._write("DELETE FROM jobs WHERE id = ?", (row,))

    def commit(self) -> None:
        """Makes what was stored and deleted durable.

        Raises:
            GearmanException: the file cannot be written.
        """
        if self._database.in_transaction:
            with self._writing():
                self._database.commit()

    def close(self) -> None:
        """Closes and unlocks the file. Changes that were not committed are lost."""
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
                f"The store {self._path!r} cannot be written: {error}. It contains all jobs "
                "accepted before: repair or free the disk, then start the server again."
            ) from error

    def _unusable(self, error: Exception) -> InvalidOption:
        reason = "another job server is using it" if "locked" in str(error) else str(error)
        return InvalidOption(
            f"The store {self._path!r} cannot be used: {reason}. Choose another file, in a folder "
            "that exists; the file itself is created."
        )
