"""Rows of schedules, as they are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from gearmanny.records.ids import canonical
from gearmanny.records.processes import processes
from gearmanny.records.scheduling import Schedule
from gearmanny.records.session import Row, Session, moment_of, time_of

COLUMNS = """id, name, function, arguments, every, cron, timezone, jitter, catch_up, overlap,
    max_late, from_code, paused, {epoch[last_tick]}, {epoch[next_tick]}, job"""

"""The columns of a schedule. Another one after them may be the current time."""


def schedule_of(row: Row) -> Schedule:
    """Returns the schedule of a row; `offered` is not in it."""
    found = Schedule(*row[:16])
    return found._replace(
        id=canonical(row[0]),
        catch_up=bool(found.catch_up),
        from_code=bool(found.from_code),
        paused=bool(found.paused),
        last=time_of(row[13]),
        next=moment_of(row[14]),
        job=None if row[15] is None else canonical(row[15]),
    )


def now_of(row: Row | None) -> datetime:
    """Returns the current time of a row that has it, in whole milliseconds."""
    assert row is not None
    return time_of(round(row[16], 3))


def seconds_of(moment: datetime | None) -> float | None:
    """Returns a moment in seconds after the epoch, or None."""
    return None if moment is None else moment.timestamp()


def offers(session: Session) -> Callable[[Schedule], bool]:
    """Returns whether a schedule is offered by any of the processes that there are."""
    functions: set[str] = set()
    scheduled: set[str] = set()
    for text in {process.functions for process in processes(session)}:
        table = _json_object(text)
        functions |= table.keys()
        for name, help in table.items():
            if isinstance(help, dict):
                scheduled |= {name} if help.get("schedule") else set(help.get("schedules", ()))
    return lambda found: found.name in scheduled if found.from_code else found.function in functions


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
