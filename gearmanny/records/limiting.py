"""Claims within limits, and the release of what was held.

A claim locks the row of its limit, counts the jobs that run, and begins the job in one transaction,
so that limits are exact however many processes claim. What runs is counted, not noted: a process
that dies gives its place back with its job.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any

from gearmanny.records import claiming
from gearmanny.records.limits import NONE_HELD, Limit, LimitsOfJobs, Released, Use
from gearmanny.records.session import Session, arguments_of
from gearmanny.records.values import Claim, Claimed, Refusal, Refused

_LOOK = "SELECT arguments, arguments_raw FROM {jobs} WHERE id = %s"

_LIMITED = "SELECT limited FROM {jobs} WHERE id = %s"

# {now} is the time before the row was waited for, so that nothing begins too early. A rate that was
# changed counts from the last start.
_LOCK = """
    INSERT INTO {limits} (name, max_running, every) VALUES (%s, %s, %s)
    ON CONFLICT (name) DO UPDATE SET max_running = excluded.max_running, every = excluded.every,
        next = coalesce({moved_next}, {limits}.next)
    RETURNING {epoch[next]} - {epoch[now]}
"""

_TAKEN = """
    SELECT count(CASE WHEN state = 'running' THEN 1 END),
        count(CASE WHEN state = 'queued' THEN 1 END)
    FROM {jobs} WHERE limited = %s AND limited IS NOT NULL AND held IS NULL
        AND state IN ('queued', 'running') AND id <> %s
"""

_HELD = "SELECT 1 FROM {jobs} WHERE limited = %s AND state = 'queued' AND held IS NOT NULL LIMIT 1"

_HOLD = """
    UPDATE {jobs} SET limited = %s, held = {now}, handed = NULL, unclaimed = 0
    WHERE id = %s AND function = %s AND handovers = %s AND state = 'queued' AND due <= {now}
    RETURNING id, {tell_room}
"""

_BEGUN = "UPDATE {jobs} SET limited = %s, held = NULL WHERE id = %s"

_NEXT = "UPDATE {limits} SET next = {later} WHERE name = %s"

# One look into the index for each limit, as for functions in `handing`.
_ALL = """
    WITH RECURSIVE known(name) AS (
        SELECT (SELECT limited FROM {jobs}
                WHERE state = 'queued' AND held IS NOT NULL ORDER BY limited LIMIT 1)
        UNION ALL
        SELECT (SELECT j.limited FROM {jobs} j
                WHERE j.state = 'queued' AND j.held IS NOT NULL AND j.limited > known.name
                ORDER BY j.limited LIMIT 1)
        FROM known WHERE known.name IS NOT NULL
    )
"""

_ONE = """
    WITH known(name) AS (
        SELECT limited FROM {jobs}
        WHERE state = 'queued' AND held IS NOT NULL AND limited = %s LIMIT 1
    )
"""

_USED = """
    SELECT known.name, l.max_running, l.every, {epoch[l.next]} - {epoch[now]},
        (SELECT count(*) FROM {jobs} r WHERE r.limited = known.name AND r.limited IS NOT NULL
            AND r.held IS NULL AND r.state IN ('queued', 'running') AND r.state = 'running'),
        (SELECT count(*) FROM {jobs} q WHERE q.limited = known.name AND q.limited IS NOT NULL
            AND q.held IS NULL AND q.state IN ('queued', 'running') AND q.state = 'queued')
    FROM known LEFT JOIN {limits} l ON l.name = known.name WHERE known.name IS NOT NULL
"""

_LOCK_FREE = """
    SELECT max_running, every, {epoch[next]} - {epoch[now]} FROM {limits} WHERE name = %s
    {skip_locked}
"""

_RELEASE = """
    WITH picked AS MATERIALIZED (
        SELECT id FROM {jobs} WHERE limited = %s AND priority = %s AND state = 'queued'
            AND held IS NOT NULL ORDER BY id LIMIT %s {skip_locked}
    )
    UPDATE {jobs} SET held = NULL
    WHERE id IN (SELECT id FROM picked) AND state = 'queued' AND held IS NOT NULL RETURNING id
