"""The store of records in a database of the project.

Callers use Django's own connection, and so the transaction that is open there: a rollback takes the
job back, and nothing is handed over before COMMIT. Workers and dispatchers use a connection of the
store's own, which no task can break, close or roll back.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from gearmanny.contrib.django.commits import commit_outbox_of
from gearmanny.contrib.django.connectors import connector_of, is_in_memory
from gearmanny.contrib.django.guard import is_test
from gearmanny.contrib.django.schema import DIALECTS, TABLES, find_store
from gearmanny.errors import StoreUnavailable
from gearmanny.records import submitting
from gearmanny.records.changes import Unknown
from gearmanny.records.connections import Connections
from gearmanny.records.connectors import Connector
from gearmanny.records.contract import HandOver
from gearmanny.records.doubts import Doubts
from gearmanny.records.presence import Presence
from gearmanny.records.processes import new_process
from gearmanny.records.schedules import SQLSchedules
from gearmanny.records.session import ATTEMPTS, Session
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import State
from gearmanny.records.templates import Dialect
from gearmanny.records.values import Changes, Claim, NewJob, Process, Snapshot, Submitted
from gearmanny.records.watched import WatchedSQL

Result = TypeVar("Result")


def _name(alias: str) -> str:
    """Returns the name of a database, which is another one during tests."""
    return str(connections.settings[alias]["NAME"])


class TransactionStore(SQLStore):
    """A store whose statements are those of the caller, on Django's connection of its thread."""

    def __init__(self, alias: str) -> None:
        """
        Args:
            alias: of the database, in DATABASES.
        """
        self.alias = alias
        WatchedSQL.__init__(self, DjangoConnections(alias))
        self._doubts = Doubts()
        self._thread = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.alias,)

    def record(self, jobs: Sequence[NewJob], hand_over: HandOver) -> list[Submitted]:
        self.id  # noqa: B018 - the client needs it when the jobs leave
        connection = connections[self.alias]

        def submit(session: Session) -> list[Submitted]:
            if connection.in_atomic_block:
                return submitting.submit(session, jobs)
            if not connection.get_autocommit():
                # Nobody says when this transaction is committed, so the dispatchers look.
                return submitting.submit(session, [job._replace(handed_over=False) for job in jobs])
            if len(jobs) == 1:
                return submitting.submit(session, jobs)
            with session.transaction():
                return submitting.submit(session, jobs)

        submitted = self._run(submit)
        if ours := [job for job in submitted if job.is_handed_over]:
            outbox = commit_outbox_of(connection)
            # It does not raise, but in tests, which call job servers that they should not.
            robust = not is_test()
            transaction.on_commit(lambda: outbox.send(hand_over, ours), self.alias, robust)
        return submitted

    def sees_one_moment(self) -> bool:
        """Returns whether the transaction that is open here sees everything as it was when that
        began."""
        if connections[self.alias].vendor == "sqlite":
            return True
        level = self._run(lambda session: session.row("SHOW transaction_isolation"))
        return level != ("read committed",)

    async def aside(self, ask: Callable[[], Result]) -> Result:
        return await sync_to_async(ask)()

    def changes(self) -> Changes:
        return Unknown()

    # For the workers of eager mode. Nobody looks whether this process lives: it is registered with
    # its first claim, in the thread of the connection, not in the one that shows signs of life.

    def register(
        self, *, pool: str = "", runner: str = "", functions: str = "{}", client_id: str = ""
    ) -> Process:
        self._thread = threading.get_ident()
        process = new_process(pool=pool, runner=runner, functions=functions, client_id=client_id)
        self._connections.presence = Presence(process)
        return process

    def renew(self) -> bool:
        return self._is_elsewhere() or super().renew()

    def progress(self, claim: Claim, numerator: int, denominator: int) -> bool:
        return self._is_elsewhere() or super().progress(claim, numerator, denominator)

    def leave(self) -> None:
        self._connections.presence = None

    def _is_elsewhere(self) -> bool:
        return threading.get_ident() != self._thread


