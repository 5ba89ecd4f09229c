"""Requests of users and of tasks: progress, metadata, cancellation, another run."""

from __future__ import annotations

from collections.abc import Sequence

from gearmanny.errors import InvalidOption
from gearmanny.records.ids import canonical
from gearmanny.records.session import Session, in_batches, list_of, storable
from gearmanny.records.states import State
from gearmanny.records.values import Claim

_CANCEL = """
    UPDATE {jobs} SET {event[cancelled]}, finished = {now}
    WHERE id = %s AND {before[cancelled]} RETURNING {tell_waiting}, {tell_room}
"""

_REQUEST = """
    UPDATE {jobs} SET cancelling = TRUE WHERE id = %s AND {before[interrupted]}
"""

_STATE = "SELECT state FROM {jobs} WHERE id = %s"

_CANCELLING = """
    SELECT id, claim FROM {{jobs}}
    WHERE state = 'running' AND cancelling AND process IN ({processes})
"""

_REVIVE = """
    UPDATE {jobs} SET {event[revived]}, due = {now}, handed = NULL, finished = NULL,
        unclaimed = 0, failures = 0, deaths = 0, limited = NULL, held = NULL
    WHERE id = %s AND {before[revived]}
"""

_LARGEST = 2**63 - 1

_BATCH = 500

# The condition is that of an owner: a process that lost the job says nothing about it.
_PROGRESS = """
    INSERT INTO {notes} (id, numerator, denominator, watched)
    SELECT j.id, CAST(%s AS bigint), CAST(%s AS bigint), FALSE FROM {jobs} j
    WHERE j.id = %s AND j.claim = %s AND j.state = 'running'
    ON CONFLICT (id) DO UPDATE
    SET numerator = excluded.numerator, denominator = excluded.denominator
    RETURNING watched
"""

_SAVE = """
    INSERT INTO {notes} (id, metadata, watched)
    SELECT j.id, CAST(%s AS text), FALSE FROM {jobs} j
    WHERE j.id = %s AND j.claim = %s AND j.state = 'running'
    ON CONFLICT (id) DO UPDATE SET metadata = excluded.metadata
    RETURNING id
"""


def cancel(session: Session, id: str) -> State | None:
    """Cancels a job. See `gearmanny.records.contract.Store.cancel`."""
    row_id = session.dialect.id(id)
    while True:
        if session.rows(_CANCEL, row_id, "done "):
            return State.CANCELLED
        if session.change(_REQUEST, row_id):
            if session.dialect.notifies:
                session.rows("SELECT {tell}", f"cancel {id}")
            return State.RUNNING
        row = session.row(_STATE, row_id)
        if row is None:
            return None
        if row[0] not in (State.QUEUED, State.RUNNING):  # it moved between two statements
            return State(row[0])


def cancelling(session: Session, processes: Sequence[str]) -> list[Claim]:
    """Finds jobs to interrupt. See `gearmanny.records.contract.Store.cancelling`."""
    return [
        Claim(canonical(id), token)
        for batch in in_batches(processes, _BATCH)
        for id, token in session.rows(
            _CANCELLING.format(processes=list_of(len(batch))),
            *(session.dialect.id(process) for process in batch),
        )
    ]


def revive(session: Session, id: str) -> bool:
    """Queues a failed job again. See `gearmanny.records.contract.Store.revive`."""
    try:
        with session.transaction():  # or a savepoint in that of the caller, which goes on
            changed = session.change(_REVIVE, session.dialect.id(id))
    except Exception as error:
        if session.dialect.is_duplicate(error):
            raise InvalidOption(
                f"The job {id} is not queued again: another one has its key now. Wait until that "
                "one has ended, or cancel it."
            ) from None
        raise
    if changed and session.dialect.notifies:
        session.rows("SELECT {tell}", "due")
    return bool(changed)


def progress(session: Session, claim: Claim, numerator: int, denominator: int) -> bool:
    """Notes how far a job is. See `gearmanny.records.contract.Store.progress`."""
    row = session.row(
        _PROGRESS,
        min(numerator, _LARGEST),
        min(denominator, _LARGEST),
        session.dialect.id(claim.id),
        claim.token,
    )
    if row is not None and row[0] and session.dialect.notifies:
        session.rows("SELECT {tell}", f"progress {claim.id}")
    return row is not None


def save_metadata(session: Session, claim: Claim, metadata: str) -> bool:
    """Keeps what a job notes. See `gearmanny.records.contract.Store.save_metadata`."""
    values = storable("The metadata", metadata), session.dialect.id(claim.id), claim.token
    return session.row(_SAVE, *values) is not None
