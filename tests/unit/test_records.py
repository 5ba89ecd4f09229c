"""What a caller sees of a record: its values, and how it waits for what becomes of it."""

from __future__ import annotations

import types
from datetime import UTC, datetime
from typing import Any

import pytest

from gearmanny.calling.records import OUTAGE, Recorded, RecordUpdate
from gearmanny.calling.recordvalues import RecordValues
from gearmanny.calling.steps import Heed, Listen, Pause
from gearmanny.calling.values import Progress
from gearmanny.errors import (
    GearmanException,
    JobCancelled,
    StoreUnavailable,
    TaskError,
    TaskTimeout,
    UnknownJob,
)
from gearmanny.net.deadline import NEVER, Deadline
from gearmanny.payload.failures import encode_failure
from gearmanny.records.states import State
from gearmanny.records.values import Snapshot
from gearmanny.vocabulary.encoders import JSONDataEncoder
from tests.unit.steps import carry_out
from tests.unit.test_recording import FakeStore, snapshot

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
NOW = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)

QUEUED, RUNNING = snapshot(State.QUEUED, due=NOW), snapshot(State.RUNNING)
HALF, WHOLE = snapshot(State.RUNNING, (1, 2)), snapshot(State.RUNNING, (2, 2))
SUCCEEDED = snapshot(State.SUCCEEDED, (2, 2), result="5")
CANCELLED = snapshot(State.CANCELLED)
FAILURE = encode_failure(ValueError("no")).decode()

AWAY = StoreUnavailable("away")


class ChangingStore(FakeStore):
    """Has one record, which has changed with each look."""

    def __init__(self, *found: Snapshot, notifies: bool = False, listens: bool = False) -> None:
        super().__init__()
        self.changes = list(found)
        self.notifies = notifies
        self.is_blind = False
        self.is_revived = False
        self.watched: list[str] = []
        self.listener = types.SimpleNamespace(listens=listens)

    def look(self, id: str) -> Snapshot | None:
        assert id == ID
        return self.changes.pop(0) if self.changes else None

    def revive(self, id: str) -> bool:
        return self.is_revived

    def waits_in_vain(self, id: str) -> bool:
        return self.is_blind

    def watch(self, id: str) -> Snapshot | None:
        self.watched.append(id)
        return self.look(id)


