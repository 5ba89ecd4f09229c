"""Recorded jobs: what is recorded of a call, and what its caller asks the store. No I/O.

Loaded by clients with records alone.
"""

from __future__ import annotations

import itertools
import pickle
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from gearmanny.calling.call import Call
from gearmanny.calling.exchange import L
from gearmanny.calling.handover import PRIORITY_NAMES, Aside, JobHandOver
from gearmanny.calling.options import CallOptions
from gearmanny.calling.records import Recorded, progress_of
from gearmanny.calling.steps import Consult, Record, Steps
from gearmanny.calling.tracing import CallSpans, start_span, traceparent_of
from gearmanny.calling.values import JobState, JobStatus
from gearmanny.errors import EncodingError, UnknownJob
from gearmanny.net.hosts import Servers
from gearmanny.payload.counts import number_of
from gearmanny.payload.encoding import Encoder
from gearmanny.payload.headers import (
    NO_HEADERS,
    Headers,
    NewHeaders,
    check_headers,
    encode_headers,
)
from gearmanny.payload.names import check_function_name
from gearmanny.protocol.client import Created, Request
from gearmanny.records.checks import check_store
from gearmanny.records.contract import HandOver, Store
from gearmanny.records.ids import Travelling, canonical, new_id, running_id
from gearmanny.records.states import State
from gearmanny.records.values import NewJob, Payload, Submitted

_PRIORITIES = {name: number for number, name in PRIORITY_NAMES.items()}

BATCH = 1000
"""Jobs that are recorded in one transaction, and leave with one send."""

_STATES = {State.QUEUED: JobState.QUEUED, State.RUNNING: JobState.RUNNING}


class RecordedCall(Call[L]):
    """A job that is recorded. It has been accepted, by the database: nobody waits for more."""

    __slots__ = ("record", "recorded")

    record: str

    def __init__(
        self,
        function: str,
        encoder: type[Encoder],
        options: CallOptions,
        store: Store,
        id: str,
        unique: bytes,
    ) -> None:
        """
        Args:
            function: the Gearman function.
            encoder: that of the client.
            options: those of the call.
            store: has the record.
            id: of the record.
            unique: the unique id of its first hand-over.
        """
        request = Request(function.encode(), b"", unique, True)
        super().__init__(_no_line(), function, encoder, options, request)
        self.record = id
        self.recorded = Recorded(store, id, encoder, function)
        self.outcome = Created(b"")

    def __reduce__(self) -> tuple[Any, ...]:
        share(self.recorded.store)
        encoder, options = self.recorded.encoder, self.options
        values = self.function, encoder, options, self.recorded.store, self.record, self.unique
        return _known_again, values

    def __str__(self) -> str:
        return f"{self.function} {self.record} (recorded)"

    def status(self) -> Steps[JobStatus]:
        """Returns the state of the job, as its record has it.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        try:
            found = yield from self.recorded.look()
        except UnknownJob:
            return JobStatus(JobState.UNKNOWN)
        if not found.state.is_open:
            return JobStatus(JobState.UNKNOWN)
        return JobStatus(_STATES[found.state], progress_of(found))

    def cancel(self) -> Steps[bool]:
        """Cancels the job where it waits; returns whether it will not run.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        try:
            self.cancelled = yield from self.recorded.cancel()
        except UnknownJob:
            self.cancelled = False
        return self.cancelled


_stores: weakref.WeakValueDictionary[bytes, Store] = weakref.WeakValueDictionary()
"""The stores of calls that were pickled, here or elsewhere."""


def share(store: Store) -> Store:
    """Returns the store of this process that stands for one that was pickled: each of many calls
    would have connections of its own."""
    return _stores.setdefault(pickle.dumps(store), store)


def _known_again(
    function: str,
    encoder: type[Encoder],
    options: CallOptions,
    store: Store,
    id: str,
    unique: bytes,
) -> RecordedCall[Any]:
    return RecordedCall(function, encoder, options, share(store), id, unique)


