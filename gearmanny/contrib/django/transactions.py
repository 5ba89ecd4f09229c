"""The transactions of a test in which jobs run in eager mode, and tasks may be interrupted."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from gearmanny.contrib.django.connections import (
    discard,
    in_failed_transaction,
    in_open_transaction,
    stop_query,
)
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.working.interrupts import was_interrupted

_SAVEPOINT = "gearmanny_job"


class _Before(NamedTuple):
    """The state of a transaction before a job, as Django keeps it."""

    connection: BaseDatabaseWrapper
    savepoint_ids: list[Any]
    atomic_blocks: list[Any]
    run_on_commit: list[Any]
    needs_rollback: bool
    is_failed: bool


class transactions_of_the_test:
    """A hook that restores the connections of a test when a task is interrupted, or has broken the
    transaction of the test by an error such as an `IntegrityError`, which a live worker would not
    have been in: what the task did is rolled back, and the test goes on.

    Coroutines are not interrupted in the thread of the test.
    """

    def __init__(self, job: GearmanJob) -> None:
        self._job = job
        self._before: dict[str, _Before] = {}

    def __enter__(self) -> None:
        self._before = {
            connection.alias: _Before(
                connection,
                list(connection.savepoint_ids),
                list(connection.atomic_blocks),
                list(connection.run_on_commit),
                connection.needs_rollback,
                _is_failed(connection),
            )
            for connection in connections.all(initialized_only=True)
            if connection.in_atomic_block
        }
        for before in self._before.values():
            _execute(before.connection, "SAVEPOINT")

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not was_interrupted(self._job, error):
            self._leave()
            return
        for connection in connections.all(initialized_only=True):
            known = self._before.get(connection.alias)
            if known is None or known.connection is not connection:
                discard(connection)
            else:
                _restore(known)

    async def __aenter__(self) -> None:
        await sync_to_async(self.__enter__)()

    async def __aexit__(self, *exc_info: object) -> None:
        await sync_to_async(self._leave)()

    def _leave(self) -> None:
        for before in self._before.values():
            if _is_broken(before):
                _restore(before)
            else:
                _execute(before.connection, "RELEASE SAVEPOINT")


def _is_broken(before: _Before) -> bool:
    """Returns whether a job has made the transaction unusable that it found."""
    if before.connection.needs_rollback and not before.needs_rollback:
        return True
    return _is_failed(before.connection) and not before.is_failed


def _is_failed(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql" and in_failed_transaction(connection)


def _restore(before: _Before) -> None:
    connection = before.connection
    begun = connection.savepoint_ids[len(before.savepoint_ids) :]
    connection.savepoint_ids = before.savepoint_ids
    connection.atomic_blocks = before.atomic_blocks
    connection.run_on_commit = before.run_on_commit
    connection.in_atomic_block, connection.needs_rollback = True, before.needs_rollback
    stop_query(connection)
    if connection.vendor == "postgresql":
        _execute(connection, "ROLLBACK TO SAVEPOINT")
        _execute(connection, "RELEASE SAVEPOINT")
    elif begun and begun[0]:
        connection.savepoint_rollback(begun[0])


def _execute(connection: BaseDatabaseWrapper, statement: str) -> None:
    """Changes a savepoint of ours, where an interrupted statement spoils the whole transaction. Not
    by a cursor of Django's: tests count queries."""
    if connection.vendor == "postgresql" and in_open_transaction(connection):
        with contextlib.suppress(Exception), connection.connection.cursor() as cursor:
            cursor.execute(f"{statement} {_SAVEPOINT}")
