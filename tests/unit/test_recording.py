"""What is recorded of a call, and what its caller asks the store."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from gearmanny.calling import asking, recording
from gearmanny.calling.call import Call
from gearmanny.calling.options import CallOptions
from gearmanny.calling.recording import RecordedCall, Recorder
from gearmanny.calling.steps import Consult, Record
from gearmanny.calling.values import JobState, JobStatus, Progress
from gearmanny.calling.work import Work
from gearmanny.errors import EncodingError, InvalidOption, InvalidTask, StoreUnavailable
from gearmanny.net.deadline import NEVER
from gearmanny.net.hosts import Servers
from gearmanny.payload.headers import decode_headers
from gearmanny.records.contract import HandOver
from gearmanny.records.states import State
from gearmanny.records.values import NewJob, Snapshot, Submitted
from gearmanny.vocabulary.encoders import JSONDataEncoder, RawDataEncoder
from tests.unit.steps import A, carry_out
from tests.unit.test_handover import FakeAside

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOW = datetime.now(UTC)


class FakeStore:
    id = "0123abcd"

    def __init__(self) -> None:
        self.found: Any = None
        self.cancelled: State | None = None

    def look(self, id: str) -> Any:
        return self.found

    def cancel(self, id: str) -> State | None:
        return self.cancelled

    def record(self, jobs: Sequence[NewJob], hand_over: HandOver) -> list[Submitted]:
        return [Submitted(job.id, True, True, job.function, job.priority) for job in jobs]

    async def arecord(self, jobs: Sequence[NewJob], hand_over: HandOver) -> list[Submitted]:
        raise NotImplementedError


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


def recorder(store: Any) -> Recorder:
    return Recorder(store, Servers([A], 5, 1 << 20, None), FakeAside())  # type: ignore[arg-type]


def record(
    store: FakeStore,
    *payloads: bytes | EncodingError,
    encoder: Any = JSONDataEncoder,
    **options: Any,
) -> tuple[list[Any], list[NewJob]]:
    """Records jobs; returns their calls, and what the store was given."""
    steps = recorder(store).record("f", payloads, encoder, CallOptions(background=True, **options))
    calls, made, _ = carry_out(steps, lambda step: store.record(step.jobs, step.hand_over))
    (step,) = made
    assert isinstance(step, Record)
    return calls, step.jobs


def recorded(store: FakeStore) -> Any:
    ((call,), _) = record(store, b"{}")
    return call


def test_a_job_carries_the_options_of_its_call(store: FakeStore) -> None:
    _, (plain,) = record(store, b'{"a":1}')
    _, (high,) = record(store, b"{}", priority="high", unique="k", unique_waiting="w", delay=2.5)
    assert plain == NewJob("f", '{"a":1}', plain.id)
    assert high == NewJob("f", "{}", high.id, delay=2.5, unique="k", unique_waiting="w", priority=1)
    _, (later,) = record(store, b"{}", at=NOW, priority="low")
    assert (later.at, later.priority) == (NOW, -1)
    assert len({plain.id, high.id, later.id}) == 3


@pytest.mark.parametrize(
    ("payload", "encoder", "arguments"),
    [
        ('{"a":"ü"}'.encode(), JSONDataEncoder, '{"a":"ü"}'),
        (b"text", RawDataEncoder, b"text"),
        (b"\xff", JSONDataEncoder, b"\xff"),
        (b"\0", JSONDataEncoder, b"\0"),
    ],
)
def test_arguments_are_text_where_databases_take_it(
    store: FakeStore, payload: bytes, encoder: Any, arguments: Any
) -> None:
    _, (job,) = record(store, payload, encoder=encoder)
    assert job.arguments == arguments


def test_many_jobs_are_recorded_together(store: FakeStore) -> None:
    error = EncodingError("cannot encode this")
    calls, jobs = record(store, b"1", error, b"3")
    assert [job.arguments for job in jobs] == ["1", "3"]
    assert [calls[0].record, calls[2].record] == [job.id for job in jobs]
    assert (calls[1].record, calls[1].outcome) == (None, error)


def test_where_nothing_could_be_encoded_nothing_is_recorded(store: FakeStore) -> None:
    error = EncodingError("cannot encode this")
    options = CallOptions(background=True)
    (call,), steps, _ = carry_out(recorder(store).record("f", [error], JSONDataEncoder, options))
    assert (call.outcome, steps) == (error, [])


def test_an_impossible_name_is_refused_before_anything_is_recorded(store: FakeStore) -> None:
    with pytest.raises(InvalidTask):
        carry_out(recorder(store).record("a b", [b"{}"], JSONDataEncoder, CallOptions()))


def test_a_trace_travels_in_the_record(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class Span:
        unique = f"{TRACEPARENT}-random1".encode()
        headers = {"baggage": "a=b", "tracestate": "c=d"}
        ended: list[BaseException | None] = []

        def end(self, error: BaseException | None = None) -> None:
            self.ended.append(error)

    monkeypatch.setattr("gearmanny.calling.recording.start_span", lambda function: Span())
    _, (job,) = record(store, b"{}", trace=True, headers={"baggage": "mine"})
    assert (job.trace, Span.ended) == (TRACEPARENT, [None])
    assert decode_headers(job.headers) == {"baggage": "mine", "tracestate": "c=d"}
    steps = recorder(store).record("f", [b"{}"], JSONDataEncoder, CallOptions(trace=True))
    error = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        carry_out(steps, error)
    assert Span.ended[1:] == [error]
    Span.unique = b""  # the process has not set OpenTelemetry up
    _, (job,) = record(store, b"{}", trace=True)
    assert job.trace == ""


def test_its_call_has_been_accepted(store: FakeStore) -> None:
    call = recorded(store)
    work: Work[Any] = Work()
    work._call = call
    assert call.is_answered()
    assert call.value() is None
    assert (work.id, work.handle, work.function) == (call.record, None, "f")
    assert work.unique == f"j:0123abcd:{call.record.replace('-', '')}.1"
    assert repr(work) == f"<Work f {call.record} (recorded)>"


def snapshot(state: State, progress: tuple[int, int] | None = None, **others: Any) -> Snapshot:
    values: dict[str, Any] = dict.fromkeys(Snapshot._fields)
    values |= {"function": "f", "state": state, "progress": progress}
    return Snapshot(**values | others)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (None, JobStatus(JobState.UNKNOWN)),
        (snapshot(State.QUEUED), JobStatus(JobState.QUEUED)),
        (snapshot(State.RUNNING), JobStatus(JobState.RUNNING)),
        (snapshot(State.RUNNING, (1, 2)), JobStatus(JobState.RUNNING, Progress(1, 2))),
        (snapshot(State.SUCCEEDED, (2, 2)), JobStatus(JobState.UNKNOWN)),
        (snapshot(State.CANCELLED), JobStatus(JobState.UNKNOWN)),
    ],
)
def test_its_state_is_that_of_the_record(store: FakeStore, found: Any, status: JobStatus) -> None:
    store.found = found
    state, (step,), _ = carry_out(
        asking.status(recorded(store), NEVER, None), lambda step: step.ask()
    )
    assert isinstance(step, Consult)
    assert state == status


@pytest.mark.parametrize(
    ("state", "is_cancelled"),
    [(State.CANCELLED, True), (State.RUNNING, False), (State.SUCCEEDED, False), (None, False)],
)
def test_it_is_cancelled_in_the_store(
    store: FakeStore, state: State | None, is_cancelled: bool
) -> None:
    store.cancelled, call = state, recorded(store)
    # Where there is no record any more, the store is asked whether there is one.
    asked = [lambda step: step.ask()] * (2 if state is None else 1)
    answer, _, _ = carry_out(asking.cancel(call, NEVER, None), *asked)
    assert (answer, call.cancelled) == (is_cancelled, is_cancelled)


@pytest.mark.parametrize("store", ["postgresql://u:secret@h/d", object(), FakeStore])
def test_what_is_no_store_is_refused(store: Any) -> None:
    with pytest.raises(InvalidOption, match="records must be a store, such as SQLStore") as caught:
        recorder(store)
    assert "secret" not in str(caught.value)


def test_other_calls_have_no_record() -> None:
    assert Call.record is None
    assert RecordedCall.record is not None


def test_closing_it_closes_its_connections(store: FakeStore) -> None:
    _, (step,), _ = carry_out(recorder(store).close(), lambda step: step.ask())
    assert isinstance(step, Consult)


def recording_many(store: FakeStore, *payloads: bytes | Exception) -> Any:
    def encoded() -> Iterator[bytes]:
        for payload in payloads:
            if isinstance(payload, Exception):
                raise payload
            yield payload

    options = CallOptions(background=True)
    return recorder(store).record_many("f", encoded(), JSONDataEncoder, options, print)


def test_any_number_of_jobs_is_recorded_in_batches(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "BATCH", 2)
    steps = recording_many(store, b"1", b"2", b"3")
    ids, batches, _ = carry_out(steps, *[lambda step: store.record(step.jobs, print)] * 2)
    assert [[job.arguments for job in batch.jobs] for batch in batches] == [["1", "2"], ["3"]]
    assert ids == [job.id for batch in batches for job in batch.jobs]
    assert {batch.hand_over for batch in batches} == {print}
    assert carry_out(recording_many(store)) == ([], [], [])


@pytest.mark.parametrize("is_away", [False, True])
def test_an_error_says_how_many_jobs_were_recorded_before(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch, is_away: bool
) -> None:
    monkeypatch.setattr(recording, "BATCH", 2)
    error = StoreUnavailable("away") if is_away else EncodingError("cannot encode this")
    payloads = [b"1", b"2", b"3", *([] if is_away else [error])]
    answers = [lambda step: store.record(step.jobs, print), *([error] if is_away else [])]
    with pytest.raises(type(error)) as caught:
        carry_out(recording_many(store, *payloads), *answers)
    assert caught.value is error
    assert error.__notes__ == ["Recorded before that: 2 jobs of f()."]


def test_a_call_that_was_pickled_finds_its_record(store: FakeStore) -> None:
    call, other = recorded(store), recorded(store)
    twin, third = (pickle.loads(pickle.dumps(each)) for each in (call, other))
    assert str(twin) == str(call)
    assert (twin.unique, twin.options) == (call.unique, call.options)
    assert twin.recorded.store is third.recorded.store, "many have one connection"


def test_a_record_is_found_by_its_id(store: FakeStore) -> None:
    id = recorded(store).record
    store.found = snapshot(State.QUEUED)
    found = recorder(store).find(id.replace("-", ""), JSONDataEncoder)
    assert (found.id, found.store) == (id, store)
    assert carry_out(found.look(), lambda step: step.ask())[0] == store.found
    with pytest.raises(InvalidOption, match="The id of a record is a UUID, not 'H:1'"):
        recorder(store).find("H:1", JSONDataEncoder)


def test_headers_are_those_of_the_call_and_those_that_the_client_makes(store: Any) -> None:
    servers = Servers([A], 5, 1 << 20, None)
    aside: Any = FakeAside()
    made = {"request": "1", "language": "de"}
    maker = Recorder(store, servers, aside, lambda: made)
    options = CallOptions(background=True, headers={"request": "2"})
    _, (step,), _ = carry_out(
        maker.record("f", [b"{}"], JSONDataEncoder, options),
        lambda step: store.record(step.jobs, step.hand_over),
    )
    (job,) = step.jobs  # type: ignore[union-attr]
    assert decode_headers(job.headers) == {"request": "2", "language": "de"}
    (_, (plain,)) = record(store, b"{}")
    (_, (told,)) = record(store, b"{}", headers={"a": "b"})
    assert (plain.headers, told.headers) == ("", '{"a": "b"}')


@pytest.mark.parametrize("made", [{"a": 1}, None, {"a": "b" * 8000}])
def test_headers_that_a_client_makes_are_checked(store: Any, made: Any) -> None:
    aside: Any = FakeAside()
    maker = Recorder(store, Servers([A], 5, 1 << 20, None), aside, lambda: made)
    options = CallOptions(background=True, headers={"c": "d" * 300})
    with pytest.raises(InvalidOption, match=r"[Hh]eaders?"):
        carry_out(maker.record("f", [b"{}"], JSONDataEncoder, options))