class Recorder:
    """Records the background jobs of a client, and hands them over."""

    def __init__(
        self, store: object, servers: Servers, aside: Aside, new_headers: NewHeaders | None = None
    ) -> None:
        """
        Args:
            store: the one that the client was given.
            servers: the job servers.
            aside: makes the connections over which jobs are handed over.
            new_headers: returns headers for jobs, beside those of the options.

        Raises:
            InvalidOption: it is not a store.
        """
        self.store = check_store(store)
        self.new_headers = new_headers
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
        headers = self._headers(options)
        calls: list[Any] = []
        jobs: list[NewJob] = []
        with CallSpans() as spans:
            for payload in payloads:
                if isinstance(payload, EncodingError):
                    calls.append(Call(_no_line(), function, encoder, options, payload))
                    continue
                calls.append(None)
                jobs.append(_new_job(function, payload, encoder, options, headers, spans))
            submitted = iter(
                (yield Record(self.store, jobs, hand_over or self.hand_over)) if jobs else ()
            )
        for place, call in enumerate(calls):
            if call is None:
                job = next(submitted)
                unique = bytes(Travelling(self.store.id, job.id, 1))
                calls[place] = RecordedCall(function, encoder, options, self.store, job.id, unique)
        return calls

    def record_many(
        self,
        function: str,
        payloads: Iterator[bytes],
        encoder: type[Encoder],
        options: CallOptions,
        hand_over: HandOver,
    ) -> Steps[list[str]]:
        """Records any number of jobs, each batch in one transaction, and hands each over with one
        send. Arguments are taken when their batch is next.

        Args:
            function: the Gearman function.
            payloads: the arguments of each.
            encoder: that of the client.
            options: those of the calls.
            hand_over: hands the jobs over to job servers.

        Returns:
            The ids of the records, in the order of the jobs.

        Raises:
            Exception: any that `record` or an item of `payloads` raises. A note of the error says
                how many jobs were recorded before.
        """
        headers = self._headers(options)
        ids: list[str] = []
        try:
            while True:
                with CallSpans() as spans:
                    jobs: list[NewJob] = []
                    for payload in itertools.islice(payloads, BATCH):
                        jobs.append(_new_job(function, payload, encoder, options, headers, spans))
                    if not jobs:
                        return ids
                    submitted: list[Submitted] = yield Record(self.store, jobs, hand_over)
                ids.extend(job.id for job in submitted)
        except Exception as error:
            error.add_note(f"Recorded before that: {number_of(len(ids), 'job')} of {function}().")
            raise

    def _headers(self, options: CallOptions) -> Headers:
        """Returns the headers of jobs that are about to be recorded.

        Raises:
            InvalidOption: they are not headers, or too large.
            Exception: any that `new_headers` raises.
        """
        given = options.headers or NO_HEADERS
        if self.new_headers is None:
            return given
        made = self.new_headers()
        check_headers(made)
        headers = {**made, **given}
        check_headers(headers)
        return headers

    def find(self, id: str, encoder: type[Encoder]) -> Recorded:
        """Returns the record with an id, which was not read yet.

        Args:
            id: a UUID.
            encoder: that of the client.

        Raises:
            InvalidOption: the id is none.
        """
        return Recorded(self.store, canonical(id), encoder)

    def close(self) -> Steps[None]:
        """Closes the connections over which jobs are handed over; a later job makes others."""
        yield Consult(self.store, self.hand_over.close)


def _new_job(
    function: str,
    payload: bytes,
    encoder: type[Encoder],
    options: CallOptions,
    headers: Headers,
    spans: CallSpans,
) -> NewJob:
    trace = ""
    if options.trace:
        spans.append(start_span(function))
        trace = traceparent_of(spans[-1].unique.decode()) or ""
        headers = {**spans[-1].headers, **headers}
    return NewJob(
        function,
        payload if getattr(encoder, "takes_payload", False) else _text(payload),
        new_id(),
        delay=options.delay or 0.0,
        at=options.at,
        unique=options.unique,
        unique_waiting=options.unique_waiting,
        priority=_PRIORITIES[options.priority],
        trace=trace,
        headers=encode_headers(headers),
        parent=running_id(),
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
