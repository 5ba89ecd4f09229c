"""Background jobs in a file, so that they survive a restart of the job server.

The file is an SQLite database with one table. Jobs are stored and deleted in a
transaction that ends with `commit()`: one commit for all jobs that arrive
together.

While the file cannot be written, for example because the disk is full, new jobs are refused. Jobs
that finish meanwhile are deleted later, when it can be written again; they run again only if the
server ends before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from typing import NamedTuple

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import SECONDS, whole_number
from gearmanny.protocol.queue import HIGH, LOW
from gearmanny.protocol.room import Refusal

logger = logging.getLogger("gearmanny.server")

_PRIORITY = whole_number(HIGH, LOW)

_FORMAT = 1
"""Version of the table, stored in the file as `user_version`."""

_TABLE = """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, function BLOB NOT NULL, unique_key BLOB NOT NULL,
        data BLOB NOT NULL, priority INTEGER NOT NULL, due REAL NOT NULL
    )
"""

_UNWRITABLE = b"The job server cannot write its store. Is the disk full?"

_PAUSE = 1.0
"""Seconds to wait after a failed write before the next attempt."""


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
            path: the file. It is created if it does not exist, readable by its owner only.

        Raises:
            InvalidOption: the file cannot be opened, is not a store, or is used by another server.
        """
        self._path = os.path.abspath(path)  # so that ":memory:" is a file, too
        self._kept: set[int] = set()
        """Rows stored since the last commit."""
        self._lost: set[int] = set()
        """Rows whose storing was rolled back."""
        self._done: set[int] = set()
        """Rows to delete with the next commit."""
        self._broken_at: float | None = None
        """When writing failed last, by the monotonic clock; None if the last write succeeded."""
        try:
            _make_private(self._path)
            self._database = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        except (OSError, sqlite3.Error, ValueError) as error:
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
        run("COMMIT")

    def jobs(self) -> Iterator[StoredJob]:
        """Yields the stored jobs in the order in which they were stored.

        Raises:
            InvalidOption: the file is damaged.
        """
        try:
            for row in self._database.execute(
                "SELECT id, function, unique_key, data, priority, due FROM jobs ORDER BY id"
            ):
                job = StoredJob(*row)
                if not _is_sound(job):
                    raise InvalidOption(f"row {job.row} of its table is not a job")
                yield job
        except (sqlite3.Error, InvalidOption) as error:
            raise self._unusable(error) from error

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
            Refusal: the file cannot be written.
        """
        try:
            if self._is_broken():
                raise Refusal(b"QUEUE_ERROR", _UNWRITABLE)
            self._begin()
            row = self._database.execute(
                "INSERT INTO jobs (function, unique_key, data, priority, due) "
                "VALUES (?, ?, ?, ?, ?)",
                (function, unique, data, priority, due),
            ).lastrowid
            assert row is not None
            if self._broken_at is None:
                self._kept.add(row)
            else:  # so that the client gets an error, and stays connected, if it is still broken
                self._database.execute("COMMIT")
                self._broken_at = None
        except sqlite3.Error as error:
            self._roll_back(error)
            raise Refusal(b"QUEUE_ERROR", _UNWRITABLE) from None
        return row

    def forget(self, row: int) -> None:
        """Deletes a job with the next `commit()`.

        Args:
            row: its row number, as returned by `keep`.
        """
        self._done.add(row)

    def commit(self) -> set[int]:
        """Makes what was stored and deleted durable.

        Returns:
            The rows of the jobs that could not be stored, because the file cannot be written.
        """
        if self._kept or (self._done and not self._is_broken()):
            try:
                self._begin()
                self._database.executemany(
                    "DELETE FROM jobs WHERE id = ?", [(row,) for row in self._done]
                )
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back(error)
            else:
                self._kept.clear()
                self._done.clear()
                self._broken_at = None
        lost, self._lost = self._lost, set()
        return lost

    def close(self) -> None:
        """Closes and unlocks the file. Changes that were not committed are lost."""
        self._database.close()

    def _begin(self) -> None:
        if not self._database.in_transaction:
            self._database.execute("BEGIN")

    def _is_broken(self) -> bool:
        return self._broken_at is not None and time.monotonic() - self._broken_at < _PAUSE

    def _roll_back(self, error: sqlite3.Error) -> None:
        """Handles a failure to write. Logs it once, until writing succeeds again."""
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back already
            self._database.execute("ROLLBACK")
        self._lost |= self._kept
        self._done -= self._kept
        self._kept.clear()
        if self._broken_at is None:
            logger.error(
                "the store %r cannot be written: %s. New background jobs are refused until it can "
                "be written again; stored ones still run.",
                self._path,
                error,
                extra={"action": "store_broken"},
            )
        if not self._is_broken():
            self._broken_at = time.monotonic()

    def _unusable(self, error: Exception) -> InvalidOption:
        reason = "another job server is using it" if "locked" in str(error) else str(error)
        return InvalidOption(
            f"The store {self._path!r} cannot be used: {reason}. Choose another file, in a folder "
            "that exists; the file itself is created."
        )


def _make_private(path: str) -> None:
    """Creates a file that only its owner can read, or makes an existing one so if it is ours.

    An existing file is not opened, because closing it would release the lock of another server in
    this process.

    Raises:
        OSError: the file cannot be created or changed.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # The target of a dangling link is not created: the author of the link would choose it.
        found = os.stat(path)
        # A folder that was given by mistake, such as /tmp, stays as it is.
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
            os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)


def _is_sound(job: StoredJob) -> bool:
    return (
        all(isinstance(text, bytes) for text in (job.function, job.unique, job.data))
        and _PRIORITY.allows(job.priority)
        and SECONDS.allows(job.due)
    )
