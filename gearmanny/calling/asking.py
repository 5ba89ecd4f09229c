"""Asking job servers for a job, and taking it from its queue."""

from __future__ import annotations

from typing import Any

from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Line, Question
from gearmanny.calling.steps import Ask, Command, Reach, Steps
from gearmanny.calling.values import JobState, JobStatus
from gearmanny.calling.waiting import until
from gearmanny.errors import (
    GearmanException,
    JobServerError,
    JobServerLost,
    JobServerUnavailable,
    ProtocolError,
)
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host
from gearmanny.protocol.admin import AdminConnection


def status(call: Call[Any], deadline: Deadline, timeout: float | None) -> Steps[JobStatus]:
    """Returns the state of a job: a recorded job has it in its record, a background job is found
    by its unique id, at any time, and any other one only on the connection that it was sent over.

    Raises:
        TaskTimeout: the job server did not name the job in time.
        JobServerUnavailable: it cannot be reached, or has not answered in time.
        JobServerLost: the connection ended before the answer came.
        JobServerError: the job server refused.
        StoreUnavailable: the database cannot be reached.
    """
    if call.record is not None:
        recorded: Any = call  # a RecordedCall, whose module is loaded by clients with records alone
        return (yield from recorded.status())  # type: ignore[no-any-return]
    if call.cancelled:  # gearmand 1.1.20 lists it until a worker asks for its function
        return JobStatus(JobState.UNKNOWN)
    if call.options.background:
        line = yield Reach([call.line.host], deadline)
        return (yield from ask(line, call.unique, deadline, by_unique=True))
    return (yield from _ask_by_handle(call, deadline, timeout))


def cancel(call: Call[Any], deadline: Deadline, timeout: float | None) -> Steps[bool]:
    """Takes a job from its queue where no worker has it yet; returns whether it will not run.

    Raises:
        TaskTimeout: the job server did not name the job in time.
        JobServerUnavailable: it cannot be reached, or has not answered in time.
        JobServerLost: a connection ended before the answer came.
        JobServerError: the job server refused.
        StoreUnavailable: the database cannot be reached.
    """
    if call.record is not None:
        recorded: Any = call  # a RecordedCall, whose module is loaded by clients with records alone
        return (yield from recorded.cancel())  # type: ignore[no-any-return]
    if call.cancelled:
        return True
    before = yield from _ask_by_handle(call, deadline, timeout)
    line, handle = call.line, call.handle
    if handle is None or before.state is not JobState.QUEUED:
        return False
    call.cancelled = True  # whoever waits for the answer is told before we are
    cancelled = False
    try:
        known = yield from _take_from_queue(line, handle, deadline)
        after = yield from ask(line, handle, deadline)
        cancelled = known and after.state is not JobState.RUNNING
        if cancelled:
            line.cancelled.add(call.unique)
    finally:
        call.cancelled = cancelled
    return cancelled


def find_status(hosts: list[Host], unique: bytes, deadline: Deadline) -> Steps[JobStatus]:
    """Returns the state of the job with a unique id, at the first job server that knows it. Those
    that cannot be asked are named, as long as there is one that can.

    Raises:
        JobServerUnavailable: none can be asked.
        JobServerLost: the connection to the only one ended before the answer came.
        JobServerError: the only one refused.
        InvalidOption: no job can have that id.
    """
    failures: dict[str, str] = {}
    for number, host in enumerate(hosts):
        # Each gets its share of the time: one that does not answer must not use up all of it.
        share = deadline.share(len(hosts) - number)
        try:
            line = yield Reach([host], share)
            found = yield from ask(line, unique, share, by_unique=True)
        except (JobServerUnavailable, JobServerLost, JobServerError, ProtocolError) as error:
            if len(hosts) == 1:
                raise
            failures[str(host)] = _reason(error, str(host))
            continue
        if found.state is not JobState.UNKNOWN:
            return found
    if len(failures) == len(hosts):
        raise JobServerUnavailable(failures)
    return JobStatus(JobState.UNKNOWN, not_asked=tuple(failures))


def ask(line: Line, job: bytes, deadline: Deadline, *, by_unique: bool = False) -> Steps[JobStatus]:
    """Returns the state of a job, by its handle on this connection or by its unique id.

    Raises:
        JobServerUnavailable: no answer in time.
        JobServerLost: the connection ended before the answer came.
        JobServerError: the job server refused.
    """
    question: Question[Any] = Question(line)
    if not (yield Ask(question, job, by_unique, deadline)):
        raise JobServerUnavailable({str(line.host): "no answer in time about a job"})
    status = question.status()
    if not by_unique or job not in line.cancelled:
        return status
    if status.state is not JobState.QUEUED:  # a worker has asked since, and it is gone for good
        line.cancelled.discard(job)
        return status
    return JobStatus(JobState.UNKNOWN)


def _reason(error: GearmanException, host: str) -> str:
    if isinstance(error, JobServerUnavailable):
        return error.failures.get(host, str(error))
    return error.reason if isinstance(error, JobServerLost) else str(error)


def _ask_by_handle(call: Call[Any], deadline: Deadline, timeout: float | None) -> Steps[JobStatus]:
    while True:
        yield from until(call, call.has_handle, deadline, timeout)
        if call.handle is None or (call.is_answered() and not call.options.background):
            return JobStatus(JobState.UNKNOWN)
        try:
            return (yield from ask(call.line, call.handle, deadline))
        except JobServerLost:
            if not call.is_lost:  # else it is sent again, and gets another handle
                raise


def _take_from_queue(line: Line, handle: bytes, deadline: Deadline) -> Steps[bool]:
    """Returns whether the job server knew the job."""
    command, receive = f"cancel job {handle.decode()}", AdminConnection.receive_line
    try:
        yield Command(line.host, line.tls, command, receive, deadline.remaining())
    except JobServerError as error:
        if error.code != "UNKNOWN_JOB":
            raise
        return False
    return True
