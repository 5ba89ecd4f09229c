"""The timetable of a function: when it ticks, and what becomes of ticks that come late.

Pure: the current time and randomness are arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypedDict

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import PERIOD, SWITCH, choice
from gearmanny.schedules.ticks import Ticks, ticks_of

MOST_AT_ONCE = 100
"""Ticks that are made up in one transaction."""

_OVERLAP = choice("skip", "queue")

Overlap = Literal["skip", "queue"]


class OptionsOfTimetable(TypedDict, total=False):
    """The options that say when a function is called by itself, of `@task` and `schedules.add`."""

    every: timedelta
    """The time from one tick to the next, a second or more. The first comes after that time."""
    cron: str
    """Instead of `every`, an expression of five fields, such as `"0 3 * * mon-fri"`."""
    timezone: str
    """The IANA name of the time zone of `cron`. Default: `"UTC"`."""
    args: Mapping[str, Any]
    """The arguments of the task. Default: none."""
    jitter: float
    """Seconds by which a job is put off at random, at most. Default: 0."""
    catch_up: bool
    """Whether all missed ticks are made up for, instead of the last one. Default: False."""
    overlap: Overlap
    """Whether a tick is skipped while the job of an earlier one waits or runs, or its job is queued
    all the same. Default: `"skip"`; with `catch_up`, `"queue"`."""
    max_late: float | None
    """Seconds after which a tick that was missed is not made up for any more. Default: None, for
    never."""


class Due(NamedTuple):
    """The ticks of a schedule that a dispatcher finds."""

    jobs: list[datetime]
    """When each of their jobs may run."""
    last: datetime
    """The last tick by now, whether it has a job or not."""
    next: datetime | None
    """The tick after that; None if there is none."""
    dropped: int
    """How many ticks have no job because they come too late, or at least 1 if others replace
    them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timetable:
    """When a function is called.

    Raises:
        InvalidOption: a value is invalid.
    """

    every: float | None = None
    """Seconds from one tick to the next; None with `cron`."""
    cron: str | None = None
    timezone: str = "UTC"
    jitter: float = 0.0
    catch_up: bool = False
    overlap: Overlap = "skip"
    max_late: float | None = None
    ticks: Ticks = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ticks", ticks_of(self.every, self.cron, self.timezone))
        if self.every is not None:
            object.__setattr__(self, "every", round(float(self.every), 3))
            if self.timezone != "UTC":
                raise InvalidOption(
                    "timezone has no effect with every, which knows no days. Leave it out, or use "
                    "cron."
                )
        PERIOD.check("jitter", self.jitter)
        SWITCH.check("catch_up", self.catch_up)
        _OVERLAP.check("overlap", self.overlap)
        PERIOD.check("max_late", self.max_late, optional=True)
        if self.catch_up and self.overlap == "skip":
            raise InvalidOption(
                "catch_up makes up for all missed ticks, and with overlap='skip' there would be a "
                "job for one of them. Leave one of the two out."
            )

    def due(self, last: datetime, now: datetime, random: Callable[[], float]) -> Due:
        """Returns the ticks that are due.

        Args:
            last: the last tick that was taken care of.
            now: the current time.
            random: returns a number from 0 to 1.
        """
        found: list[datetime] = []
        dropped = 0
        if self.catch_up:
            tick = self.ticks.after(last)
            while tick is not None and tick <= now and len(found) < MOST_AT_ONCE:
                found.append(tick)
                tick = self.ticks.after(tick)
        elif (tick := self.ticks.last(last, now)) is not None:
            found.append(tick)
            dropped += self.ticks.after(last) != tick
        if found:
            last = found[-1]
        kept = [tick for tick in found if not self._is_too_late(tick, now)]
        dropped += len(found) - len(kept)
        jobs = [tick + timedelta(seconds=self.jitter * random()) for tick in kept]
        return Due(jobs, last, self.ticks.after(last), dropped)

    def _is_too_late(self, tick: datetime, now: datetime) -> bool:
        return self.max_late is not None and (now - tick).total_seconds() > self.max_late

    def begun(self, last: datetime, now: datetime) -> datetime:
        """Returns what counts as its last tick when it takes the place of another timetable: no
        tick of its own that would have been before now.

        Args:
            last: the last tick of the other one.
            now: the current time.
        """
        first = self.ticks.after(last)
        return now if first is not None and first <= now else last

    def help(self) -> dict[str, Any]:
        """Returns its entry in the help table: what differs from the defaults."""
        shown = (each for each in fields(self) if each.init)
        values = {each.name: (getattr(self, each.name), each.default) for each in shown}
        return {name: value for name, (value, default) in values.items() if value != default}

    @property
    def words(self) -> str:
        """When it ticks, in words."""
        return self.ticks.words


class Planned(NamedTuple):
    """A timetable, and the arguments of the calls."""

    timetable: Timetable
    args: Mapping[str, Any]


def planned(options: Mapping[str, Any], caller: str) -> Planned | None:
    """Returns the timetable that options describe; None if there are none.

    Args:
        options: those of `OptionsOfTimetable`.
        caller: what was called with them, for messages.

    Raises:
        InvalidOption: a value is invalid.
        TypeError: there is no such option.
    """
    for name in options:
        if name not in OptionsOfTimetable.__annotations__:
            raise TypeError(f"{caller}() got an unexpected keyword argument {name!r}")
    if not options:
        return None
    if "every" not in options and "cron" not in options:
        raise InvalidOption(
            f"{', '.join(options)} has no effect without every or cron. Add "
            "every=timedelta(minutes=5), for example."
        )
    values = dict(options)
    args = values.pop("args", {})
    if not isinstance(args, Mapping) or not all(isinstance(name, str) for name in args):
        raise InvalidOption(f"args must be a mapping of the arguments by name, not {args!r}.")
    if "every" in values:
        every = values["every"]
        if not isinstance(every, timedelta):
            raise InvalidOption(f"every must be a timedelta of a second or more, not {every!r}.")
        values["every"] = every.total_seconds()
    if values.get("catch_up") is True:
        values.setdefault("overlap", "queue")
    return Planned(Timetable(**values), args)
