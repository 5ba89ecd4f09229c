"""Background jobs in a file, so that they survive the job server.

One table, in SQLite. What was kept and forgotten since the last `commit()`
becomes durable with it, all at once: one commit serves all jobs that arrive
together.

When the disk is full, no further job is kept, and those that are done are remembered until they
can be forgotten on disk too: so what there is can be worked off, and is done again only if the
server ends before there is room.
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
"""Of the table. Stands in the file as `user_version`."""

_TABLE = """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, function BLOB NOT NULL, unique_key BLOB NOT NULL,
        data BLOB NOT NULL, priority INTEGER NOT NULL, due REAL NOT NULL
    )
"""

_UNWRITABLE = b"The job server cannot write its store. Is the disk full?"

_PAUSE = 1.0
"""Seconds until a file that could not be written is tried again."""


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
            path: the file. It is made when it is missing, for its owner alone.

        Raises:
            InvalidOption: it cannot be opened, is something else, or another server uses it.
        """
        self._path = os.path.abspath(path)  # to SQLite, ":memory:" would be none
        self._kept: set[int] = set()
        """Rows since the last commit."""
        self._lost: set[int] = set()
        """Those of them that were rolled back."""
        self._done: set[int] = set()
        """Rows that are to be forgotten with the next commit."""
        self._broken_at: float | None = None
        """When it could not be written, by the clock that nobody sets."""
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
            raise InvalidOption("it is a database of something else")
        run("COMMIT")

    def jobs(self) -> Iterator[StoredJob]:
        """Yields what is there, in the order in which it was kept.

        Raises:
            InvalidOption: the file is damaged.
        """
        try:
            for row in self._database.execute(
                "SELECT id, function, unique_key, data, priority, due FROM jobs ORDER BY id"
            ):
                job = StoredJob(*row)
                if not _is_sound(job):
                    raise InvalidOption(f"row {job.row} of its table is no job")
                yield job
        except (sqlite3.Error, InvalidOption) as error:
            raise self._unusable(error) from error

    def keep(self, function: bytes, unique: bytes, data: bytes, priority: int, due: float) -> int:
        """Keeps a job from the next `commit()` on; returns the number by which to forget it.

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
            else:  # so that the client is told, and not disconnected, when it is still broken
                self._database.execute("COMMIT")
                self._broken_at = None
        except sqlite3.Error as error:
            self._roll_back(error)
            raise Refusal(b"QUEUE_ERROR", _UNWRITABLE) from None
        return row

    def forget(self, row: int) -> None:
        """Forgets a job from the next `commit()` on."""
        self._done.add(row)

    def commit(self) -> set[int]:
        """Makes durable what was kept and forgotten.

        Returns:
            The rows that are not kept, because the file cannot be written.
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
        """Gives the file back. What was not committed is lost."""
        self._database.close()

    def _begin(self) -> None:
        if not self._database.in_transaction:
            self._database.execute("BEGIN")

    def _is_broken(self) -> bool:
        return self._broken_at is not None and time.monotonic() - self._broken_at < _PAUSE

    def _roll_back(self, error: sqlite3.Error) -> None:
        """Takes notice that the file cannot be written. Logs it once, until it can."""
        with contextlib.suppress(sqlite3.Error):  # SQLite may have done so by itself
            self._database.execute("ROLLBACK")
        self._lost |= self._kept
        self._done -= self._kept
        self._kept.clear()
        if self._broken_at is None:
            logger.error(
                "the store %r cannot be written: %s. Background jobs are refused until it can; "
                "those that it holds are done.",
                self._path,
                error,
                extra={"action": "store_broken"},
            )
        if not self._is_broken():
            self._broken_at = time.monotonic()

    def _unusable(self, error: Exception) -> InvalidOption:
        reason = "another job server uses it" if "locked" in str(error) else str(error)
        return InvalidOption(
            f"The store {self._path!r} cannot be used: {reason}. Name another file, which need "
            "not exist, in a folder that does."
        )


def _make_private(path: str) -> None:
    """Makes a file that only its owner can read, or lets it be so where it is ours.

    One that is there is not opened: to close it would release the lock of another server in this
    process.

    Raises:
        OSError: that cannot be.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # Nor is a file made where a link leads to none: whoever made the link would choose it.
        if os.stat(path).st_uid == os.geteuid():
            os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)


def _is_sound(job: StoredJob) -> bool:
    return (
        all(isinstance(text, bytes) for text in (job.function, job.unique, job.data))
        and _PRIORITY.allows(job.priority)
        and SECONDS.allows(job.due)
    )
