"""The schedules of a store, one row for each: added, changed, paused, and found in code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from gearmanny.errors import InvalidOption
from gearmanny.payload.names import check_function_name
from gearmanny.records import submitting
from gearmanny.records.ids import canonical, new_id
from gearmanny.records.schedulerows import COLUMNS, now_of, offers, schedule_of, seconds_of
from gearmanny.records.scheduling import NewSchedule, Schedule, Ticked
from gearmanny.records.session import Row, Session, is_storable, storable, time_of
from gearmanny.records.ticking import tick
from gearmanny.records.values import NewJob

Result = TypeVar("Result")

LONGEST_NAME = 200

_ALL = f"SELECT {COLUMNS} FROM {{schedules}} ORDER BY name"

_GET = f"SELECT {COLUMNS} FROM {{schedules}} WHERE name = %s"

_LOCK = f"SELECT {COLUMNS}, {{epoch[now]}} FROM {{schedules}} WHERE name = %s {{for_update}}"

_INSERT = """
    INSERT INTO {schedules} (id, name, function, arguments, every, cron, timezone, jitter, catch_up,
        overlap, max_late, from_code, paused, last_tick, next_tick)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, FALSE, {at}, {at})
    ON CONFLICT DO NOTHING
"""

_CHANGE = """
    UPDATE {schedules} SET function = %s, arguments = %s, every = %s, cron = %s, timezone = %s,
        jitter = %s, catch_up = %s, overlap = %s, max_late = %s, last_tick = {at}, next_tick = {at}
    WHERE id = %s
"""

_PAUSE = "UPDATE {schedules} SET paused = TRUE WHERE id = %s"

_RESUME = """
    UPDATE {schedules} SET paused = FALSE, last_tick = {at}, next_tick = {at}
    WHERE id = %s AND paused