class Clock:
    """Goes on where steps let time pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def pause(self, step: Pause) -> None:
        self.waits.append(step.seconds)
        self.now += step.seconds

    def silence(self, step: Heed) -> bool:
        self.waits.append(step.deadline.remaining() or 0.0)
        self.now += self.waits[-1]
        return False

    def ring(self, step: Heed) -> bool:
        self.waits.append(step.deadline.remaining() or 0.0)
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    fake = types.SimpleNamespace(monotonic=clock.monotonic)
    monkeypatch.setattr("gearmanny.net.deadline.time", fake)
    return clock


def look(step: Any) -> Any:
    """Answers what consults the store."""
    return step.ask()


begin = look


def record_in(store: Any) -> Recorded:
    return Recorded(store, ID, JSONDataEncoder)


def record_of(*found: Snapshot) -> Recorded:
    return record_in(ChangingStore(*found))


def values_of(found: Snapshot) -> Any:
    values = RecordValues()
    values._recorded = record_of(found)
    carry_out(values._recorded.look(), look)
    return values


def test_a_record_has_the_headers_of_its_caller() -> None:
    assert values_of(snapshot(State.QUEUED, headers='{"request": "7"}')).headers == {"request": "7"}
    assert values_of(snapshot(State.QUEUED, headers="")).headers == {}


class TestLooks:
    def test_a_look_is_remembered(self) -> None:
        record = record_of(HALF, SUCCEEDED)
        assert (record.function, record.progress()) == ("", None)
        assert not record.is_known_to_have_ended()
        assert carry_out(record.look(), look)[0] is HALF
        assert (record.function, record.progress()) == ("f", Progress(1, 2))
        assert not record.is_known_to_have_ended()
        assert carry_out(record.has_ended(), look)[0] is True
        assert record.is_known_to_have_ended()

    def test_a_record_that_is_not_there_is_explained(self) -> None:
        record = record_of(QUEUED)
        assert carry_out(record.has_ended(), look)[0] is False
        with pytest.raises(UnknownJob, match=f"no record of the job {ID}: .* it was pruned"):
            carry_out(record.look(), look)

    def test_one_that_is_not_there_is_neither_cancelled_nor_tried_again(self) -> None:
        for steps, answers in ((record_of().cancel(), 2), (record_of().retry(), 2)):
            with pytest.raises(UnknownJob):
                carry_out(steps, *[look] * answers)

    @pytest.mark.parametrize("is_revived", [False, True])
    def test_a_failed_job_is_tried_again(self, is_revived: bool) -> None:
        store = ChangingStore(QUEUED)
        store.is_revived, record = is_revived, record_in(store)
        assert carry_out(record.retry(), look, look)[0] is is_revived
        assert record.snapshot is QUEUED, "the record shows what became of it"


class TestEnds:
    def test_a_job_has_a_result(self) -> None:
        assert carry_out(record_of(SUCCEEDED).result(NEVER, None), look)[0] == 5
        assert carry_out(record_of(SUCCEEDED).exception(NEVER, None), look)[0] is None

    @pytest.mark.parametrize("result", [None, ""])
    def test_a_result_that_was_forgotten_is_none(self, result: str | None) -> None:
        found = snapshot(State.SUCCEEDED, result=result)
        assert carry_out(record_of(found).result(NEVER, None), look)[0] is None

    def test_a_result_that_is_no_text_is_decoded_as_well(self) -> None:
        found = snapshot(State.SUCCEEDED, result=b"[1]")
        assert carry_out(record_of(found).result(NEVER, None), look)[0] == [1]

    @pytest.mark.parametrize(
        ("found", "error", "text"),
        [
            (CANCELLED, JobCancelled, r"The job of f\(\) was cancelled"),
            (snapshot(State.FAILED, error=FAILURE), TaskError, "builtins.ValueError: no"),
            (snapshot(State.FAILED, error="out of tea"), TaskError, "out of tea"),
            (snapshot(State.FAILED), TaskError, "its worker gave no reason"),
        ],
    )
    def test_it_raises_or_returns_what_a_job_ended_with(
        self, found: Snapshot, error: type[Exception], text: str
    ) -> None:
        with pytest.raises(error, match=text):
            carry_out(record_of(found).result(NEVER, None), look)
        returned = carry_out(record_of(found).exception(NEVER, None), look)[0]
        assert isinstance(returned, error)
        assert returned.__traceback__ is None


class TestWaits:
    def test_where_nobody_rings_it_looks_after_pauses_that_double(self, clock: Clock) -> None:
        record = record_of(QUEUED, *[RUNNING] * 9, SUCCEEDED)
        answers = [look, begin, look, *[clock.pause, look] * 9]
        assert carry_out(record.result(NEVER, None), *answers)[0] == 5
        assert clock.waits == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1, 1])

    def test_where_the_database_tells_of_changes_it_waits_for_a_bell(self, clock: Clock) -> None:
        store = ChangingStore(QUEUED, QUEUED, RUNNING, *[RUNNING] * 6, SUCCEEDED, notifies=True)
        bell, heeds = object(), [clock.ring, *[clock.silence] * 6, clock.ring]
        answers = [look, begin, bell, look]
        for heed in heeds:
            answers += [heed, look]
        value, steps, _ = carry_out(record_in(store).result(NEVER, None), *answers)
        assert (value, store.watched) == (5, [ID])
        assert Listen(store.listener, ID, True) in steps  # type: ignore[arg-type]
        assert [(step.bell, step.function) for step in steps if isinstance(step, Heed)] == [
            (bell, "f")
        ] * len(heeds)
        # A change at the moment when the wait began may be missed, so it looks soon, then rarely.
        assert clock.waits == pytest.approx([0.1, 0.1, 0.5, 2.5, 12.5, 30, 30, 30])

    def test_a_ring_lets_it_look_soon_again(self, clock: Clock) -> None:
        store = ChangingStore(*[RUNNING] * 5, SUCCEEDED, notifies=True)
        answers = [look, begin, object(), look]
        for heed in (clock.silence, clock.silence, clock.ring, clock.silence):
            answers += [heed, look]
        carry_out(record_in(store).end(NEVER, None), *answers)
        assert clock.waits == pytest.approx([0.1, 0.5, 2.5, 0.1])

    def test_where_others_wait_already_the_database_is_asked_once(self, clock: Clock) -> None:
        store = ChangingStore(QUEUED, SUCCEEDED, notifies=True, listens=True)
        bell = object()
        answers = [bell, begin, clock.ring, look]
        value, steps, _ = carry_out(record_in(store).result(NEVER, None), *answers)
        assert (value, store.watched) == (5, [ID])
        assert [step.bell for step in steps if isinstance(step, Heed)] == [bell]

    def test_where_others_wait_already_a_result_that_is_there_is_returned(self) -> None:
        store = ChangingStore(SUCCEEDED, notifies=True, listens=True)
        assert carry_out(record_in(store).result(NEVER, None), object(), begin)[0] == 5

    @pytest.mark.parametrize("found", [SUCCEEDED, None])
    def test_what_has_ended_is_seen_where_a_wait_would_be_in_vain(
        self, found: Snapshot | None
    ) -> None:
        store = ChangingStore(*[found] if found else (), notifies=True, listens=True)
        store.is_blind = True
        answers = object(), begin
        if found is None:
            with pytest.raises(UnknownJob):
                carry_out(record_in(store).end(NEVER, None), *answers)
        else:
            assert carry_out(record_in(store).end(NEVER, None), *answers)[0] is found

    @pytest.mark.parametrize(
        ("found", "reason"),
        [
            (RUNNING, "Its record says that it runs."),
            (QUEUED, "Its record says that it waits, with the due time 2030-01-02 03:04:00"),
        ],
    )
    def test_a_timeout_says_how_far_the_job_is(
        self, clock: Clock, found: Snapshot, reason: str
    ) -> None:
        answers = [look, begin, look, *[clock.pause, look] * 2]
        with pytest.raises(TaskTimeout) as caught:
            carry_out(record_of(*[found] * 4).result(Deadline(0.05), 0.05), *answers)
        assert str(caught.value).startswith(f"No answer from f() within 0.05 s. {reason}")
        assert clock.waits == pytest.approx([0.02, 0.03]), "the last pause ends with the time"

    def test_what_cannot_be_seen_is_not_waited_for(self) -> None:
        store = ChangingStore(QUEUED, QUEUED)
        store.is_blind = True
        with pytest.raises(GearmanException, match="Wait for it after its COMMIT"):
            carry_out(record_in(store).end(NEVER, None), look, begin, look)


class TestOutages:
    def test_a_wait_that_has_begun_goes_on_when_the_database_is_back(self, clock: Clock) -> None:
        away = [AWAY, clock.pause]
        answers = [look, *away, begin, *away, begin, *away, begin, look]
        value, _, _ = carry_out(record_of(QUEUED, SUCCEEDED).result(NEVER, None), *answers)
        assert (value, clock.waits) == (5, [0.5] * 3)

    def test_a_wait_that_has_not_begun_does_not(self) -> None:
        with pytest.raises(StoreUnavailable):
            carry_out(record_of(QUEUED).result(NEVER, None), AWAY)

    def test_it_has_to_be_back_before_long(self, clock: Clock) -> None:
        tries = int(OUTAGE / 0.5)
        answers = [look, begin, *[AWAY, clock.pause] * tries, AWAY]
        with pytest.raises(StoreUnavailable):
            carry_out(record_of(QUEUED).result(NEVER, None), *answers)
        assert clock.now == OUTAGE


class TestUpdates:
    def test_each_change_is_given_once(self, clock: Clock) -> None:
        record = record_of(QUEUED, QUEUED, RUNNING, HALF, HALF, SUCCEEDED)
        answers = [look, begin, look, *[clock.pause, look] * 4]
        _, _, given = carry_out(record.updates(NEVER, None), *answers)
        assert given == [
            RecordUpdate(State.QUEUED, None),
            RecordUpdate(State.RUNNING, None),
            RecordUpdate(State.RUNNING, Progress(1, 2)),
            RecordUpdate(State.SUCCEEDED, Progress(2, 2)),
        ]

    def test_those_of_the_progress_are_given_alone(self, clock: Clock) -> None:
        record = record_of(QUEUED, RUNNING, HALF, HALF, WHOLE, SUCCEEDED)
        answers = [look, begin, look, *[clock.pause, look] * 4]
        _, _, given = carry_out(record.progresses(NEVER, None), *answers)
        assert given == [Progress(1, 2), Progress(2, 2)]

    def test_they_may_be_left(self) -> None:
        steps = record_of(HALF).progresses(NEVER, None)
        step: Any = next(steps)
        assert steps.send(step.ask()).item == Progress(1, 2)  # type: ignore[union-attr]
        steps.close()
        assert list(steps) == []

    def test_they_time_out(self) -> None:
        for steps in (
            record_of(RUNNING).updates(Deadline(0), 0),
            record_of(RUNNING).progresses(Deadline(0), 0),
        ):
            with pytest.raises(TaskTimeout, match="it runs"):
                carry_out(steps, look)


class TestValues:
    def test_they_are_those_that_were_read(self) -> None:
        found = snapshot(
            State.SUCCEEDED,
            (2, 2),
            arguments='{"a":1}',
            result="5",
            attempts=3,
            process="p",
            created=NOW.replace(hour=1),
            due=NOW.replace(hour=2),
            started=NOW.replace(hour=3),
            finished=NOW.replace(hour=4),
        )
        values = values_of(found)
        assert repr(values) == f"<RecordValues {ID} of f: succeeded>"
        assert (values.id, values.function, values.state) == (ID, "f", "succeeded")
        assert (values.arguments, values.result, values.error) == ({"a": 1}, 5, None)
        assert (values.attempts, values.progress, values.process) == (3, Progress(2, 2), "p")
        times = (values.created, values.due, values.started, values.finished)
        assert [time.hour for time in times] == [1, 2, 3, 4]

    def test_a_job_that_waits_for_another_attempt_has_the_failure_of_the_last(self) -> None:
        error = values_of(snapshot(State.QUEUED, error=FAILURE)).error
        assert (error.type, error.message) == ("builtins.ValueError", "no")

    def test_what_is_not_there_is_none(self) -> None:
        values = values_of(QUEUED)
        assert (values.result, values.error, values.progress) == (None, None, None)
        assert (values.process, values.started, values.finished) == (None, None, None)
        assert values_of(snapshot(State.SUCCEEDED, arguments="")).arguments is None

    def test_the_error_of_a_job_that_was_cancelled_says_so(self) -> None:
        assert str(values_of(CANCELLED).error) == "The job of f() was cancelled."
        superseded = snapshot(State.CANCELLED, errors=['{"event": "superseded", "error": null}'])
        error = values_of(superseded).error
        assert isinstance(error, JobCancelled)
        assert "a newer job waits" in error.reason
