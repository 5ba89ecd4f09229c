"""When a record is looked at again that somebody waits for. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gearmanny.calling.steps import Consult, Heed, Listen, Pause, Steps
from gearmanny.errors import StoreUnavailable, TaskTimeout
from gearmanny.net.deadline import Deadline
from gearmanny.records.contract import Store
from gearmanny.records.states import State
from gearmanny.records.values import Snapshot
from gearmanny.records.waiting import Bell

SHORTEST, LONGEST = 0.02, 1.0
"""Seconds between two looks where the database wakes nobody. The pauses double."""

SOON, LATER = 0.1, 30.0
"""Seconds until a look that should not be needed, as the database tells of changes. One that came
at the moment when the wait began may be missed. The pauses grow by the factor of five."""

OUTAGE = 60.0
"""Seconds for which a wait that has begun goes on while the database is away."""

REST = 0.5
"""Seconds until it is asked again."""


class Watched(Protocol):
    """The record that somebody waits for."""

    @property
    def store(self) -> Store:
        """The store that has it."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The record as it was read last, if it was."""

    def look(self) -> Steps[Snapshot]:
        """Reads the record."""

    def seen(self, found: Snapshot | None) -> Snapshot:
        """Keeps and returns what the store has found."""

    def watched(self) -> Snapshot | None:
        """Returns what the store finds, which tells of changes from now on."""


class Waits:
    """When a record is looked at again: as soon as the database tells of a change; where it does
    not, after pauses."""

    def __init__(self, recorded: Watched, *, is_for_the_end: bool) -> None:
        self._recorded = recorded
        self._is_for_the_end = is_for_the_end
        self._bell: Bell | None = None
        self._pause = 0.0
        self._has_begun = False

    def first(self, deadline: Deadline) -> Steps[Snapshot]:
        """Reads the record."""
        # Where the process has a connection for waiting, to begin costs no more than a look.
        if self._recorded.store.listener.listens:
            return (yield from self._begin(deadline))
        return (yield from self._look(deadline))

    def next(self, deadline: Deadline, found: Snapshot, timeout: float | None) -> Steps[Snapshot]:
        """Waits until the record may have changed, and reads it again.

        Raises:
            TaskTimeout: the deadline has passed.
        """
        if deadline.has_passed():
            assert timeout is not None  # only a deadline passes
            self._bell = None  # the traceback of the error may be kept
            raise TaskTimeout(found.function, timeout, _why_open(found))
        if not self._has_begun:
            return (yield from self._begin(deadline))
        if self._bell is None:
            yield Pause(deadline.within(self._pause).remaining() or 0.0)
            self._pause = min(self._pause * 2, LONGEST)
        elif (yield Heed(self._bell, deadline.within(self._pause), found.function)):
            self._pause = SOON
        else:
            self._pause = min(self._pause * 5, LATER)
        return (yield from self._look(deadline))

    def _look(self, deadline: Deadline) -> Steps[Snapshot]:
        found: Snapshot = yield from self._patiently(self._recorded.look, deadline)
        return found

    def _begin(self, deadline: Deadline) -> Steps[Snapshot]:
        found: Snapshot = yield from self._patiently(self._listen, deadline)
        self._has_begun = True
        return found

    def _listen(self) -> Steps[Snapshot]:
        store, id = self._recorded.store, self._recorded.id
        self._pause = SHORTEST
        if store.listener.listens or (yield Consult(store, lambda: store.notifies)):
            self._pause = SOON
            self._bell = yield Listen(store.listener, id, self._is_for_the_end)
        return self._recorded.seen((yield Consult(store, self._recorded.watched)))

    def _patiently(self, ask: Callable[[], Steps[Any]], deadline: Deadline) -> Steps[Any]:
        """Does something with the store. What has begun goes on when the database is back."""
        outage = deadline.within(OUTAGE)
        while True:
            try:
                return (yield from ask())
            except StoreUnavailable:
                if self._recorded.snapshot is None or outage.has_passed():
                    raise
            yield Pause(outage.within(REST).remaining() or 0.0)


def _why_open(found: Snapshot) -> str:
    if found.state is State.RUNNING:
        return "Its record says that it runs."
    return f"Its record says that it waits, with the due time {found.due}."
