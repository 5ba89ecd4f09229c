"""Looks at the records of jobs, where several are waited for together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from gearmanny.blocking.group import Group
from gearmanny.blocking.walker import WALKER
from gearmanny.calling.call import Call
from gearmanny.calling.records import LATER, LONGEST, OUTAGE, REST, SHORTEST, SOON, Recorded
from gearmanny.errors import StoreUnavailable, UnknownJob
from gearmanny.net.deadline import Deadline


class _Bell:
    """Notes that a job may have ended, and wakes who waits."""

    def __init__(self, call: Call[Any], rung: deque[Call[Any]], wake: threading.Event) -> None:
        self._call = call
        self._rung = rung
        self._wake = wake

    def ring(self) -> None:
        self._rung.append(self._call)
        self._wake.set()


class Looks:
    """Looks at recorded jobs: at those of which the database tells something, and at all of them
    after pauses."""

    def __init__(self, jobs: Mapping[Call[Any], Recorded]) -> None:
        """
        Args:
            jobs: their calls, with what is known of their records.
        """
        self._jobs = dict(jobs)
        self._bells: dict[Call[Any], _Bell] = {}
        """Those of the jobs that are waited for."""
        self._rung: deque[Call[Any]] = deque()
        self._wake = threading.Event()
        self._pause = 0.0
        self._is_told = True
        """Whether the database tells of all of them."""
        self._at_all = Deadline(0)
        """When all of them are looked at again."""
        self._outage = Deadline(0)
        """When the database has to be back."""

    def look(self, group: Group, deadline: Deadline) -> Deadline:
        """Notes the jobs that have ended, or are forgotten, which `get_result` says.

        Args:
            group: takes the notes.
            deadline: when nobody waits any more.

        Returns:
            When to look next, at the latest.

        Raises:
            StoreUnavailable: the database cannot be reached, and could not at the first look, or
                for too long.
            GearmanException: the end of a job cannot be seen in the transaction that is open here.
        """
        self._wake.clear()
        is_time = self._at_all.has_passed()
        calls = list(self._jobs) if is_time else []
        while self._rung:
            calls.append(self._rung.popleft())
        try:
            if is_time and self._pause:
                self._listen()
            for call in calls:
                if call in self._jobs and _is_over(self._jobs[call]):
                    del self._jobs[call]
                    self._bells.pop(call, None)
                    group.notice(call)
            self._outage = Deadline(OUTAGE)
        except StoreUnavailable:
            if self._outage.has_passed():
                raise
            self._at_all = Deadline(REST)
        else:
            if is_time:
                self._at_all = Deadline(self._next_pause())
        return deadline.within(self._at_all.remaining())

    def wait(self, deadline: Deadline) -> None:
        """Waits until there is something to look at.

        Args:
            deadline: when that is over.
        """
        self._wake.wait(deadline.remaining())

    def _listen(self) -> None:
        """Begins to listen, as far as that was not done: jobs that had ended before need none."""
        for call, recorded in self._jobs.items():
            if call not in self._bells:
                bell = _Bell(call, self._rung, self._wake)
                if recorded.store.notifies:
                    recorded.store.listener.add(recorded.id, bell, is_for_the_end=True)
                else:
                    self._is_told = False
                recorded.watched()
                self._bells[call] = bell

    def _next_pause(self) -> float:
        if not self._bells:
            self._pause = SHORTEST
        elif not self._is_told:
            self._pause = min(self._pause * 2, LONGEST)
        elif self._pause < SOON:
            self._pause = SOON
        else:
            self._pause = min(self._pause * 5, LATER)
        return self._pause


def _is_over(recorded: Recorded) -> bool:
    try:
        return WALKER.run(recorded.has_ended())
    except UnknownJob:
        return True
