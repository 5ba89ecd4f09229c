"""The work object of the blocking clients, and waiting for several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any

from gearmanny.blocking.channel import Channel
from gearmanny.blocking.driver import Driver
from gearmanny.blocking.group import Group
from gearmanny.blocking.walker import WALKER
from gearmanny.calling import asking, waiting
from gearmanny.calling.call import Call
from gearmanny.calling.values import JobStatus, Progress, Update
from gearmanny.calling.work import Work
from gearmanny.errors import TaskTimeout, UnknownJob
from gearmanny.net.deadline import Deadline
from gearmanny.payload.counts import number_of

if TYPE_CHECKING:
    from gearmanny.blocking.looks import Looks

_TURN = 0.02
"""Seconds for which one of several connections is read, when any of them may bring an answer."""

_GLANCE = 0.1
"""Seconds between two looks at recorded jobs, where others are waited for as well."""


class WorkResult(Work[Channel]):
    """A job that was sent. Any thread may ask it, any number of times."""

    __slots__ = ("_driver",)

    def __init__(self, call: Call[Channel], driver: Driver) -> None:
        self._call = call
        self._driver = driver

    @classmethod
    def _of_record(cls, call: Call[Channel]) -> WorkResult:
        walker: Any = WALKER  # nothing is asked of a job server
        return cls(call, walker)

    @property
    def progress(self) -> Progress | None:
        """The last progress that the worker reported, or None. Never waits. That of a recorded job
        is looked up in its store."""
        if self._call.record is not None:
            return self.status().progress
        self._driver.look(self._call)
        return self._call.progress

    def is_done(self) -> bool:
        """Returns whether there is an answer, good or bad. Never waits for one.

        An idempotent job that was lost is sent again here when it is time, which may take as long
        as connecting does. The record of a recorded job is looked up in its store.

        Raises:
            UnknownJob: there is no record of the job any more.
            StoreUnavailable: the database with the record cannot be reached.
        """
        if self._call.record is not None:
            return self._driver.run(self._recorded.has_ended())
        self._driver.look(self._call)
        return self._call.is_answered()

    def get_result(self, timeout: float | None = 60) -> Any:
        """Returns what the task returned. May be called again.

        A background job has no answer: this returns None once the job server has accepted it. A
        recorded one has: its record is waited for.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            TaskError: the task failed on its worker.
            TaskTimeout: no answer in time. The job may still run, and may still be waited for.
            JobCancelled: it was cancelled.
            JobServerLost: the connection ended; the job may or may not run.
            JobServerUnavailable: an idempotent job was lost, and no job server could be reached.
            JobServerError: the job server refused the job.
            ProtocolError: the other side is no job server.
            EncodingError: the answer, or an update for `on_update`, cannot be decoded.
            UnknownJob: there is no record of the job any more.
            StoreUnavailable: the database with the record cannot be reached.
            GearmanException: the end cannot be seen in the transaction that is open here.
            InvalidOption: the timeout is not a number of seconds.
            Exception: any that `on_update` raises.
        """
        if self._call.record is not None:
            return self._driver.run(self._recorded.result(Deadline(timeout), timeout))
        return self._driver.result(self._call, timeout)

    def exception(self, timeout: float | None = 60) -> Exception | None:
        """Returns the exception that `get_result()` would raise for the end of the job; None when
        it ended well.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.

        Raises:
            TaskTimeout: no answer in time. The job may still run, and may still be waited for.
            InvalidOption: the timeout is not a number of seconds.
        """
        if self._call.record is not None:
            return self._driver.run(self._recorded.exception(Deadline(timeout), timeout))
        error: Exception | None = self._run(waiting.exception, timeout)
        return error

    def updates(self, timeout: float | None = None) -> Iterator[Update]:
        """Yields what the worker sends while the job runs, in its order, until the job ends.

        Every update is given out once. How the job ended, `get_result()` says. Of a recorded job,
        each `Progress` is yielded that its store has.

        Args:
            timeout: seconds for the whole job to end; None waits for as long as it takes.

        Raises:
            TaskTimeout: the job did not end in time, or its updates are taken too slowly.
            EncodingError: an update cannot be decoded.
            InvalidOption: the timeout is not a number of seconds.
        """
        if self._call.record is not None:
            return self._driver.iterate(self._recorded.progresses(Deadline(timeout), timeout))
        return self._driver.iterate(waiting.updates(self._call, Deadline(timeout), timeout))

    def status(self, timeout: float | None = 60) -> JobStatus:
        """Asks the job server for the job: whether it waits, runs, or is unknown by now.

        A background job is found by its unique id, also after a restart of its job server; any
        other one only on the connection that it was sent on. A recorded job is looked up in its
        store.

        Args:
            timeout: seconds to wait for the answer; None waits for as long as it takes.

        Raises:
            TaskTimeout: the job server did not accept the job in time.
            JobServerUnavailable: the job server cannot be reached, or did not answer in time.
            JobServerLost: the connection ended before the answer came.
            JobServerError: the job server refused the job.
            StoreUnavailable: the database with the record cannot be reached.
            InvalidOption: the timeout is not a number of seconds.
        """
        found: JobStatus = self._run(asking.status, timeout)
        return found

    def cancel(self, timeout: float | None = 60) -> bool:
        """Takes the job from its queue, when no worker has it yet. Nothing stops a job that runs:
        the protocol has no way to.

        With a `unique` key, all its callers lose the job; gearmand 1.1.20 lets new calls with
        that key join it, and be lost with it, until a worker asks for the function again. A
        recorded job is cancelled in its store; one that runs is interrupted.

        Args:
            timeout: seconds to wait for the job server; None waits for as long as it takes.

        Returns:
            Whether the job will not run. Then `get_result()` raises `JobCancelled`. False when
            it runs, or is over. A worker that took it in the very moment runs it without a
            caller: `get_result()` raises a `TaskError` then.

        Raises:
            TaskTimeout: the job server did not accept the job in time.
            JobServerUnavailable: the job server cannot be reached, or did not answer in time.
            JobServerLost: the connection ended before the answer came, or the one on which a
                background job was sent: its handle may name another job by now.
            JobServerError: the job server refused.
            StoreUnavailable: the database with the record cannot be reached.
            InvalidOption: the timeout is not a number of seconds.
        """
        return bool(self._run(asking.cancel, timeout))

    cancel.alters_data = True  # type: ignore[attr-defined]  # no method of Django's templates

    def _ends(self, deadline: Deadline) -> bool:
        """Waits for the end of the job; returns whether it came before the deadline."""
        if self._call.record is None:
            return self._driver.wait(self._call, self._call.is_answered, deadline)
        try:
            self._driver.run(self._recorded.end(deadline, 0.0))
        except TaskTimeout:
            return False
        except UnknownJob:  # which `get_result` says
            pass
        return True

    def _run(self, what: Any, timeout: float | None) -> Any:
        return self._driver.run(what(self._call, Deadline(timeout), timeout))


def as_completed(
    results: Iterable[WorkResult], timeout: float | None = None
) -> Iterator[WorkResult]:
    """Yields work objects as their jobs end, in the order in which they do.

    Args:
        results: the work objects.
        timeout: seconds for all of them; None waits for as long as they take.

    Raises:
        TimeoutError: some did not end in time.
        StoreUnavailable: the database with the records of jobs cannot be reached. A wait that has
            begun goes on for up to a minute while it is away.
        GearmanException: the end of a job cannot be seen in the transaction that is open here.
        InvalidOption: the timeout is not a number of seconds.
    """
    deadline = Deadline(timeout)
    soon = Deadline(waiting.UNSERVED) if timeout is None else None
    group = Group()
    pending = {work._call: work for work in results}
    looks = _looks_at([work for work in pending.values() if work.id is not None])
    channels = {call.line for call in pending if call.record is None}
    for call in pending:
        if call.record is None:
            call.line.watch(call, group)
    while pending:
        while not group.ended:
            within = soon or deadline
            if looks is not None:
                within = looks.look(group, within)
                if channels:  # in which no bell is heard
                    within = within.within(_GLANCE)
            if not group.ended and not _wait_for_any(group, channels, looks, within):
                if deadline.has_passed():
                    raise _late(pending, timeout)
                if soon is not None and soon.has_passed():
                    soon = None
                    _warn_of_unserved(pending.values())
                continue
            if not group.ended:  # an interrupt came before we were notified
                group.ended.extend(
                    call
                    for call in pending
                    if call.record is None and (call.is_lost or call.is_answered())
                )
        ended = group.ended.popleft()
        if ended not in pending:
            continue
        if ended.is_lost and not pending[ended]._driver.send_again(ended, deadline):
            raise _late(pending, timeout)
        if ended.is_answered():
            yield pending.pop(ended)
        else:  # sent again
            ended.line.watch(ended, group)
            channels = {call.line for call in pending if call.record is None}


def wait(
    results: Iterable[WorkResult], timeout: float | None = None
) -> tuple[set[WorkResult], set[WorkResult]]:
    """Waits until all jobs have ended, or the time is over.

    Args:
        results: the work objects.
        timeout: seconds to wait; None waits for as long as they take.

    Returns:
        The work objects that are done, and those that are not.

    Raises:
        InvalidOption: the timeout is not a number of seconds.
    """
    deadline = Deadline(timeout)
    works = set(results)
    if timeout is None:
        soon = Deadline(waiting.UNSERVED)
        if late := {work for work in works if not work._ends(soon)}:
            _warn_of_unserved(late)
    done = {work for work in works if work._ends(deadline)}
    return done, works - done


def _warn_of_unserved(works: Iterable[WorkResult]) -> None:
    """Logs which functions no worker offers. Once for each: there may be thousands of calls."""
    for work in {work.function: work for work in works if not work._call.is_answered()}.values():
        work._driver.run(waiting.warn_if_unserved(work._call))


def _looks_at(works: list[WorkResult]) -> Looks | None:
    """Returns what looks at recorded jobs; None where there are none."""
    if not works:
        return None
    from gearmanny.blocking.looks import Looks  # noqa: PLC0415  clients with records alone

    return Looks({work._call: work._recorded for work in works})


def _wait_for_any(
    group: Group, channels: set[Channel], looks: Looks | None, deadline: Deadline
) -> bool:
    """Waits until one of a group has ended; returns whether that was before the deadline."""
    if not channels:
        assert looks is not None  # there is something to wait for
        looks.wait(deadline)
        return False
    if len(channels) == 1:
        (channel,) = channels
        return channel.wait(group, lambda: group.ended, deadline)
    while not group.ended and deadline.remaining() != 0:
        # A thread reads one connection at a time, so it goes round.
        for channel in channels:
            channel.wait(group, lambda: group.ended, deadline.within(_TURN))
    return bool(group.ended)


def _late(pending: Sized, timeout: float | None) -> TimeoutError:
    return TimeoutError(f"{number_of(len(pending), 'job')} did not end within {timeout} s.")
