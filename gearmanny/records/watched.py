"""The part of the store in a database that is for who waits for a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gearmanny.records import looking
from gearmanny.records.changes import changes_of
from gearmanny.records.connections import Connections
from gearmanny.records.ids import canonical
from gearmanny.records.listening import SharedListener
from gearmanny.records.values import Changes, Snapshot
from gearmanny.records.waiting import Listener

Answer = TypeVar("Answer")


class WatchedSQL:
    """The base of the store; `gearmanny.records.waiting.Watched` says what it does."""

    def __init__(self, connections: Connections) -> None:
        """
        Args:
            connections: to the database.
        """
        self._connections = connections
        self._listener = SharedListener(self.changes)

    @property
    def notifies(self) -> bool:
        connector = self._connections.connector
        return connector.dialect.notifies and connector.has_sessions

    @property
    def listener(self) -> Listener:
        return self._listener

    def watch(self, id: str) -> Snapshot | None:
        id = canonical(id)
        read = looking.watch if self.notifies else looking.look
        return self._connections.run(lambda session: read(session, id))

    def changes(self) -> Changes:
        self._connections.run(lambda session: None)  # the tables exist
        return changes_of(self._connections.connector, self._connections.tables)

    def waits_in_vain(self, id: str) -> bool:
        return False

    async def aside(self, ask: Callable[[], Answer]) -> Answer:
        import asyncio  # noqa: PLC0415  workers without coroutines have no use for it

        return await asyncio.to_thread(ask)