class DjangoStore(SQLStore):
    """The store of a project, for its callers, workers and dispatchers."""

    def __init__(self, alias: str) -> None:
        """
        Args:
            alias: of the database, in DATABASES.
        """
        self.alias = alias
        WatchedSQL.__init__(self, OwnConnections(alias))
        self._doubts = Doubts()
        self.of_callers = TransactionStore(alias)

    def __reduce__(self) -> tuple[Any, ...]:
        return store_in, (self.alias,)

    @property
    def id(self) -> str:
        known = self.of_callers._connections.store_id
        return super().id if known is None else known

    def record(self, jobs: Sequence[NewJob], hand_over: HandOver) -> list[Submitted]:
        return self.of_callers.record(jobs, hand_over)

    async def aside(self, ask: Callable[[], Result]) -> Result:
        return await self.of_callers.aside(ask)  # the thread of Django's ORM has the transaction

    @property
    def notifies(self) -> bool:
        return not is_test() and super().notifies  # a test database could not be removed

    def waits_in_vain(self, id: str) -> bool:
        if not self._is_inside():
            return False
        return self.of_callers.sees_one_moment() or super().look(id) is None

    def look(self, id: str) -> Snapshot | None:
        return self.of_callers.look(id) if self._is_inside() else super().look(id)

    def cancel(self, id: str) -> State | None:
        return self.of_callers.cancel(id) if self._is_inside() else super().cancel(id)

    def revive(self, id: str) -> bool:
        return self.of_callers.revive(id) if self._is_inside() else super().revive(id)

    @property
    def schedules(self) -> SQLSchedules:
        return self.of_callers.schedules if self._is_inside() else super().schedules

    def _is_inside(self) -> bool:
        """Returns whether the caller is in a transaction, whose records others do not see yet."""
        connection = connections[self.alias]
        return connection.in_atomic_block or is_in_memory(connection)


@functools.cache
def store_in(alias: str) -> DjangoStore:
    """Returns the store in the database of an alias, one for all of this process."""
    return DjangoStore(alias)


class DjangoConnections(Connections):
    """Django's connections, each of which belongs to a thread."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._ids: dict[str, str] = {}
        super().__init__(_Nowhere(alias), TABLES)  # type: ignore[arg-type]

    @property
    def store_id(self) -> str | None:
        """The short id of the store, if it is known."""
        return self._ids.get(_name(self._alias))

    @store_id.setter
    def store_id(self, id: str | None) -> None:
        """Ids are kept by the names of databases."""

    def run(self, operation: Callable[[Session], Result]) -> Result:
        connection = connections[self._alias]
        connection.validate_no_broken_transaction()
        for attempt in range(ATTEMPTS):
            try:
                return self._run_once(connection, operation)
            except (OperationalError, InterfaceError) as error:
                if connection.in_atomic_block:
                    raise  # which ends the transaction of the caller
                if attempt + 1 < ATTEMPTS and self._met_another(connection, error):
                    continue
                connection.close_if_unusable_or_obsolete()
                raise StoreUnavailable(f"The store does not answer: {error}") from error
        raise AssertionError("The last attempt returns or raises.")

    def _run_once(
        self, connection: BaseDatabaseWrapper, operation: Callable[[Session], Result]
    ) -> Result:
        connection.ensure_connection()
        with connection.wrap_database_errors:
            session = _DjangoSession(connection)
            if self.store_id is None:
                self._ids[_name(self._alias)] = find_store(self._alias, session)
            return operation(session)

    def _met_another(self, connection: BaseDatabaseWrapper, error: Exception) -> bool:
        """Returns whether a transaction of our own met another one, and may be tried again."""
        cause = error.__cause__
        return (
            connection.autocommit
            and isinstance(cause, Exception)
            and self.connector.dialect.is_conflict(cause)
        )

    def close(self) -> None:
        """Leaves them to Django."""


class _DjangoSession(Session):
    """Statements over a connection of Django's."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection.connection, DIALECTS[connection.vendor], TABLES)
        self._alias = connection.alias

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with transaction.atomic(using=self._alias):
            yield


class _Nowhere:
    """Makes no connections."""

    has_sessions = False

    def __init__(self, alias: str) -> None:
        self._alias = alias

    @property
    def dialect(self) -> Dialect:
        return DIALECTS[connections[self._alias].vendor]

    def connect(self) -> Any:
        raise AssertionError("Django makes its connections.")

    def presence(self, process: Process) -> Presence:
        return Presence(process)

    def is_locked(self, process: str) -> bool:
        return False

    def forget_lock(self, process: str) -> None:
        """There are no files."""


class OwnConnections(Connections):
    """The connection of this process to the database of an alias, whatever its name is now."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._name = ""
        super().__init__(None, TABLES, functools.partial(find_store, alias))  # type: ignore[arg-type]

    def run(self, operation: Callable[[Session], Result]) -> Result:
        self._follow()
        try:
            return super().run(operation)
        finally:
            if is_test() and self.presence is None:
                self.close()  # a test database could not be removed

    @property
    def connector(self) -> Connector:
        """The way to the database."""
        self._follow()
        return self._connector

    @connector.setter
    def connector(self, connector: Connector) -> None:
        """It is made when it is needed."""

    def _follow(self) -> None:
        """Goes over to another database where the alias has one, as during tests."""
        name = _name(self._alias)
        if name == self._name:
            return
        self._forget_what_is_inherited()
        with self._lock:  # the first threads of a process come together
            if name != self._name:
                self._close()
                self._connector = connector_of(self._alias)
                self.store_id = None
                self._name = name