"""

_OLD_NAMES = """
    DELETE FROM {limits} WHERE name IN (
        SELECT l.name FROM {limits} l WHERE (l.next IS NULL OR l.next <= {ago}) AND NOT EXISTS (
            SELECT 1 FROM {jobs} j WHERE j.limited = l.name AND j.limited IS NOT NULL
                AND j.held IS NULL AND j.state IN ('queued', 'running')
        ) AND NOT EXISTS (
            SELECT 1 FROM {jobs} h
            WHERE h.limited = l.name AND h.state = 'queued' AND h.held IS NOT NULL
        ) LIMIT 500 {skip_locked}
    ) AND (next IS NULL OR next <= {ago})
"""

_FORGOTTEN_AFTER = 60.0
"""Seconds for which a limit is kept that nobody uses."""


def claim(
    limits: LimitsOfJobs,
    session: Session,
    id: str,
    function: str,
    number: int,
    process: str,
    token: int,
) -> Claimed | Refused:
    """Claims a job if its limits allow that, and holds it otherwise. See
    `gearmanny.records.contract.Store.claim`.

    Args:
        limits: of the jobs of the function.
        session: on a connection of our own, outside of a transaction.
        id, function, number, process, token: as `claiming.claim` takes them.
    """
    row_id = session.dialect.id(id)
    found = session.prepared_row(_LOOK, row_id)
    if found is None:
        return Refused(Refusal.UNKNOWN)
    limit = limits.limit(function, arguments_of(*found))
    if limit is None:
        return claiming.claim(session, id, function, number, process, token)
    with session.transaction():
        limited = session.row(_LIMITED, row_id)
        use = _locked(session, limit, row_id)
        others = session.row(_HELD, limit.name) is not None
        was_released = limited is not None and limited[0] == limit.name
        if not use.has_room(was_released=was_released, others_are_held=others):
            if session.rows(_HOLD, limit.name, row_id, function, number):
                return Refused(Refusal.LIMITED)
            return claiming.unclaimed(session, Claim(id, token), function, number, process)
        if use.wait > 0:
            return Refused(Refusal.SOON)
        claimed = claiming.claim(session, id, function, number, process, token)
        if isinstance(claimed, Claimed):
            session.change(_BEGUN, limit.name, row_id)
            if limit.every is not None:
                session.change(_NEXT, limit.every, limit.name)
        return claimed


def claiming_within(limits: LimitsOfJobs | None) -> Callable[..., Claimed | Refused]:
    """Returns the function that claims a job within limits, or without, where there are none."""
    return claiming.claim if limits is None else functools.partial(claim, limits)


def _locked(session: Session, limit: Limit, row_id: object) -> Use:
    (wait,) = session.rows(_LOCK, *limit)[0]
    running, released = session.rows(_TAKEN, limit.name, row_id)[0]
    return _use(limit.max_running, limit.every, wait, running, released)


def _use(
    max_running: int | None, every: float | None, wait: float | None, running: int, released: int
) -> Use:
    return Use(
        max_running,
        every,
        0.0 if wait is None or every is None else float(wait),
        running,
        released,
    )


def _release(session: Session, names: Collection[str] | None) -> Released:
    if names is None:
        rows = session.rows(_ALL + _USED)
    else:
        rows = [row for name in sorted(names) for row in session.rows(_ONE + _USED, name)]
    used = [(name, _use(*row)) for name, *row in rows]
    if not used:
        return NONE_HELD
    count = sum(_release_some(session, name, use) for name, use in used if use.room)
    return Released(count, min(use.look_after for _, use in used))


def _release_some(session: Session, name: str, use: Use) -> int:
    """Releases jobs of one limit, unless another dispatcher does so now."""
    with session.transaction():
        limit = session.row(_LOCK_FREE, name)
        if limit is None:
            if not use.is_forgotten:
                return 0
            limit = None, None, None
        running, released = session.rows(_TAKEN, name, session.dialect.id(_NOBODY))[0]
        room = _use(limit[0], limit[1], limit[2], running, released).room
        count = 0
        for priority in (1, 0, -1):
            if room > count:
                count += len(session.rows(_RELEASE, name, priority, room - count))
    return count


_NOBODY = "00000000-0000-0000-0000-000000000000"


class Limiting:
    """The part of a store that releases what it holds."""

    _run: Callable[[Callable[[Session], Any]], Any]

    def release(self, names: Collection[str] | None = None) -> Released:
        released: Released = self._run(lambda session: _release(session, names))
        return released

    def forget_limits(self) -> None:
        self._run(lambda session: session.change(_OLD_NAMES, _FORGOTTEN_AFTER, _FORGOTTEN_AFTER))
