"""Schedules for coroutines: the same as `gearmanny.calling.schedules`, in threads."""

from __future__ import annotations

import asyncio
from typing import Unpack

from gearmanny.calling.schedules import Schedules
from gearmanny.records.scheduling import Schedule
from gearmanny.schedules.timetable import OptionsOfTimetable


class AioSchedules:
    """The schedules of a store, `client.schedules`, whose methods are awaited. They do and raise
    the same as those of `Schedules`; the event loop goes on meanwhile."""

    def __init__(self, schedules: Schedules) -> None:
        """
        Args:
            schedules: the same, to be waited for.
        """
        self._schedules = schedules

    async def all(self) -> list[Schedule]:
        """Returns all schedules, by name."""
        return await asyncio.to_thread(self._schedules.all)

    async def get(self, name: str) -> Schedule:
        """Returns a schedule."""
        return await asyncio.to_thread(self._schedules.get, name)

    async def add(self, name: str, function: str, /, **options: Unpack[OptionsOfTimetable]) -> None:
        """Adds a schedule, which begins now."""
        await asyncio.to_thread(self._schedules.add, name, function, **options)

    async def change(self, name: str, /, **options: Unpack[OptionsOfTimetable]) -> None:
        """Changes a schedule that somebody has added."""
        await asyncio.to_thread(self._schedules.change, name, **options)

    async def pause(self, name: str) -> None:
        """Lets a schedule tick no more."""
        await asyncio.to_thread(self._schedules.pause, name)

    async def resume(self, name: str) -> None:
        """Lets a schedule that was paused tick again, from now on."""
        await asyncio.to_thread(self._schedules.resume, name)

    async def remove(self, name: str) -> None:
        """Removes a schedule."""
        await asyncio.to_thread(self._schedules.remove, name)

    async def run(self, name: str) -> str:
        """Runs a schedule now; returns the id of the record of the job."""
        return await asyncio.to_thread(self._schedules.run, name)
