"""Recorded jobs: what is recorded of a call, and what its caller asks the store. No I/O.

Loaded by clients with records alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gearmanny.calling.call import Call
from gearmanny.calling.exchange import L
from gearmanny.calling.handover import PRIORITY_NAMES, Aside, JobHandOver
from gearmanny.calling.options import CallOptions
from gearmanny.calling.steps import Consult, Record, Steps
from gearmanny.calling.tracing import CallSpans, start_span, traceparent_of
from gearmanny.calling.values import JobState, JobStatus, Progress
from gearmanny.errors import EncodingError
from gearmanny.net.hosts import Servers
from gearmanny.payload.encoding import Encoder
from gearmanny.payload.names import check_function_name
from gearmanny.protocol.client import Created, Request
from gearmanny.records.checks import check_store
from gearmanny.records.contract import HandOver, Store
from gearmanny.records.ids import Travelling, new_id
from gearmanny.records.states import State
from gearmanny.records.values import NewJob, Payload, Snapshot, Submitted

_PRIORITIES = {name: number for number, name in PRIORITY_NAMES.items()}

_STATES = {State.QUEUED: JobState.QUEUED, State.RUNNING: JobState.RUNNING}


class RecordedCall(Call[L]):
    """A job that is recorded. It has been accepted, by the database: nobody waits for more."""

    __slots__ = ("record", "store")

    record: str

    def __init__(
        self,
        function: str,
        encoder: type[Encoder],
        options: CallOptions,
        store: Store,
        submitted: Submitted,
    ) -> None:
        """
        Args:
            function: the Gearman function.
            encoder: that of the client.
            options: those of the call.
            store: has the record.
            submitted: what became of the job.
        """
        unique = bytes(Travelling(store.id, submitted.id, 1))
        request = Request(function.encode(), b"", unique, True)
        super().__init__(_no_line(), function, encoder, options, request)
        self.store = store
        self.record = submitted.id
        self.outcome = Created(b"")

    def __str__(self) -> str:
        return f"{self.function} {self.record} (recorded)"

    def status(self) -> Steps[JobStatus]:
        """Returns the state of the job, as its record has it.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        found: Snapshot | None = yield Consult(lambda: self.store.look(self.record))
        state = _STATES.get(found.state, JobState.UNKNOWN) if found else JobState.UNKNOWN
        if found is None or found.progress is None or state is JobState.UNKNOWN:
            return JobStatus(state)
        return JobStatus(state, Progress(*found.progress))

    def cancel(self) -> Steps[bool]:
        """Cancels the job where it waits; returns whether it will not run.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        state: State | None = yield Consult(lambda: self.store.cancel(self.record))
        self.cancelled = state is State.CANCELLED
        return self.cancelled


class Recorder:
    """Records the background jobs of a client, and hands them over."""

    def __init__(self, store: object, servers: Servers, aside: Aside) -> None:
        """
        Args:
            store: the one that the client was given.
            servers: the job servers.
            aside: makes the connections over which jobs are handed over.

        Raises:
            InvalidOption: it is not a store.
        """
        self.store = check_store(store)
        self.hand_over = JobHandOver(self.store, servers, aside)

    def record(
        self,
        function: str,
        payloads: Iterable[bytes | EncodingError],
        encoder: type[Encoder],
        options: CallOptions,
        hand_over: HandOver | None = None,
    ) -> Steps[list[Call[Any]]]:
        """Records jobs in one transaction, and hands them over with one send.

        Args:
            function: the Gearman function.
            payloads: the arguments of each; or why they could not be encoded, which its call says.
            encoder: that of the client.
            options: those of the calls.
            hand_over: replaces what hands the jobs over to job servers.

        Returns:
            The calls, in their order.

        Raises:
            InvalidTask: no function can have that name.
            InvalidOption: a value is beyond what databases keep.
            StoreUnavailable: the database cannot be reached. Nothing was sent.
        """
        check_function_name(function)
        is_raw = getattr(encoder, "takes_payload", False)
        calls: list[Any] = []
        jobs: list[NewJob] = []
        with CallSpans() as spans:
            for payload in payloads:
                if isinstance(payload, EncodingError):
                    calls.append(Call(_no_line(), function, encoder, options, payload))
                    continue
                calls.append(None)
                trace = ""
                if options.trace:
                    spans.append(start_span(function))
                    trace = traceparent_of(spans[-1].unique.decode()) or ""
                jobs.append(_new_job(function, payload, is_raw, options, trace))
            submitted = iter(
                (yield Record(self.store, jobs, hand_over or self.hand_over)) if jobs else ()
            )
        for place, call in enumerate(calls):
            if call is None:
                job = next(submitted)
                calls[place] = RecordedCall(function, encoder, options, self.store, job)
        return calls

    def close(self) -> Steps[None]:
        """Closes the connections over which jobs are handed over; a later job makes others."""
        yield Consult(self.hand_over.close)


def _new_job(
    function: str, payload: bytes, is_raw: bool, options: CallOptions, trace: str
) -> NewJob:
    return NewJob(
        function,
        payload if is_raw else _text(payload),
        new_id(),
        delay=options.delay or 0.0,
        at=options.at,
        unique=options.unique,
        unique_waiting=options.unique_waiting,
        priority=_PRIORITIES[options.priority],
        trace=trace,
    )


def _text(payload: bytes) -> Payload:
    """Returns a payload as text, which is read in a database; encoders may make anything else."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return payload
    return payload if "\0" in text else text


def _no_line() -> Any:
    """Returns the connection of a job that was sent over none: nothing is asked of it, as the call
    has been answered."""
    return None
