"""The connection of a process to its store: one, made when it is needed, and made anew.

All threads share it, one statement or transaction at a time. A child that was forked forgets it and
makes its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from gearmanny.errors import StoreUnavailable
from gearmanny.net.forks import keep_from_children, this_process
from gearmanny.records import schema
from gearmanny.records.connectors import Connector
from gearmanny.records.presence import Presence
from gearmanny.records.session import ATTEMPTS, Session
from gearmanny.records.templates import Tables

Result = TypeVar("Result")

_inherited: list[object] = []
"""Connections of parents. Closing one here would end the session of the parent."""


class SocketOf:
    """The socket of a connection, for as long as it is open."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def fileno(self) -> int:
        if self._connection.closed:
            return -1
        number: int = self._connection.fileno()
        return number


class Connections:
    """The connection of this process, whichever it is."""

    def __init__(
        self,
        connector: Connector,
        tables: Tables,
        find_store: Callable[[Session], str] = schema.ensure,
    ) -> None:
        """
        Args:
            connector: the way to the database.
            tables: their names.
            find_store: returns the short id of the store on a new connection. Creates the tables,
                unless somebody else does that.
        """
        self.connector = connector
        self.tables = tables
        self._find_store = find_store
        self.store_id: str | None = None
        self._forget()

    def _forget(self) -> None:
        self._forks = this_process.forks
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._descriptor: SocketOf | None = None
        self._presence: Presence | None = None

    def _forget_what_is_inherited(self) -> None:
        if self._forks != this_process.forks:
            _inherited.extend((self._session, self._presence))
            self._forget()

    @property
    def presence(self) -> Presence | None:
        """The lock of this process, which is taken again with each new connection."""
        self._forget_what_is_inherited()
        return self._presence

    @presence.setter
    def presence(self, presence: Presence | None) -> None:
        self._forget_what_is_inherited()
        self._presence = presence

    def run(self, operation: Callable[[Session], Result]) -> Result:
        """Returns what an operation returns, with a session of our own.

        It is called again on a new connection when the old one turns out to be lost, and when it
        met other transactions. So it may be repeated.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        self._forget_what_is_inherited()
        with self._lock:
            # SQLite has waited for others already.
            may_heal = self._session is not None and self.connector.dialect.notifies
            for attempt in range(ATTEMPTS):
                session = self._session or self._connect()
                try:
                    return operation(session)
                except Exception as error:
                    if session.dialect.is_conflict(error) and attempt + 1 < ATTEMPTS:
                        continue
                    if not session.dialect.is_lost(error, session.connection):
                        raise
                    self._close()
                    if not may_heal:
                        raise StoreUnavailable(f"The store does not answer: {error}") from error
                    may_heal = False
                except BaseException:  # it may have come between a statement and its answer
                    self._close()
                    raise
            raise StoreUnavailable("The store does not come to rest.")

    def close(self) -> None:
        """Closes the connection of this process. The next operation makes another."""
        self._forget_what_is_inherited()
        with self._lock:
            self._close()

    def _connect(self) -> Session:
        session = Session(
            self.connector.connect(),
            self.connector.dialect,
            self.tables,
            prepares=self.connector.dialect.notifies and self.connector.has_sessions,
        )
        try:
            if session.dialect.notifies:
                self._descriptor = keep_from_children(SocketOf(session.connection))
            self.store_id = self._find_store(session)
            if self._presence is not None:
                self._presence.hold(session)
        except BaseException as error:
            is_lost = isinstance(error, Exception) and session.dialect.is_lost(
                error, session.connection
            )
            session.connection.close()
            if is_lost:
                raise StoreUnavailable(f"The store does not answer: {error}") from error
            raise
        self._session = session
        return session

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.connection.close()
