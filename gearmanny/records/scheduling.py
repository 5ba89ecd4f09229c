"""The contract of a store for the schedules of jobs, and their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from gearmanny.schedules.timetable import Overlap, Timetable


class NewSchedule(NamedTuple):
    """A schedule as it is added, changed, or found in the code of a worker."""

    name: str
    function: str
    """The Gearman function."""
    arguments: str
    """As they travel."""
    timetable: Timetable


class Schedule(NamedTuple):
    """A schedule as it was read."""

    id: str
    name: str
    """Its name; that of the function where it is in the code of a worker."""
    function: str
    """The Gearman function that is called."""
    arguments: str
    """The arguments as they travel: the text of JSON."""
    every: float | None
    """Seconds from one tick to the next; None with `cron`."""
    cron: str | None
    """An expression of five fields; None with `every`."""
    timezone: str
    """The time zone of the expression."""
    jitter: float
    """Seconds by which a job is put off at random, at most."""
    catch_up: bool
    """Whether all missed ticks are made up for, instead of the last one."""
    overlap: Overlap
    """What becomes of a tick while the job of an earlier one waits or runs."""
    max_late: float | None
    """Seconds after which a missed tick is not made up for any more; None for never."""
    from_code: bool
    """Whether it is in the code of a worker, and is changed there."""
    paused: bool
    """Whether somebody has paused it. Nothing else does."""
    last: datetime
    """The last tick; or when it began, or went on."""
    next: datetime | None
    """The next tick; None if there is none."""
    job: str | None
    """The id of the record of its last job, which may be forgotten by now."""
    offered: bool = False
    """Whether a worker that lives offers the function; and, where the schedule is in code, has it
    in its code."""

    @property
    def timetable(self) -> Timetable:
        """When it ticks.

        Raises:
            InvalidOption: it cannot be read: somebody else has written it, or the package cronsim
                is missing here.
        """
        return Timetable(
            every=self.every,
            cron=self.cron,
            timezone=self.timezone,
            jitter=self.jitter,
            catch_up=self.catch_up,
            overlap=self.overlap,
            max_late=self.max_late,
        )

    @property
    def words(self) -> str:
        """When it ticks, in words, such as "at 03:00 every day, Europe/Berlin time".

        Raises:
            InvalidOption: as `timetable` does.
        """
        return self.timetable.words


class Tick(NamedTuple):
    """A schedule that was moved on."""

    name: str
    function: str
    at: datetime
    """The tick; the last one where several were due."""
    jobs: Sequence[str]
    """The ids of the records that were made."""
    dropped: int
    """Ticks without a job: they came too late, or the last one stands for them."""
    is_skipped: bool
    """Whether there is no job because that of an earlier tick waits or runs."""


class Ticked(NamedTuple):
    """The outcome of a look for schedules that are due."""

    ticks: list[Tick]
    unreadable: dict[str, str]
    """Schedules that could not be moved on, by name, and why."""
    wait: float | None
    """Seconds until the next tick, 0 if more are due; None if nothing ticks."""


class Schedules(Protocol):
    """The schedules of a store. All times are those of the database.

    Every method raises `StoreUnavailable` when the database cannot be reached, and those that name
    a schedule raise InvalidOption when there is none of that name.
    """

    def all(self) -> list[Schedule]:
        """Returns all schedules, by name."""

    def get(self, name: str) -> Schedule:
        """Returns a schedule."""

    def add(self, new: NewSchedule) -> None:
        """Adds a schedule, which begins now.

        Raises:
            InvalidOption: there is one of that name, or a name cannot be used.
            InvalidTask: no function can have that name.
        """

    def change(self, new: NewSchedule) -> None:
        """Changes the schedule of that name. No new tick is in the past.

        Raises:
            InvalidOption: it is in the code of a worker, and is changed there.
            InvalidTask: no function can have that name.
        """

    def offer(self, found: Sequence[NewSchedule]) -> list[str]:
        """Adds schedules that were found in the code of workers, or changes them to be as they are
        there. What is paused stays paused.

        Returns:
            The names that belong to schedules which are not in code: those are left alone.
        """

    def pause(self, name: str) -> None:
        """Lets a schedule tick no more."""

    def resume(self, name: str) -> None:
        """Lets a schedule that was paused tick again, from now on."""

    def remove(self, name: str) -> None:
        """Removes a schedule. One that is in the code of a worker is added again when a worker
        starts."""

    def run(self, name: str) -> str:
        """Makes a job of a schedule now, which a dispatcher hands over; ticks stay as they are.

        Returns:
            The id of the record.
        """

    def tick(self, random: Callable[[], float]) -> Ticked:
        """Makes the jobs of all ticks that are due. Any number of dispatchers may call it at the
        same time.

        Args:
            random: returns a number from 0 to 1.
        """


class Scheduling(Protocol):
    """A store that has schedules."""

    @property
    def schedules(self) -> Schedules:
        """The schedules of jobs."""
