"""The transactions of a test in which jobs run in eager mode, and tasks may be interrupted."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from gearmanny.contrib.django.connections import discard, in_open_transaction, stop_query
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


class transactions_of_the_test:
    """A hook that restores the connections of a test when a task is interrupted: what the task did
    in the transaction of the test is rolled back, and the test goes on in it.

    Coroutines are not interrupted in the thread of the test, so nothing is done around them.
    """

    def __init__(self, job: GearmanJob) -> None:
        self._job = job
        self._before = {
            connection.alias: _Before(
                connection,
                list(connection.savepoint_ids),
                list(connection.atomic_blocks),
                list(connection.run_on_commit),
                connection.needs_rollback,
            )
            for connection in connections.all(initialized_only=True)
            if connection.in_atomic_block
        }

    def __enter__(self) -> None:
        for before in self._before.values():
            _execute(before.connection, "SAVEPOINT")

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not was_interrupted(self._job, error):
            for before in self._before.values():
                _execute(before.connection, "RELEASE SAVEPOINT")
            return
        for connection in connections.all(initialized_only=True):
            known = self._before.get(connection.alias)
            if known is None or known.connection is not connection:
                discard(connection)
            else:
                _restore(known)

    async def __aenter__(self) -> None:
        """There is nothing to be done."""

    async def __aexit__(self, *exc_info: object) -> None:
        """There is nothing to be done."""


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
