"""Connections to an SQLite file."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from gearmanny.errors import InvalidOption, StoreUnavailable
from gearmanny.records.dialects import SQLITE
from gearmanny.records.presence import FileLock, Presence, forget_lock, is_locked, lock_file
from gearmanny.records.templates import Dialect
from gearmanny.records.values import Process

BUSY_TIMEOUT = 30.0
"""Seconds for which a write waits for the others: they are short."""

_OLDEST = (3, 35)
"""RETURNING, and MATERIALIZED."""


class SQLiteConnector:
    """The way to an SQLite file. All its processes run on the same host."""

    dialect: Dialect = SQLITE
    has_sessions = False

    def __init__(self, path: str) -> None:
        """
        Args:
            path: of the file, which is created when it is missing.

        Raises:
            InvalidOption: SQLite is too old, or the path cannot be one.
        """
        if sqlite3.sqlite_version_info < _OLDEST:
            raise InvalidOption(
                f"SQLite {sqlite3.sqlite_version} is too old for a store. Use 3.35 or later."
            )
        if "\0" in path:
            raise InvalidOption("The path of a store contains a NUL.")
        self.path = Path(os.path.abspath(path))  # a worker may change its directory
        self._folder = self.path.with_name(f"{self.path.name}-processes")

    def connect(self) -> Any:
        try:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            is_no_database = not isinstance(error, sqlite3.OperationalError)
            hint = "" if is_no_database else " Its folder has to exist, and to be writable."
            raise StoreUnavailable(
                f"The store {str(self.path)!r} cannot be opened: {error}.{hint}"
            ) from error
        return connection

    def _prepare(self, connection: Any) -> None:
        deadline = time.monotonic() + BUSY_TIMEOUT
        while True:
            try:
                # A second one that switches at the same time is refused at once, not made to wait.
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
                break
            except Exception as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        connection.execute("PRAGMA synchronous = FULL")

    def presence(self, process: Process) -> Presence:
        return FileLock(process, self._folder)

    def is_locked(self, process: str) -> bool:
        return is_locked(lock_file(self._folder, process))

    def forget_lock(self, process: str) -> None:
        forget_lock(lock_file(self._folder, process))
