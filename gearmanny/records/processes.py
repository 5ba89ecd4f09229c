"""The processes that run recorded jobs: one row for each, and which of them are dead.

A process is alive while it holds its lock. On PostgreSQL that is an advisory lock of its session.
A restart of the database frees all of them for a moment, so only a lock that was free in two looks,
some seconds apart, was that of a dead process. The first look is noted in the row, so that
any session may take the second one. Where sessions are shared by a pooler there are no such locks,
and a process has to give a sign of life from time to time.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from enum import StrEnum

from gearmanny.records.ids import canonical, new_id
from gearmanny.records.session import Session, in_batches, list_of, storable, time_of
from gearmanny.records.values import Process

BETWEEN_LOOKS = 5.0
"""Seconds in which a process takes its lock again after a restart of the database."""

LEASE = 30.0
"""Seconds after its last sign of life in which a process without a lock counts as alive."""

_PROLONGED_AFTER = LEASE / 3
"""Seconds after that sign in which a process leaves the next one to its dispatcher."""

_BATCH = 500


class Liveness(StrEnum):
    """The means by which a process is known to be alive."""

    LOCK = "lock"
    """An advisory lock of its session on PostgreSQL."""
    FLOCK = "flock"
    """A lock on a file."""
    LEASE = "lease"
    """Signs of life."""


_REGISTER = """
    INSERT INTO {processes} (id, host, pid, pool, runner, functions, client_id, liveness,
        lock_key, started, beat)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, {now}, {now})
    ON CONFLICT DO NOTHING
"""

_PROCESSES = """
    SELECT id, host, pid, pool, runner, functions, client_id, {epoch[started]}, {epoch[beat]}
    FROM {processes} ORDER BY id
"""

_BEAT = "UPDATE {{processes}} SET beat = {{now}} WHERE id IN ({ids})"

_PROLONG = "UPDATE {processes} SET beat = {now} WHERE id = %s AND beat <= {ago}"

_REMOVE = "DELETE FROM {processes} WHERE id = %s"

_LOOK_AT_LOCKS = """
    UPDATE {processes} SET missed = CASE WHEN {is_held} THEN NULL ELSE {now} END
    WHERE liveness = 'lock' AND (missed IS NOT NULL) = ({is_held})
"""

_WITHOUT_LOCK = """
    SELECT id FROM {processes}
    WHERE liveness = 'lock' AND missed <= {ago} AND NOT ({is_held})
"""

_WITHOUT_BEAT = "SELECT id FROM {processes} WHERE liveness = 'lease' AND beat <= {ago}"

_WITH_FLOCK = "SELECT id FROM {processes} WHERE liveness = 'flock'"

# Their owners have no row: they were removed, or never registered.
_ORPHANS = """
    SELECT DISTINCT j.process FROM {jobs} j WHERE j.state = 'running'
    AND NOT EXISTS (SELECT 1 FROM {processes} p WHERE p.id = j.process)
"""

_EXISTS = "SELECT 1 FROM {processes} WHERE id = %s"


def new_process(**texts: str) -> Process:
    """Returns this process, as it is about to be registered.

    Raises:
        InvalidOption: a text is one that databases refuse.
    """
    for name, text in texts.items():
        storable(name, text)
    now = time_of(0)
    return Process(new_id(), platform.node(), os.getpid(), started=now, beat=now, **texts)


def register(session: Session, process: Process, liveness: Liveness, lock_key: int | None) -> None:
    """Inserts the row of a process that holds its lock already; does nothing when it is there."""
    session.change(
        _REGISTER,
        *(session.dialect.id(process.id), process.host, process.pid, process.pool),
        *(process.runner, process.functions, process.client_id, liveness, lock_key),
    )


def processes(session: Session) -> list[Process]:
    """Returns all rows, the oldest first."""
    return [
        Process(*row)._replace(
            id=canonical(row[0]), started=time_of(row[-2]), beat=time_of(row[-1])
        )
        for row in session.rows(_PROCESSES)
    ]


def beat(session: Session, ids: Sequence[str]) -> None:
    """Gives a sign of life for processes. See `gearmanny.records.contract.Store.beat`."""
    for batch in in_batches(ids, _BATCH):
        session.change(
            _BEAT.format(ids=list_of(len(batch))), *(session.dialect.id(id) for id in batch)
        )


def prolong(session: Session, id: str) -> None:
    """Gives a sign of life for this process, unless its dispatcher has given one lately."""
    session.change(_PROLONG, session.dialect.id(id), _PROLONGED_AFTER)


def remove(session: Session, id: str) -> None:
    """Deletes the row of a process."""
    session.change(_REMOVE, session.dialect.id(id))


def dead(session: Session, is_locked: Callable[[str], bool]) -> list[str]:
    """Looks for dead processes. See `gearmanny.records.contract.Store.dead_processes`.

    Args:
        session: on a connection of our own.
        is_locked: whether somebody holds the lock on the file of a process.
    """
    found = [id for (id,) in session.rows(_WITHOUT_BEAT, LEASE)]
    if session.dialect.notifies:
        session.change(_LOOK_AT_LOCKS)
        found += [id for (id,) in session.rows(_WITHOUT_LOCK, BETWEEN_LOOKS)]
    ids = [canonical(id) for id in found]
    ids += [
        id for id in (canonical(row[0]) for row in session.rows(_WITH_FLOCK)) if not is_locked(id)
    ]
    return ids + [canonical(id) for (id,) in session.rows(_ORPHANS)]


def exists(session: Session, id: str) -> bool:
    """Returns whether a process has a row."""
    return session.row(_EXISTS, session.dialect.id(id)) is not None