"""

_REMOVE = "DELETE FROM {schedules} WHERE id = %s"

_RAN = "UPDATE {schedules} SET job = %s WHERE id = %s"

_NOW = "SELECT {epoch[now]}"


class SQLSchedules:
    """The schedules of a store; `gearmanny.records.scheduling.Schedules` says what they do."""

    def __init__(self, run: Callable[[Callable[[Session], Any]], Any]) -> None:
        """
        Args:
            run: calls a function with a session, again where the connection was lost.
        """
        self._run = run

    def _in_transaction(self, operation: Callable[[Session], Result]) -> Result:
        def run(session: Session) -> Result:
            with session.transaction():
                return operation(session)

        result: Result = self._run(run)
        return result

    def all(self) -> list[Schedule]:
        def read(session: Session) -> list[Schedule]:
            is_offered = offers(session)
            found = map(schedule_of, session.rows(_ALL))
            return [each._replace(offered=is_offered(each)) for each in found]

        found: list[Schedule] = self._run(read)
        return found

    def get(self, name: str) -> Schedule:
        def read(session: Session) -> Schedule:
            found = _found(name, _row(session, _GET, name))
            return found._replace(offered=offers(session)(found))

        found: Schedule = self._run(read)
        return found

    def add(self, new: NewSchedule) -> None:
        _check(new)
        id = new_id()

        def add(session: Session) -> None:
            if not _insert(session, id, new, from_code=False):
                found = session.row(_GET, new.name)
                # The answer to the same insertion may have been lost.
                if found is None or canonical(found[0]) != id:
                    raise InvalidOption(f"There is a schedule {new.name!r} already.")

        self._in_transaction(add)

    def change(self, new: NewSchedule) -> None:
        _check(new)

        def change(session: Session) -> None:
            row = _row(session, _LOCK, new.name)
            found = _found(new.name, row)
            if found.from_code:
                raise InvalidOption(
                    f"The schedule {new.name!r} is in the code of a worker. Change it there; it "
                    "can be paused here."
                )
            _change(session, found, new, now_of(row))

        self._in_transaction(change)

    def offer(self, found: Sequence[NewSchedule]) -> list[str]:
        for new in found:
            _check(new)

        def offer(session: Session) -> list[str]:
            # In one order, so that processes which do this at once wait for each other.
            ordered = sorted(found, key=lambda new: new.name)
            return [new.name for new in ordered if not _offer(session, new)]

        return self._in_transaction(offer)

    def pause(self, name: str) -> None:
        self._with(name, lambda session, found, now: session.change(_PAUSE, found))

    def resume(self, name: str) -> None:
        def resume(session: Session) -> None:
            row = _row(session, _LOCK, name)
            found, now = _found(name, row), now_of(row)
            id = session.dialect.id(found.id)
            next = found.timetable.ticks.after(now)
            session.change(_RESUME, now.timestamp(), seconds_of(next), id)

        self._in_transaction(resume)

    def remove(self, name: str) -> None:
        self._with(name, lambda session, found, now: session.change(_REMOVE, found))

    def _with(self, name: str, operation: Callable[[Session, object, datetime], object]) -> None:
        def run(session: Session) -> None:
            row = _row(session, _LOCK, name)
            operation(session, session.dialect.id(_found(name, row).id), now_of(row))

        self._in_transaction(run)

    def run(self, name: str) -> str:
        id = new_id()

        def run(session: Session) -> None:
            found = _found(name, _row(session, _LOCK, name))
            job = NewJob(found.function, found.arguments, id, handed_over=False)
            submitting.submit(session, [job])
            session.change(_RAN, session.dialect.id(id), session.dialect.id(found.id))

        self._in_transaction(run)
        return id

    def tick(self, random: Callable[[], float]) -> Ticked:
        ticked: Ticked = self._run(lambda session: tick(session, random))
        return ticked


class SQLScheduling:
    """The part of a store that has schedules."""

    _run: Callable[[Callable[[Session], Any]], Any]

    @property
    def schedules(self) -> SQLSchedules:
        """The schedules of jobs."""
        return SQLSchedules(self._run)


def _check(new: NewSchedule) -> None:
    if not isinstance(new.name, str) or not new.name.isprintable():
        raise InvalidOption(
            f"The name of a schedule is a string without control characters, not {new.name!r}."
        )
    if not new.name.strip() or len(new.name) > LONGEST_NAME:
        raise InvalidOption(
            f"The name of a schedule has 1 to {LONGEST_NAME} characters, and {new.name[:40]!r} has "
            f"{len(new.name)}."
        )
    check_function_name(new.function)
    storable("The arguments", new.arguments)


def _definition(new: NewSchedule) -> tuple[object, ...]:
    """Returns the values of the columns that say what is called when."""
    timetable = new.timetable
    return (
        *(new.function, new.arguments, timetable.every, timetable.cron, timetable.timezone),
        *(timetable.jitter, timetable.catch_up, str(timetable.overlap), timetable.max_late),
    )


def _insert(session: Session, id: str, new: NewSchedule, *, from_code: bool) -> bool:
    now = time_of(round(session.rows(_NOW)[0][0], 3))
    return bool(
        session.change(
            _INSERT,
            *(session.dialect.id(id), new.name, *_definition(new), from_code),
            *(now.timestamp(), seconds_of(new.timetable.ticks.after(now))),
        )
    )


def _offer(session: Session, new: NewSchedule) -> bool:
    """Returns whether the schedule of that name is that of the code."""
    row = session.row(_GET, new.name)
    if row is None and _insert(session, new_id(), new, from_code=True):
        return True
    if row is not None and _is_as(schedule_of(row), new):
        return schedule_of(row).from_code
    row = session.row(_LOCK, new.name)
    found = _found(new.name, row)
    if found.from_code and not _is_as(found, new):
        _change(session, found, new, now_of(row))
    return found.from_code


def _is_as(found: Schedule, new: NewSchedule) -> bool:
    return _definition(new) == (
        *(found.function, found.arguments, found.every, found.cron, found.timezone),
        *(found.jitter, found.catch_up, found.overlap, found.max_late),
    )


def _change(session: Session, found: Schedule, new: NewSchedule, now: datetime) -> None:
    last = new.timetable.begun(found.last, now)
    session.change(
        _CHANGE,
        *_definition(new),
        *(last.timestamp(), seconds_of(new.timetable.ticks.after(last))),
        session.dialect.id(found.id),
    )


def _row(session: Session, template: str, name: str) -> Row | None:
    """Returns the row of a schedule. No name is compared that a database would refuse."""
    is_name = isinstance(name, str) and is_storable(name)
    return session.row(template, name) if is_name else None


def _found(name: str, row: Row | None) -> Schedule:
    if row is None:
        raise InvalidOption(f"There is no schedule {name!r}.")
    return schedule_of(row)
