"""The database connections of a thread when a job in it has ended."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("gearmanny.worker")

_ACTIVE, _IN_TRANSACTION, _IN_ERROR = _OPEN = 1, 2, 3
"""PostgreSQL's status of a connection on which a query runs, or a transaction is open."""


def tidy_up() -> None:
    """Closes connections that broke or outlived `CONN_MAX_AGE`, and those on which a transaction
    is still open."""
    _end_transactions()
    close_old_connections()


def tidy_up_beside_others() -> None:
    """Closes connections that broke, and those on which a transaction is still open, but no others:
    other jobs use them."""
    _end_transactions()
    connection: Any  # the types of Django know less of it
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        connection.health_check_done = False
        if connection.errors_occurred:
            if connection.is_usable():
                connection.errors_occurred = False
            else:
                connection.close()


def _end_transactions() -> None:
    """Closes connections on which a transaction is open: the next job would write in it, and lose
    what it wrote."""
    for connection in connections.all(initialized_only=True):
        if _in_transaction(connection):
            logger.warning(
                "a job left a transaction open on the database %r; it is rolled back",
                connection.alias,
                extra={"action": "transaction_left_open"},
            )
            discard(connection)


def discard_all() -> None:
    """Closes all connections and their pools, whatever their flags say: a task was interrupted,
    perhaps between a statement and the flag that records it."""
    for connection in connections.all(initialized_only=True):
        discard(connection)
        if hasattr(connection, "close_pool"):
            with contextlib.suppress(Exception):
                connection.close_pool()


def discard(connection: BaseDatabaseWrapper) -> None:
    """Closes a connection without looking at its flags. The next query makes a new one.

    An SQLite database in memory ends with its connection, so its transaction is rolled back
    instead.

    Args:
        connection: the connection.
    """
    raw = connection.connection
    connection.in_atomic_block = connection.closed_in_transaction = False
    connection.needs_rollback = False
    connection.savepoint_ids, connection.atomic_blocks, connection.run_on_commit = [], [], []
    if raw is not None and _is_in_memory(connection):
        raw.rollback()
        connection.set_autocommit(connection.settings_dict["AUTOCOMMIT"])
        return
    with contextlib.suppress(Exception):
        raw.close()
    with contextlib.suppress(Exception):
        connection.close()  # gives a pool its connection back, which replaces it
    if connections[connection.alias] is connection:
        del connections[connection.alias]


def stop_query(connection: BaseDatabaseWrapper) -> None:
    """Ends a query of PostgreSQL that was interrupted while it ran, and discards its result:
    psycopg 3 does that only for Ctrl-C.

    Args:
        connection: the connection on which it may run.
    """
    raw = connection.connection
    if connection.vendor == "postgresql" and raw.info.transaction_status == _ACTIVE:
        raw.cancel()
        while hasattr(raw, "pgconn") and raw.pgconn.get_result() is not None:
            pass


def in_open_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Returns whether PostgreSQL waits for more statements of a transaction.

    Args:
        connection: the connection of the transaction.
    """
    raw = connection.connection
    return raw is not None and raw.info.transaction_status in (_IN_TRANSACTION, _IN_ERROR)


def in_failed_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Returns whether PostgreSQL refuses more statements of a transaction.

    Args:
        connection: the connection of the transaction.
    """
    raw = connection.connection
    return raw is not None and raw.info.transaction_status == _IN_ERROR


def close_for_good() -> None:
    """Closes all connections of this thread, those to databases in memory included."""
    for connection in connections.all(initialized_only=True):
        with contextlib.suppress(Exception):
            BaseDatabaseWrapper.close(connection)
        del connections[connection.alias]


@contextlib.contextmanager
def closed_afterwards() -> Iterator[None]:
    """Closes all connections of this thread when the block ends: the thread ends, too."""
    try:
        yield
    finally:
        close_for_good()


def _in_transaction(connection: BaseDatabaseWrapper) -> bool:
    raw = connection.connection
    if raw is None or not connection.settings_dict["AUTOCOMMIT"]:
        return False
    if connection.in_atomic_block or not connection.autocommit:
        return True
    # Begun in plain SQL, or by a statement that was interrupted before its flag was set.
    if connection.vendor == "sqlite":
        return bool(raw.in_transaction)
    if connection.vendor == "postgresql":
        return raw.info.transaction_status in _OPEN
    return False


def _is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    in_memory = getattr(connection, "is_in_memory_db", None)  # which is SQLite's
    return in_memory is not None and in_memory()
