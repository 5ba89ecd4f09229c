"""A record as its caller sees it: its values, and waiting for what becomes of it. No I/O.

Loaded by clients with records alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gearmanny.calling.steps import Consult, Give, Heed, Listen, Pause, Steps
from gearmanny.calling.values import Progress
from gearmanny.errors import (
    GearmanException,
    JobCancelled,
    StoreUnavailable,
    TaskError,
    TaskTimeout,
    UnknownJob,
)
from gearmanny.net.deadline import Deadline
from gearmanny.payload.encoding import Encoder, decode
from gearmanny.payload.failures import decode_failure, foreign_failure
from gearmanny.records.contract import Store
from gearmanny.records.states import Event, State
from gearmanny.records.values import Payload, Snapshot
from gearmanny.records.waiting import Bell

SHORTEST, LONGEST = 0.02, 1.0
"""Seconds between two looks where the database wakes nobody. The pauses double."""

SOON, LATER = 0.1, 30.0
"""Seconds until a look that should not be needed, as the database tells of changes. One that came
at the moment when the wait began may be missed. The pauses grow by the factor of five."""

_SUPERSEDED = "It went back to the queue, and a newer job waits under the same key."

OUTAGE = 60.0
"""Seconds for which a wait that has begun goes on while the database is away."""

REST = 0.5
"""Seconds until it is asked again."""


class RecordUpdate(NamedTuple):
    """A change of a recorded job."""

    state: State
    progress: Progress | None
    """The last progress that its task reported."""


class Recorded:
    """A recorded job: the record as it was read last, and steps that read it again."""

    __slots__ = ("encoder", "function", "id", "snapshot", "store")

    def __init__(
        self, store: Store, id: str, encoder: type[Encoder], function: str | None = None
    ) -> None:
        """
        Args:
            store: has the record.
            id: of the record.
            encoder: makes values of the arguments and the result.
            function: the Gearman function, where it is known.
        """
        self.store = store
        self.id = id
        self.encoder = encoder
        self.function = function or ""
        self.snapshot: Snapshot | None = None

    def is_known_to_have_ended(self) -> bool:
        """Returns whether the last look has found the end of the job."""
        return self.snapshot is not None and not self.snapshot.state.is_open

    def progress(self) -> Progress | None:
        """Returns the progress that the last look has found."""
        return None if self.snapshot is None else progress_of(self.snapshot)

    def look(self) -> Steps[Snapshot]:
        """Reads the record.

        Raises:
            UnknownJob: there is none.
            StoreUnavailable: the database cannot be reached.
        """
        return self.seen((yield Consult(self.store, lambda: self.store.look(self.id))))

    def seen(self, found: Snapshot | None) -> Snapshot:
        """Keeps and returns what the store has found.

        Raises:
            UnknownJob: that is nothing.
        """
        if found is None:
            raise UnknownJob(
                f"There is no record of the job {self.id}: it is in another store, its transaction "
                "was rolled back, or it was pruned or deleted."
            )
        self.snapshot, self.function = found, found.function
        return found

    def watched(self) -> Snapshot | None:
        """Returns what the store finds, which tells of changes from now on.

        Raises:
            GearmanException: they cannot be seen in the transaction that is open here.
            StoreUnavailable: the database cannot be reached.
        """
        if not self.store.waits_in_vain(self.id):
            return self.store.watch(self.id)
        found = self.store.look(self.id)
        if found is None or not found.state.is_open:
            return found
        raise GearmanException(
            f"What becomes of the job {self.id} cannot be seen in the transaction that is open "
            "here. Wait for it after its COMMIT."
        )

    def has_ended(self) -> Steps[bool]:
        """Returns whether the job has ended, by a look at its record."""
        return not (yield from self.look()).state.is_open

    def end(self, deadline: Deadline, timeout: float | None) -> Steps[Snapshot]:
        """Waits for the end of the job.

        Args:
            deadline: when the wait is over anyhow.
            timeout: the seconds that it is made of, as the error names them.

        Raises:
            TaskTimeout: it did not end in time.
            GearmanException: it cannot be seen in the transaction that is open here.
            UnknownJob: there is no record of it.
            StoreUnavailable: the database cannot be reached.
        """
        waits = _Waits(self, is_for_the_end=True)
        found = yield from waits.first(deadline)
        while found.state.is_open:
            found = yield from waits.next(deadline, found, timeout)
        return found

    def result(self, deadline: Deadline, timeout: float | None) -> Steps[Any]:
        """Returns what the task returned, or raises what the job ended with; and what `end`
        raises."""
        found = yield from self.end(deadline, timeout)
        return self.value(found)

    def exception(self, deadline: Deadline, timeout: float | None) -> Steps[Exception | None]:
        """Returns what the job ended with where that is an exception, else None."""
        found = yield from self.end(deadline, timeout)
        try:
            self.value(found)
        except Exception as error:
            return error.with_traceback(None)  # whose frames would keep the payload
        return None

    def updates(self, deadline: Deadline, timeout: float | None) -> Steps[None]:
        """Gives the state and the progress of the job, and then each change, until it has ended;
        raises what `end` raises."""
        waits = _Waits(self, is_for_the_end=False)
        last = None
        found = yield from waits.first(deadline)
        while True:
            update = RecordUpdate(found.state, progress_of(found))
            if update != last:
                last = update
                yield Give(update)
            if not found.state.is_open:
                return
            found = yield from waits.next(deadline, found, timeout)

    def progresses(self, deadline: Deadline, timeout: float | None) -> Steps[None]:
        """Gives each progress of the job until it has ended; raises what `end` raises."""
        steps = self.updates(deadline, timeout)
        last, answer = None, None
        try:
            while True:
                step = steps.send(answer)
                if not isinstance(step, Give):
                    answer = yield step
                    continue
                answer = None
                if step.item.progress not in (None, last):
                    last = step.item.progress
                    yield Give(last)
        except StopIteration:
            return
        finally:
            steps.close()

    def cancel(self) -> Steps[bool]:
        """Cancels the job where it waits, and asks it to stop where it runs; returns whether it
        will not run."""
        state: State | None = yield Consult(self.store, lambda: self.store.cancel(self.id))
        if state is None:
            yield from self.look()
        return state is State.CANCELLED

    def retry(self) -> Steps[bool]:
        """Queues a failed job again; returns whether it had failed."""
        is_revived: bool = yield Consult(self.store, lambda: self.store.revive(self.id))
        yield from self.look()
        return is_revived

    def value(self, found: Snapshot) -> Any:
        """Returns the result of a job that has ended, or raises what it ended with."""
        error = self.error(found)
        if error is not None:
            raise error
        return self.decoded(found.result)

    def error(self, found: Snapshot) -> TaskError | JobCancelled | None:
        """Returns what a job ended with, if that was no success; or what its last attempt did."""
        if found.state is State.CANCELLED:
            return JobCancelled(found.function, _SUPERSEDED if _was_superseded(found) else "")
        if found.state is State.SUCCEEDED:
            return None
        if found.error is None:
            return TaskError(found.function) if found.state is State.FAILED else None
        failure = found.error.encode()
        return decode_failure(found.function, failure) or foreign_failure(found.function, failure)

    def decoded(self, payload: Payload | None) -> Any:
        """Returns the value of a payload; None where there is none, or it was forgotten.

        Raises:
            EncodingError: the encoder refuses it.
        """
        if payload is None or payload == "":
            return None
        return decode(self.encoder, payload if isinstance(payload, bytes) else payload.encode())


class _Waits:
    """When a record is looked at again: as soon as the database tells of a change; where it does
    not, after pauses."""

    def __init__(self, recorded: Recorded, *, is_for_the_end: bool) -> None:
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


def progress_of(found: Snapshot) -> Progress | None:
    """Returns the progress that a record has."""
    return None if found.progress is None else Progress(*found.progress)


def _was_superseded(found: Snapshot) -> bool:
    return bool(found.errors) and f'"event": "{Event.SUPERSEDED}"' in found.errors[-1]


def _why_open(found: Snapshot) -> str:
    if found.state is State.RUNNING:
        return "Its record says that it runs."
    return f"Its record says that it waits, with the due time {found.due}."
