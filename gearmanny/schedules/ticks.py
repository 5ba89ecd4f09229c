"""The moments at which a schedule ticks. No clock: the current time is an argument.

A day of a cron expression is worked out as a whole, as its hours may exist twice or not at all. As
in Debian's cron, an expression that names its minutes and hours means times on the wall: one that
the clock skips is made up for when the clock has been put forward, and one that comes twice counts
once. `*` in the minutes or hours means every so often, whatever the clocks do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import number

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from cronsim import CronSim

SHORTEST = 1.0
"""Seconds between two ticks, at least."""

_LONGEST = 100 * 366 * 86400.0

_SEARCHED_DAYS = 50 * 366
"""Days within which an expression has to tick: the 29th of February may be a Monday only in decades
to come."""

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)

EVERY = number(
    "a timedelta of a second or more, up to a hundred years",
    lambda seconds: SHORTEST <= seconds <= _LONGEST,
)


class Ticks(Protocol):
    """The ticks of a schedule. All moments are in UTC."""

    def after(self, moment: datetime) -> datetime | None:
        """Returns the first tick after a moment; None if there is none."""

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """Returns the last tick after one moment and not after another; None if there is none."""

    @property
    def words(self) -> str:
        """When it ticks, in words."""


@dataclass(frozen=True, slots=True)
class Every:
    """Ticks at equal distances from the last one."""

    seconds: float

    def after(self, moment: datetime) -> datetime:
        """See `Ticks`. The moment is that of a tick."""
        return moment + timedelta(seconds=self.seconds)

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """See `Ticks`. The first moment is that of a tick."""
        count = (until - after) // timedelta(seconds=self.seconds)
        return after + count * timedelta(seconds=self.seconds) if count > 0 else None

    @property
    def words(self) -> str:
        """See `Ticks`."""
        for unit, seconds in _UNITS:
            if self.seconds % seconds == 0:
                count = self.seconds / seconds
                return f"every {unit}" if count == 1 else f"every {count:g} {unit}s"
        return f"every {self.seconds:g} seconds"


@dataclass(frozen=True, slots=True)
class Cron:
    """Ticks of a cron expression, in a time zone."""

    expression: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """See `Ticks`."""
        today = moment.astimezone(self.zone).date()
        for day in self._days(today - _DAY, 1):  # a tick that was skipped may come a day later
            ticks = _ticks_of(self, day)
            place = bisect_right(ticks, moment)
            if place < len(ticks):
                return ticks[place]
        return None

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """See `Ticks`."""
        first = after.astimezone(self.zone).date() - _DAY
        for day in self._days(until.astimezone(self.zone).date(), -1):
            if day < first:
                break
            ticks = _ticks_of(self, day)
            place = bisect_right(ticks, until)
            if place:
                return ticks[place - 1] if ticks[place - 1] > after else None
        return None

    @property
    def words(self) -> str:
        """See `Ticks`."""
        text = _parsed(self.expression).explain()
        return f"{text[:1].lower()}{text[1:]}, {self.zone.key} time"

    def _days(self, first: date, step: int) -> Iterator[date]:
        """Yields the days that the expression names, from one on, forwards or backwards."""
        sim = _parsed(self.expression)
        for ordinal in range(first.toordinal(), first.toordinal() + step * _SEARCHED_DAYS, step):
            if not 1 <= ordinal <= date.max.toordinal() - 1:
                return
            day = date.fromordinal(ordinal)
            if day.month in sim.months and sim.match_day(day):
                yield day


@lru_cache(maxsize=1024)
def _ticks_of(cron: Cron, day: date) -> tuple[datetime, ...]:
    """Returns the ticks of a day, in order."""
    sim = _parsed(cron.expression)
    is_of_the_wall = not sim.parts[1].startswith("*") and not sim.parts[2].startswith("*")
    moments = _on_the_wall if is_of_the_wall else _as_time_goes
    return tuple(
        sorted(
            {
                moment
                for hour in sim.hours
                for minute in sim.minutes
                for moment in moments(datetime.combine(day, time(hour, minute)), cron.zone)
            }
        )
    )


def _on_the_wall(local: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yields the one moment of a time on the wall: the first, or the next that there is."""
    while not (moments := list(_as_time_goes(local, zone))):
        local += _MINUTE
    yield moments[0]


def _as_time_goes(local: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yields the moments at which clocks show a time: usually one, else two, or none."""
    previous = None
    for fold in (0, 1):
        moment = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if moment != previous and moment.astimezone(zone).replace(tzinfo=None) == local:
            yield moment
        previous = moment


@lru_cache(maxsize=256)
def _parsed(expression: str) -> CronSim:
    try:
        from cronsim import CronSim, CronSimError  # noqa: PLC0415  for schedules alone
    except ImportError as error:
        raise InvalidOption(
            "Cron expressions need the package cronsim. Install gearmanny[schedules]."
        ) from error
    try:
        if len(expression.split()) != 5:
            raise CronSimError("there are not five of them")
        return CronSim(expression, datetime(2000, 1, 1))
    except (CronSimError, ValueError) as error:  # the latter for numbers of many thousand digits
        raise InvalidOption(
            "cron must be five fields, for minute, hour, day of the month, month and day of the "
            f'week, such as "0 3 * * mon-fri", not {expression!r}: {error}.'
        ) from error


def ticks_of(every: float | None, cron: str | None, timezone: str) -> Ticks:
    """Returns the ticks of a schedule.

    Args:
        every: seconds from one to the next; None with `cron`.
        cron: an expression of five fields; None with `every`.
        timezone: the IANA name of the time zone of the expression.

    Raises:
        InvalidOption: a value is invalid, both or none are given, the expression never ticks, or
            the package that reads it is missing.
    """
    if (every is None) == (cron is None):
        raise InvalidOption("A schedule has either every or cron.")
    if every is not None:
        EVERY.check("every", every)
        return Every(round(every, 3))
    if not isinstance(cron, str):
        raise InvalidOption(f"cron must be an expression in text, not {cron!r}.")
    found = Cron(cron, _zone_of(timezone))
    if found.after(datetime(2000, 1, 1, tzinfo=UTC)) is None:
        raise InvalidOption(f"There is no day that the cron expression {cron!r} means.")
    return found


def _zone_of(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo  # noqa: PLC0415  for cron expressions alone

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError, AttributeError) as error:
        raise InvalidOption(
            f'timezone must be the name of a time zone, such as "Europe/Berlin", not {name!r}.'
        ) from error
