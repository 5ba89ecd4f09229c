"""The queries of the dispatcher: what is handed over to job servers, and what got lost there.

Functions are served one by one. A function that no worker offers fills its share of unclaimed
jobs and holds up no other.
"""

from __future__ import annotations

from collections.abc import Sequence

from gearmanny.errors import GearmanException
from gearmanny.payload.failures import encode_failure
from gearmanny.records.ids import canonical
from gearmanny.records.session import Session, in_batches, list_of
from gearmanny.records.values import HandedAgain, HandedOver

# One look into the index for each function: DISTINCT would read all that waits, and so may min().
_FUNCTIONS = """
    WITH RECURSIVE known(function) AS (
        SELECT (SELECT function FROM {{jobs}}
                WHERE state = 'queued' AND {condition} ORDER BY function LIMIT 1)
        UNION ALL
        SELECT (SELECT j.function FROM {{jobs}} j
                WHERE j.state = 'queued' AND {condition} AND j.function > known.function
                ORDER BY j.function LIMIT 1)
        FROM known WHERE known.function IS NOT NULL
    )
    SELECT function FROM known WHERE function IS NOT NULL
"""
_WAITING = _FUNCTIONS.format(condition="handed IS NULL AND held IS NULL")
_UNCLAIMED = _FUNCTIONS.format(condition="handed IS NOT NULL")

_COUNT = """
    SELECT count(*) FROM (
        SELECT 1 FROM {jobs} WHERE state = 'queued' AND handed IS NOT NULL AND function = %s
        LIMIT %s
    ) AS counted
"""

_HAND_OVER = """
    WITH picked AS MATERIALIZED (
        SELECT id FROM {jobs}
        WHERE state = 'queued' AND handed IS NULL AND held IS NULL AND function = %s
            AND priority = %s AND due <= {now}
        ORDER BY due LIMIT %s {skip_locked}
    )
    UPDATE {jobs} SET {event[handed_over]}, unclaimed = unclaimed + 1, handed = {now}
    WHERE id IN (SELECT id FROM picked) AND {before[handed_over]}
    RETURNING id, function, handovers, priority, trace
"""

_HANDED_BEFORE = """
    SELECT id, function, handovers, priority, trace FROM {jobs}
    WHERE state = 'queued' AND handed IS NOT NULL AND function = %s AND handed <= {ago}
    ORDER BY handed LIMIT %s
"""

# A job that went back to the queue meanwhile is at no job server.
_CONFIRM = """
    UPDATE {{jobs}} SET handed = {{later}}
    WHERE state = 'queued' AND handed IS NOT NULL AND id IN ({ids})
"""

_AGAIN = """
    UPDATE {jobs} SET {event[handed_over]}, unclaimed = unclaimed + %s, handed = {later}
    WHERE id = %s AND handovers = %s AND {before[handed_over]}
        AND handed IS NOT NULL AND unclaimed < %s
    RETURNING id, function, handovers, priority, trace
"""

_GIVE_UP = """
    UPDATE {jobs} SET {event[unclaimed]}, finished = {now}, error = %s
    WHERE id = %s AND handovers = %s AND {before[unclaimed]}
        AND handed IS NOT NULL AND unclaimed >= %s
    RETURNING {tell_waiting}, {tell_room}
"""

_OVERDUE = """
    SELECT 1 FROM {jobs}
    WHERE state = 'queued' AND handed IS NULL AND held IS NULL AND function = %s AND due <= {ago}
    LIMIT 1
"""

_BATCH = 500

_CONFIRMED_WITHIN = 300.0
"""Seconds in which dispatchers look again at what was handed over, however much that is."""


def hand_over(session: Session, limit: int, max_unclaimed: int) -> list[HandedOver]:
    """Picks jobs to hand over. See `gearmanny.records.contract.Store.hand_over`."""
    picked: list[HandedOver] = []
    for (function,) in session.rows(_WAITING):
        (unclaimed,) = session.rows(_COUNT, function, max_unclaimed)[0]
        room = min(max_unclaimed - unclaimed, limit - len(picked))
        for priority in (1, 0, -1):
            if room > 0:
                rows = session.rows(_HAND_OVER, function, priority, room)
                picked += map(_handed_over, sorted(rows))  # by age, as the ids are
                room -= len(rows)
    return picked


def handed_before(session: Session, seconds: float, limit: int) -> list[HandedOver]:
    """Returns what nobody claimed. See `gearmanny.records.contract.Store.handed_before`."""
    found: list[HandedOver] = []
    functions = session.rows(_UNCLAIMED)
    for index, (function,) in enumerate(functions):
        share = (limit - len(found)) // (len(functions) - index)
        rows = session.rows(_HANDED_BEFORE, function, float(seconds), max(share, 1))
        found += map(_handed_over, rows)
    return found[:limit]


def neglected(session: Session, seconds: float) -> list[str]:
    """Returns the functions for whose jobs no dispatcher seems to care.

    Args:
        session: on any connection.
        seconds: for which a job may be due before it is handed over. A function whose jobs wait at
            job servers is left out: the others may have to wait for them.
    """
    found = [
        function
        for (function,) in session.rows(_WAITING)
        if session.rows(_COUNT, function, 1)[0][0] == 0
        and session.rows(_OVERDUE, function, float(seconds))
    ]
    forgotten = handed_before(session, _CONFIRMED_WITHIN, 100)
    return sorted({*found, *(job.function for job in forgotten)})


def confirm(session: Session, ids: Sequence[str], seconds: float) -> None:
    """Notes that job servers have jobs. See `gearmanny.records.contract.Store.confirm`."""
    for batch in in_batches(ids, _BATCH):
        session.change(
            _CONFIRM.format(ids=list_of(len(batch))),
            float(seconds),
            *(session.dialect.id(id) for id in batch),
        )


def hand_over_again(
    session: Session,
    jobs: Sequence[HandedOver],
    *,
    counts: bool,
    max_handovers: int,
    seconds: float,
) -> HandedAgain:
    """Hands lost jobs over again. See `gearmanny.records.contract.Store.hand_over_again`."""
    again = HandedAgain([], [])
    most = max_handovers if counts else 2**31 - 1
    with session.transaction():
        for job in sorted(jobs):  # two that do this at once wait for each other in one order
            id = session.dialect.id(job.id)
            row = session.row(_AGAIN, int(counts), float(seconds), id, job.number, most)
            if row is not None:
                again.handed.append(_handed_over(row))
            elif _give_up(session, job, max_handovers, most):
                again.failed.append(job)
    return again


def _give_up(session: Session, job: HandedOver, max_handovers: int, most: int) -> bool:
    failure = GearmanException(
        f"{job.function}() was handed over {max_handovers} times, and no worker claimed it: do "
        "the workers have this store?"
    )
    error = encode_failure(failure).decode()
    return bool(
        session.rows(_GIVE_UP, error, session.dialect.id(job.id), job.number, most, "done ")
    )


def _handed_over(row: tuple[str, str, int, int, str]) -> HandedOver:
    return HandedOver(*row)._replace(id=canonical(row[0]))
