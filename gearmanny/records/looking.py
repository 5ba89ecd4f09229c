"""Reading records, watching them, counting them, and forgetting old ones."""

from __future__ import annotations

from typing import Any

from gearmanny.records.ids import canonical
from gearmanny.records.session import (
    Session,
    arguments_of,
    lines_of,
    list_of,
    moment_of,
    payload_of,
    time_of,
)
from gearmanny.records.states import State
from gearmanny.records.values import Count, Snapshot

_LOOK = """
    SELECT j.function, j.state, j.arguments, j.arguments_raw, j.result, j.result_raw, j.error,
        j.errors, j.attempts, j.failures, j.deaths, j.handovers, n.numerator, n.denominator,
        n.metadata,
        j.process, j.cancelling, j.priority, j.unique_key, j.unique_waiting_key,
        {epoch[j.created]}, {epoch[j.due]}, {epoch[j.started]}, {epoch[j.finished]},
        j.headers, j.parent
    FROM {jobs} j LEFT JOIN {notes} n ON n.id = j.id WHERE j.id = %s
"""

_WATCH = """
    INSERT INTO {notes} (id, watched)
    SELECT j.id, TRUE FROM {jobs} j WHERE j.id = %s AND j.state IN ('queued', 'running')
    ON CONFLICT (id) DO UPDATE SET watched = TRUE
"""

# Failed jobs, of which there may be many, are counted in the index that begins with the function.
_COUNTS = """
    WITH RECURSIVE known(function) AS (
        SELECT min(function) FROM {jobs} WHERE finished IS NOT NULL
        UNION ALL
        SELECT (SELECT min(function) FROM {jobs} WHERE finished IS NOT NULL
            AND function > known.function)
        FROM known WHERE function IS NOT NULL
    )
    SELECT function,
        count(CASE WHEN state = 'queued' AND due <= {now} THEN 1 END),
        count(CASE WHEN state = 'queued' AND due > {now} THEN 1 END),
        count(CASE WHEN state = 'running' THEN 1 END),
        max(failed),
        {epoch[now]} - min(CASE WHEN state = 'queued' THEN {epoch[due]} END)
    FROM (
        SELECT function, state, due, 0 AS failed FROM {jobs} WHERE state = 'queued'
            AND handed IS NULL AND held IS NULL
        UNION ALL
        SELECT function, state, due, 0 FROM {jobs} WHERE state = 'queued' AND held IS NOT NULL
        UNION ALL
        SELECT function, state, due, 0 FROM {jobs} WHERE state = 'queued' AND handed IS NOT NULL
        UNION ALL
        SELECT function, state, due, 0 FROM {jobs} WHERE state = 'running'
        UNION ALL
        SELECT function, 'failed', NULL, (SELECT count(*) FROM {jobs} ended
            WHERE ended.function = known.function AND ended.state = 'failed'
            AND ended.finished IS NOT NULL)
        FROM known WHERE function IS NOT NULL
    ) counted GROUP BY function HAVING max(failed) > 0 OR count(due) > 0 ORDER BY function
"""

_OLD = """
    SELECT id FROM {jobs} WHERE state = %s AND finished IS NOT NULL AND finished <= {ago}
    ORDER BY finished LIMIT %s {skip_locked}
"""

_FORGET_NOTES = "DELETE FROM {{notes}} WHERE id IN ({ids})"
_FORGET = "DELETE FROM {{jobs}} WHERE id IN ({ids})"


def look(session: Session, id: str) -> Snapshot | None:
    """Reads a record. See `gearmanny.records.contract.Store.look`."""
    row = session.prepared_row(_LOOK, session.dialect.id(id))
    return None if row is None else _snapshot(id, *row)


def watch(session: Session, id: str) -> Snapshot | None:
    """Asks for a message when a job changes, and then reads its record. See
    `gearmanny.records.waiting.Watched.watch`."""
    row = session.row_after(_WATCH, _LOOK, id)
    return None if row is None else _snapshot(id, *row)


def _snapshot(
    id: str,
    function: str,
    state: str,
    arguments: str | None,
    arguments_raw: Any,
    result: str | None,
    result_raw: Any,
    error: str | None,
    errors: str,
    attempts: int,
    failures: int,
    deaths: int,
    number: int,
    numerator: int | None,
    denominator: int | None,
    metadata: str | None,
    process: Any,
    cancelling: Any,
    priority: int,
    unique: str | None,
    unique_waiting: str | None,
    created: float,
    due: float,
    started: float | None,
    finished: float | None,
    headers: str,
    parent: Any,
) -> Snapshot:
    return Snapshot(
        id=id,
        function=function,
        state=State(state),
        arguments=arguments_of(arguments, arguments_raw),
        result=payload_of(result, result_raw),
        error=error,
        errors=lines_of(errors),
        attempts=attempts,
        failures=failures,
        deaths=deaths,
        number=number,
        progress=None if numerator is None else (numerator, denominator or 0),
        process=None if process is None else canonical(process),
        cancelling=bool(cancelling),
        priority=priority,
        unique=unique,
        unique_waiting=unique_waiting,
        created=time_of(created),
        due=time_of(due),
        started=moment_of(started),
        finished=moment_of(finished),
        headers=headers,
        parent=None if parent is None else canonical(parent),
        metadata=metadata,
    )


def counts(session: Session) -> list[Count]:
    """Counts jobs by function. See `gearmanny.records.contract.Store.counts`."""
    return [
        Count(function, waiting, scheduled, running, failed, max(float(oldest or 0), 0.0))
        for function, waiting, scheduled, running, failed, oldest in session.rows(_COUNTS)
    ]


def prune(session: Session, state: State, older_than: float, limit: int) -> int:
    """Forgets old records. See `gearmanny.records.contract.Store.prune`."""
    with session.transaction():
        ids = [id for (id,) in session.rows(_OLD, state, float(older_than), limit)]
        if ids:
            session.change(_FORGET_NOTES.format(ids=list_of(len(ids))), *ids)
            session.change(_FORGET.format(ids=list_of(len(ids))), *ids)
    return len(ids)
