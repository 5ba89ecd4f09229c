"""The schedules of a store, as clients add and change them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Unpack

from gearmanny.errors import InvalidOption
from gearmanny.payload.encoding import Encoder, encode
from gearmanny.records.contract import Store
from gearmanny.records.scheduling import NewSchedule, Schedule
from gearmanny.schedules.timetable import OptionsOfTimetable, planned

_NO_RECORDS = (
    "Schedules are in the store of records, and this client has none. Give it records=, such as "
    'SQLStore("sqlite:///jobs.db") of gearmanny.records.sql.'
)


class Schedules:
    """The schedules of a store: `client.schedules`.

    Its methods raise StoreUnavailable when the database cannot be reached, and InvalidOption when
    there is no schedule of a name.
    """

    def __init__(self, store: Store | None, encoder: type[Encoder]) -> None:
        """
        Args:
            store: that of the client.
            encoder: that of the client.

        Raises:
            InvalidOption: there is no store.
        """
        if store is None:
            raise InvalidOption(_NO_RECORDS)
        self._schedules = store.schedules
        self._encoder = encoder

    def all(self) -> list[Schedule]:
        """Returns all schedules, by name."""
        return self._schedules.all()

    def get(self, name: str) -> Schedule:
        """Returns a schedule.

        Args:
            name: its name; of one in the code of a worker, that of the function.
        """
        return self._schedules.get(name)

    def add(self, name: str, function: str, /, **options: Unpack[OptionsOfTimetable]) -> None:
        """Adds a schedule, which begins now.

        Args:
            name: its name, which no other schedule has.
            function: the Gearman function that it calls.
            **options: `every` or `cron`, and what else `@task` takes for schedules.

        Raises:
            InvalidOption: an option is invalid, or there is a schedule of that name.
            InvalidTask: no function can have that name.
            EncodingError: the arguments cannot be encoded.
        """
        plan = planned(options, "add")
        if plan is None:
            raise InvalidOption("A schedule has either every or cron.")
        arguments = self._encoded(plan.args)
        self._schedules.add(NewSchedule(name, function, arguments, plan.timetable))

    def change(self, name: str, /, **options: Unpack[OptionsOfTimetable]) -> None:
        """Changes a schedule that somebody has added. No new tick is in the past.

        Args:
            name: its name.
            **options: those that change, as for `add`.

        Raises:
            InvalidOption: an option is invalid, or the schedule is in the code of a worker.
            EncodingError: the arguments cannot be encoded.
        """
        found = self._schedules.get(name)
        kept = _options_of(found)
        for given, other in (("every", ("cron", "timezone")), ("cron", ("every",))):
            if given in options:
                for option in other:
                    kept.pop(option, None)
        plan = planned(kept | options, "change")
        assert plan is not None, "a schedule has ticks"
        arguments = self._encoded(plan.args) if "args" in options else found.arguments
        self._schedules.change(NewSchedule(name, found.function, arguments, plan.timetable))

    def pause(self, name: str) -> None:
        """Lets a schedule tick no more, whatever workers start.

        Args:
            name: its name.
        """
        self._schedules.pause(name)

    def resume(self, name: str) -> None:
        """Lets a schedule that was paused tick again, from now on.

        Args:
            name: its name.
        """
        self._schedules.resume(name)

    def remove(self, name: str) -> None:
        """Removes a schedule. One that is in the code of a worker comes back when a worker starts:
        pause it.

        Args:
            name: its name.
        """
        self._schedules.remove(name)

    def run(self, name: str) -> str:
        """Runs a schedule now, whether it is paused or not. Its ticks stay as they are.

        Args:
            name: its name.

        Returns:
            The id of the record of the job.
        """
        return self._schedules.run(name)

    def _encoded(self, args: Mapping[str, Any]) -> str:
        if getattr(self._encoder, "takes_payload", False):
            if args:
                raise InvalidOption("args has no effect: this client sends payloads.")
            return ""
        try:
            return encode(self._encoder, dict(args)).decode()
        except UnicodeDecodeError as error:
            raise InvalidOption(
                f"{self._encoder.__name__} does not encode arguments as text, which schedules need."
            ) from error


def _options_of(found: Schedule) -> dict[str, Any]:
    options: dict[str, Any] = {
        "jitter": found.jitter,
        "catch_up": found.catch_up,
        "overlap": found.overlap,
        "max_late": found.max_late,
    }
    if found.every is not None:
        return options | {"every": timedelta(seconds=found.every)}
    return options | {"cron": found.cron, "timezone": found.timezone}
