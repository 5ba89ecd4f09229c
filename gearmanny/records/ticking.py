"""Ticks become jobs.

The row of a schedule holds its last tick. Moving that on and recording the job are one transaction,
in which the row is locked. So a tick is one job, whatever dispatchers live: one that comes second
finds the row moved on, and of one that dies in between nothing is left. The time is that of the
database, whatever the clocks of the dispatchers say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime

from gearmanny.errors import EncodingError, GearmanException, InvalidOption, InvalidTask
from gearmanny.records import submitting
from gearmanny.records.ids import new_id
from gearmanny.records.schedulerows import COLUMNS, now_of, schedule_of, seconds_of
from gearmanny.records.scheduling import Schedule, Tick, Ticked
from gearmanny.records.session import Session
from gearmanny.records.values import NewJob

_DUE = "SELECT id FROM {schedules} WHERE NOT paused AND next_tick <= {now} ORDER BY next_tick"

# A row that somebody else holds is being moved on.
_LOCK_DUE = f"""
    SELECT {COLUMNS}, {{epoch[now]}} FROM {{schedules}}
    WHERE id = %s AND NOT paused AND next_tick <= {{now}} {{skip_locked}}
"""

_MOVE_ON = """
    UPDATE {schedules} SET last_tick = {at}, next_tick = {at}
    WHERE id = %s AND last_tick = {at}
"""

_MADE = "UPDATE {schedules} SET job = %s, tick_job = %s WHERE id = %s"

# The last job may be one that somebody asked for while that of a tick goes on.
_IS_OPEN = """
    SELECT 1 FROM {schedules} s JOIN {jobs} j ON j.id IN (s.job, s.tick_job)
    WHERE s.id = %s AND j.state IN ('queued', 'running')
"""

_WAIT = """
    SELECT min({epoch[next_tick]}) - {epoch[now]} FROM {schedules}
    WHERE NOT paused AND next_tick > {now}
"""


class _Taken(GearmanException):
    """Raised to roll back: somebody else has moved the schedule on."""


def tick(session: Session, random: Callable[[], float]) -> Ticked:
    """Makes the jobs that are due. See `gearmanny.records.scheduling.Schedules.tick`."""
    ticked = Ticked([], {}, None)
    is_more = False
    for (id,) in session.rows(_DUE):
        name = ""
        try:
            with contextlib.suppress(_Taken), session.transaction():
                row = session.row(_LOCK_DUE, id)
                if row is not None:
                    found = schedule_of(row)
                    name = found.name
                    moved, is_due = _move_on(session, found, now_of(row), random)
                    is_more |= is_due
                    ticked.ticks.append(moved)
        except (InvalidOption, InvalidTask, EncodingError) as error:
            ticked.unreadable[name] = str(error)
    (wait,) = session.rows(_WAIT)[0]
    return ticked._replace(wait=0.0 if is_more else wait and float(wait))


def _move_on(
    session: Session, found: Schedule, now: datetime, random: Callable[[], float]
) -> tuple[Tick, bool]:
    """Moves a schedule on in a transaction that has its lock; returns that, and whether more is
    due."""
    due = found.timetable.due(found.last, now, random)
    made = [
        NewJob(found.function, found.arguments, new_id(), at=at, handed_over=False)
        for at in due.jobs
    ]
    id = session.dialect.id(found.id)
    is_skipped = bool(made) and found.overlap == "skip" and session.row(_IS_OPEN, id) is not None
    if is_skipped:
        made.clear()
    moments = due.last.timestamp(), seconds_of(due.next)
    if not session.change(_MOVE_ON, *moments, id, found.last.timestamp()):
        raise _Taken(found.name)
    if made:
        submitting.submit(session, made)
        job = session.dialect.id(made[-1].id)
        session.change(_MADE, job, job, id)
    ids = [each.id for each in made]
    tick = Tick(found.name, found.function, due.last, ids, due.dropped, is_skipped)
    return tick, due.next is not None and due.next <= now
