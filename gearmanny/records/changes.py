"""Waiting for changes: woken where the database can do that, asking elsewhere."""

from __future__ import annotations

import time
from typing import Any

from gearmanny.errors import StoreUnavailable
from gearmanny.net.forks import keep_from_children
from gearmanny.records.connections import SocketOf
from gearmanny.records.connectors import Connector
from gearmanny.records.templates import Tables
from gearmanny.records.values import Change, Changes

_ANYTHING = Change("anything")

_SHORTEST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
"""Seconds between two looks, where the database wakes nobody. The pauses double."""


def changes_of(connector: Connector, tables: Tables) -> Changes:
    """Returns the wait that a database allows for.

    Raises:
        StoreUnavailable: it cannot be reached.
    """
    if not connector.dialect.notifies:
        return _Asked(connector)
    return _Notified(connector, tables.channel) if connector.has_sessions else Unknown()


class _Base:
    def close(self) -> None:
        """Closes the connection."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Notified(_Base):
    """LISTEN on PostgreSQL."""

    def __init__(self, connector: Connector, channel: str) -> None:
        self._connector = connector
        self._channel = channel
        self._connection: Any = None
        self._listen()

    def wait(self, timeout: float) -> list[Change]:
        if self._connection is None:
            self._listen()
            return [_ANYTHING]  # what happened meanwhile, nobody said
        try:
            heard = list(self._connection.notifies(timeout=timeout, stop_after=1))
        except Exception as error:
            if not self._connection.closed:
                raise
            self._connection = None
            raise StoreUnavailable(f"The store does not answer: {error}") from error
        return [Change(*notify.payload.split(" ", 1)) for notify in heard]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _listen(self) -> None:
        connection = self._connector.connect()
        self._descriptor = keep_from_children(SocketOf(connection))
        try:
            connection.execute(f'LISTEN "{self._channel}"')
        except Exception as error:
            is_lost = self._connector.dialect.is_lost(error, connection)
            connection.close()
            if is_lost:
                raise StoreUnavailable(f"The store does not answer: {error}") from error
            raise
        self._connection = connection


class _Asked(_Base):
    """SQLite tells whether another connection has written."""

    def __init__(self, connector: Connector) -> None:
        self._connection = connector.connect()
        self._version = self._data_version()

    def wait(self, timeout: float) -> list[Change]:
        until = time.monotonic() + timeout
        pause = _SHORTEST_PAUSE
        while True:
            version = self._data_version()
            if version != self._version:
                self._version = version
                return [_ANYTHING]
            remaining = until - time.monotonic()
            if remaining <= 0:
                return []
            time.sleep(min(pause, remaining))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def close(self) -> None:
        self._connection.close()

    def _data_version(self) -> int:
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version


class Unknown(_Base):
    """Behind a pooler nobody says anything: after a pause, anything may have changed."""

    def wait(self, timeout: float) -> list[Change]:
        if timeout <= 0:
            return []
        time.sleep(min(timeout, _LONGEST_PAUSE))
        return [_ANYTHING]
