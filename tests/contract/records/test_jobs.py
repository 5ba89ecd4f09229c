"""The life of a record: submitted, claimed, finished, given back, cancelled."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gearmanny.errors import EncodingError, InvalidOption, InvalidTask
from gearmanny.payload.failures import encode_failure
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import (
    Claim,
    Claimed,
    NewJob,
    Process,
    Refusal,
    Refused,
    Settled,
    Snapshot,
)
from tests.contract.records.conftest import Claiming, Database

NOBODY = "00000000-0000-0000-0000-000000000000"


def submit(store: SQLStore, function: str = "f", **options: Any) -> str:
    (submitted,) = store.submit([NewJob(function, **options)])
    assert submitted.is_new
    return submitted.id


def look(store: SQLStore, id: str) -> Snapshot:
    found = store.look(id)
    assert found is not None
    return found


def last_attempt(store: SQLStore, id: str) -> dict[str, Any]:
    attempt: dict[str, Any] = json.loads(look(store, id).errors[-1])
    return attempt


def test_a_submitted_job_is_queued_and_due(store: SQLStore) -> None:
    (submitted,) = store.submit([NewJob("f", '{"a": 1}', trace="00-1-2-01", priority=1)])
    found = look(store, submitted.id)
    assert submitted.is_new
    assert submitted.is_handed_over
    assert (found.function, found.state, found.arguments) == ("f", State.QUEUED, '{"a": 1}')
    assert (found.attempts, found.failures, found.deaths, found.number) == (0, 0, 0, 1)
    assert (found.result, found.error, found.errors, found.progress) == (None, None, [], None)
    assert (found.started, found.finished, found.process, found.priority) == (None, None, None, 1)
    assert abs(found.created - datetime.now(UTC)) < timedelta(minutes=1)
    assert found.due == found.created


def test_headers_stay_with_a_job(store: SQLStore, process: Process) -> None:
    headers = '{"request": "ü"}'
    id = submit(store, headers=headers)
    plain = submit(store)
    assert (look(store, id).headers, look(store, plain).headers) == (headers, "")

    def claim(number: int) -> Claimed:
        claimed = store.claim(id, "f", number, process.id)
        assert isinstance(claimed, Claimed)
        assert claimed.headers == headers
        return claimed

    store.give_back(claim(1).claim, Event.RETRIED)
    (again,) = store.hand_over(10, 10)
    assert store.finish(claim(again.number).claim, Event.FAILED, error="{}")
    assert store.revive(id)
    (revived,) = store.hand_over(10, 10)
    claim(revived.number)


@pytest.mark.parametrize("count", [1, 3])
def test_jobs_have_headers_of_their_own(store: SQLStore, count: int) -> None:
    jobs = [NewJob("f", headers=f'{{"a": "{number}"}}') for number in range(count)]
    for number, submitted in enumerate(store.submit(jobs)):
        assert look(store, submitted.id).headers == f'{{"a": "{number}"}}'


def test_there_is_no_record_of_an_unknown_id(store: SQLStore) -> None:
    assert store.look(NOBODY) is None
    assert store.cancel(NOBODY) is None
    assert store.revive(NOBODY) is False
    with pytest.raises(InvalidOption, match="UUID"):
        store.look("one; DROP TABLE gearmanny_jobs")


def test_an_id_may_be_written_without_dashes(store: SQLStore) -> None:
    id = submit(store)
    assert look(store, id.replace("-", "").upper()).id == id


def test_the_caller_may_choose_the_id(store: SQLStore) -> None:
    id = "0198c0de-0000-7000-8000-000000000001"
    assert submit(store, id=id) == id
    (again,) = store.submit([NewJob("f", id=id)])
    assert again.id == id


@pytest.mark.parametrize(
    "job",
    [
        NewJob("f", unique="a\0b"),
        NewJob("f", unique_waiting="\ud800"),
        NewJob("f", trace="\0"),
        NewJob("f", headers="\0"),
        NewJob("f", priority=2),
        NewJob("f", delay=-1),
        NewJob("f", delay=1e11),
        NewJob("f", at=datetime(2030, 1, 1)),
    ],
)
def test_what_cannot_be_stored_is_refused_alike(store: SQLStore, job: NewJob) -> None:
    with pytest.raises(InvalidOption):
        store.submit([NewJob("f"), job])
    assert store.counts() == []


def test_the_name_of_a_function_is_checked(store: SQLStore) -> None:
    with pytest.raises(InvalidTask):
        store.submit([NewJob("two words")])


@pytest.mark.parametrize("text", ["a\0b", "\udcff"])
def test_text_that_databases_refuse_is_refused_alike(
    store: SQLStore, running: Claiming, text: str
) -> None:
    with pytest.raises(EncodingError, match="ensure_ascii"):
        store.submit([NewJob("f", text)])
    claimed = running()
    with pytest.raises(EncodingError, match="ensure_ascii"):
        store.finish(claimed.claim, Event.SUCCEEDED, text)
    assert look(store, claimed.claim.id).state is State.RUNNING


@pytest.mark.parametrize(
    "payload", ["", json.dumps("\0 \ud800 ü \u2028"), '"ü \U0001f41d"', b"", b"\0\xff\x80"]
)
def test_payloads_come_back_as_they_were(
    store: SQLStore, running: Claiming, payload: str | bytes
) -> None:
    claimed = running(arguments=payload)
    assert claimed.arguments == payload
    assert store.finish(claimed.claim, Event.SUCCEEDED, payload)
    found = look(store, claimed.claim.id)
    assert (found.arguments, found.result) == (payload, payload)


def test_a_job_is_claimed_once(store: SQLStore, process: Process) -> None:
    id = submit(store, arguments="[1]", trace="t")
    first = store.claim(id, "f", 1, process.id)
    second = store.claim(id, "f", 1, process.id)
    assert isinstance(first, Claimed)
    assert first[1:6] == ("f", "[1]", 1, 0, 0)
    assert first.trace == "t"
    assert first.created == look(store, id).created
    assert second == Refused(Refusal.RUNNING, process.id, first.claim)
    found = look(store, id)
    assert (found.state, found.process, found.attempts) == (State.RUNNING, process.id, 1)
    assert found.started is not None
    assert found.started >= found.created


def test_a_job_is_refused_that_is_none_of_ours(store: SQLStore, process: Process) -> None:
    id = submit(store)
    assert store.claim(NOBODY, "f", 1, process.id) == Refused(Refusal.UNKNOWN)
    assert store.claim(id, "g", 1, process.id) == Refused(Refusal.UNKNOWN)


def test_a_stale_hand_over_is_refused(store: SQLStore, process: Process) -> None:
    id = submit(store)
    (handed,) = store.handed_before(0, 10)
    assert store.hand_over_again([handed]).handed == [handed._replace(number=2)]
    assert store.claim(id, "f", 1, process.id) == Refused(Refusal.OUTDATED)
    assert isinstance(store.claim(id, "f", 2, process.id), Claimed)


def test_what_is_not_due_is_refused(store: SQLStore, running: Claiming, process: Process) -> None:
    claimed = running()
    store.give_back(claimed.claim, Event.RETRIED, delay=3600)
    # The job server hands its old job out again: it was restarted, say.
    assert store.claim(claimed.claim.id, "f", 1, process.id) == Refused(Refusal.EARLY)


def test_what_is_over_is_refused(store: SQLStore, running: Claiming, process: Process) -> None:
    claimed = running()
    store.finish(claimed.claim, Event.SUCCEEDED, "1")
    assert store.claim(claimed.claim.id, "f", 1, process.id) == Refused(Refusal.OVER)


def test_a_job_succeeds(store: SQLStore, running: Claiming) -> None:
    claimed = running(arguments="{}")
    assert store.finish(claimed.claim, Event.SUCCEEDED, "3")
    found = look(store, claimed.claim.id)
    assert (found.state, found.result, found.error, found.errors) == (
        State.SUCCEEDED, "3", None, []
    )  # fmt: skip
    assert found.started is not None
    assert found.finished is not None
    assert found.finished >= found.started
    assert found.arguments == "{}"


def test_a_job_that_succeeded_may_forget_its_arguments(store: SQLStore, running: Claiming) -> None:
    claimed, raw, failed = running(arguments="{}"), running(arguments=b"\1"), running(arguments="1")
    assert store.finish(claimed.claim, Event.SUCCEEDED, forget_arguments=True)
    assert store.finish(raw.claim, Event.SUCCEEDED, forget_arguments=True)
    replaced = running()
    assert store.finish(replaced.claim, Event.SUCCEEDED, "1", forget_arguments="{}")
    assert (look(store, replaced.claim.id).arguments, look(store, replaced.claim.id).result) == (
        "{}",
        "1",
    )
    assert store.finish(failed.claim, Event.FAILED, error="{}", forget_arguments=True)
    kept = [look(store, job.claim.id).arguments for job in (claimed, raw, failed)]
    assert kept == ["", "", "1"]


def test_a_job_fails(store: SQLStore, running: Claiming, process: Process) -> None:
    claimed = running()
    assert store.finish(claimed.claim, Event.FAILED, error='{"type":\n "ValueError"}')
    found = look(store, claimed.claim.id)
    assert (found.state, found.result, found.failures) == (State.FAILED, None, 1)
    assert found.error is not None
    assert json.loads(found.error) == {"type": "ValueError"}
    attempt = last_attempt(store, claimed.claim.id)
    assert datetime.fromisoformat(attempt.pop("started")) == found.started
    assert abs(datetime.fromisoformat(attempt.pop("ended")) - datetime.now(UTC)) < timedelta(60)
    assert attempt == {"process": process.id, "event": "failed", "error": {"type": "ValueError"}}


def test_a_job_is_finished_with_its_token_alone(store: SQLStore, running: Claiming) -> None:
    claimed = running()
    wrong = claimed.claim._replace(token=claimed.claim.token ^ 1)
    for event in (Event.SUCCEEDED, Event.FAILED, Event.INTERRUPTED):
        assert not store.finish(wrong, event, error="{}")
    assert store.give_back(wrong, Event.RETRIED) is None
    assert not store.progress(wrong, 1, 2)
    assert look(store, claimed.claim.id).state is State.RUNNING
    assert not store.finish(Claim(NOBODY, 1), Event.SUCCEEDED)


def test_a_job_ends_by_an_end(store: SQLStore, running: Claiming) -> None:
    claimed = running()
    with pytest.raises(InvalidOption, match="succeeded, failed, interrupted"):
        store.finish(claimed.claim, Event.RETRIED)
    with pytest.raises(InvalidOption, match="retried, given_back, owner_died"):
        store.give_back(claimed.claim, Event.FAILED)


def test_a_lost_answer_is_asked_for_again(store: SQLStore, running: Claiming) -> None:
    claimed = running()
    assert store.finish(claimed.claim, Event.SUCCEEDED, "1")
    assert store.finish(claimed.claim, Event.SUCCEEDED, "1")
    assert look(store, claimed.claim.id).result == "1"


def test_a_job_is_tried_again_later(store: SQLStore, running: Claiming, process: Process) -> None:
    claimed = running()
    returned = store.give_back(claimed.claim, Event.RETRIED, 3600, '"first"')
    assert returned == (claimed.claim.id, "f", Event.RETRIED)
    found = look(store, claimed.claim.id)
    assert (found.state, found.failures, found.deaths, found.error) == (
        State.QUEUED, 1, 0, '"first"'
    )  # fmt: skip
    assert timedelta(minutes=59) < found.due - datetime.now(UTC) < timedelta(minutes=61)
    assert store.hand_over(10, 10) == []
    assert not store.finish(claimed.claim, Event.SUCCEEDED)


def test_every_attempt_is_kept(store: SQLStore, running: Claiming, process: Process) -> None:
    claimed = running()
    for number, event in enumerate((Event.RETRIED, Event.GIVEN_BACK, Event.OWNER_DIED), 2):
        assert store.give_back(claimed.claim, event, 0, f'"{event}"')
        (handed,) = store.hand_over(10, 10)
        assert handed.number == number
        again = store.claim(handed.id, "f", number, process.id)
        assert isinstance(again, Claimed)
        claimed = again
    assert (claimed.attempt, claimed.failures, claimed.deaths) == (4, 1, 1)
    store.finish(claimed.claim, Event.SUCCEEDED, "1")
    found = look(store, claimed.claim.id)
    assert [json.loads(line)["error"] for line in found.errors] == [
        "retried", "given_back", "owner_died"
    ]  # fmt: skip
    assert (found.state, found.attempts, found.number) == (State.SUCCEEDED, 4, 4)


def test_of_many_attempts_the_last_ones_are_kept(
    store: SQLStore, running: Claiming, process: Process
) -> None:
    """A record is written again with each of them."""
    claimed = running()
    error = encode_failure(ValueError("no luck " * 20_000)).decode()
    for number in range(2, 40):
        assert store.give_back(claimed.claim, Event.RETRIED, 0, error)
        (handed,) = store.hand_over(10, 10)
        again = store.claim(handed.id, "f", number, process.id)
        assert isinstance(again, Claimed)
        claimed = again
    store.finish(claimed.claim, Event.FAILED, error=error)
    found = look(store, claimed.claim.id)
    attempts = [json.loads(line) for line in found.errors]
    assert (attempts[-1]["event"], attempts[0]["event"]) == ("failed", "retried")
    assert 14 <= len(attempts) < found.attempts == 39
    assert 900_000 < sum(map(len, found.errors)) <= 1_000_000
    assert len(found.error or "") <= 65_536
    assert attempts[-1]["error"]["gearmanny_error"]["message"].startswith("no luck no luck ")


def test_a_job_of_which_processes_die_is_poison(
    store: SQLStore, running: Claiming, process: Process
) -> None:
    claimed = running()
    store.give_back(claimed.claim, Event.OWNER_DIED, max_deaths=2)
    (handed,) = store.hand_over(1, 1)
    again = store.claim(handed.id, "f", handed.number, process.id)
    assert isinstance(again, Claimed)
    returned = store.give_back(again.claim, Event.OWNER_DIED, max_deaths=2)
    assert returned is not None
    assert returned.is_poisoned
    found = look(store, again.claim.id)
    assert (found.state, found.deaths, found.failures) == (State.FAILED, 2, 0)
    assert found.error is not None
    assert "2 processes died while they ran f()" in found.error


def test_a_queued_job_is_cancelled_at_once(store: SQLStore, process: Process) -> None:
    id = submit(store)
    assert store.cancel(id) is State.CANCELLED
    found = look(store, id)
    assert found.state is State.CANCELLED
    assert found.finished is not None
    assert store.claim(id, "f", 1, process.id) == Refused(Refusal.OVER)
    assert store.cancel(id) is State.CANCELLED


def test_a_running_job_is_cancelled_by_its_process(
    store: SQLStore, running: Claiming, process: Process
) -> None:
    claimed, free = running(), running()
    assert store.cancelling([process.id]) == []
    assert store.cancel(claimed.claim.id) is State.RUNNING
    assert look(store, claimed.claim.id).cancelling
    assert store.cancelling([process.id, NOBODY]) == [claimed.claim]
    assert store.cancelling([NOBODY]) == store.cancelling([]) == []
    assert store.finish(claimed.claim, Event.INTERRUPTED, error='"stopped"')
    found = look(store, claimed.claim.id)
    assert (found.state, found.cancelling, found.error) == (State.CANCELLED, False, '"stopped"')
    assert look(store, free.claim.id).state is State.RUNNING


def test_a_job_that_is_to_be_cancelled_does_not_go_back(store: SQLStore, running: Claiming) -> None:
    for event in (Event.RETRIED, Event.GIVEN_BACK, Event.OWNER_DIED):
        claimed = running()
        store.cancel(claimed.claim.id)
        returned = store.give_back(claimed.claim, event, 5, "{}")
        assert returned is not None
        assert returned.event is Event.INTERRUPTED
        assert look(store, claimed.claim.id).state is State.CANCELLED


def test_a_job_that_succeeds_before_it_is_interrupted_has_succeeded(
    store: SQLStore, running: Claiming
) -> None:
    claimed = running()
    store.cancel(claimed.claim.id)
    assert store.finish(claimed.claim, Event.SUCCEEDED, "1")
    assert store.cancel(claimed.claim.id) is State.SUCCEEDED
    assert not look(store, claimed.claim.id).cancelling


def test_a_failed_job_is_revived(store: SQLStore, running: Claiming, process: Process) -> None:
    claimed = running()
    assert store.revive(claimed.claim.id) is False
    store.finish(claimed.claim, Event.FAILED, error="{}")
    assert store.revive(claimed.claim.id) is True
    found = look(store, claimed.claim.id)
    assert (found.state, found.failures, found.finished) == (State.QUEUED, 0, None)
    (handed,) = store.hand_over(1, 1)
    assert isinstance(store.claim(handed.id, "f", 2, process.id), Claimed)


def test_a_job_that_is_revived_begins_with_no_deaths(store: SQLStore, running: Claiming) -> None:
    claimed = running()
    store.give_back(claimed.claim, Event.OWNER_DIED, max_deaths=1)
    assert look(store, claimed.claim.id).deaths == 1
    assert store.revive(claimed.claim.id)
    assert look(store, claimed.claim.id).deaths == 0


def test_a_transaction_in_doubt_is_settled(store: SQLStore, running: Claiming) -> None:
    claimed = running()
    assert store.settle(claimed.claim) is Settled.LOST
    store.finish(claimed.claim, Event.SUCCEEDED)
    assert store.settle(claimed.claim) is Settled.COMMITTED
    assert store.settle(Claim(claimed.claim.id, 1)) is Settled.TAKEN
    assert store.settle(Claim(NOBODY, 1)) is Settled.TAKEN
    returned = running()
    store.give_back(returned.claim, Event.RETRIED)
    assert store.settle(returned.claim) is Settled.TAKEN


def test_progress_is_told_beside_the_record(store: SQLStore, running: Claiming) -> None:
    claimed = running()
    assert store.progress(claimed.claim, 1, 10)
    assert store.progress(claimed.claim, 2, 10)
    assert look(store, claimed.claim.id).progress == (2, 10)
    assert store.progress(claimed.claim, 2**70, 2**70)
    assert store.progress(claimed.claim, 2, 10)
    store.finish(claimed.claim, Event.SUCCEEDED)
    assert not store.progress(claimed.claim, 3, 10)
    assert look(store, claimed.claim.id).progress == (2, 10)


def test_metadata_are_kept_beside_the_record(store: SQLStore, running: Claiming) -> None:
    claimed = running()
    assert look(store, claimed.claim.id).metadata is None
    assert store.save_metadata(claimed.claim, '{"a": 1}')
    assert store.progress(claimed.claim, 1, 10)
    assert store.save_metadata(claimed.claim, '{"a": 2}')
    found = look(store, claimed.claim.id)
    assert (found.metadata, found.progress) == ('{"a": 2}', (1, 10))
    store.give_back(claimed.claim, Event.RETRIED)
    assert not store.save_metadata(claimed.claim, '{"a": 3}')
    assert look(store, claimed.claim.id).metadata == '{"a": 2}'


VALUES: dict[str, tuple[Any, Any]] = {
    "function": ("f", "g"),
    "arguments": ('{"a": "\\"%s {now}\\\\"}', b"\xff"),
    "priority": (0, -1),
    "headers": ('{"a":"b"}', ""),
    "parent": ("01890a5d-ac96-774b-bcce-b302099a8057", None),
}
"""Of jobs, with a further one for each."""


def test_thousands_are_submitted_together(store: SQLStore) -> None:
    jobs = [NewJob("f", str(number), priority=number % 2) for number in range(1234)]
    answers = store.submit([*jobs, NewJob("f", "late", delay=9), NewJob("f", unique="k")])
    assert len({answer.id for answer in answers}) == 1236
    assert all(answer.is_new for answer in answers)
    assert [answer.is_handed_over for answer in answers[-3:]] == [True, False, True]
    assert [look(store, answer.id).arguments for answer in answers[:3]] == ["0", "1", "2"]
    assert store.submit([]) == []


@pytest.mark.parametrize("varied", [(), *((name,) for name in VALUES), tuple(VALUES)])
def test_jobs_that_are_submitted_together_differ_in_what_they_do(
    store: SQLStore, varied: tuple[str, ...]
) -> None:
    alike = {name: first for name, (first, _) in VALUES.items() if name not in varied}
    submitted = [
        NewJob(**alike, **{name: VALUES[name][number % 2] for name in varied})
        for number in range(4)
    ]
    for job, answer in zip(submitted, store.submit(submitted), strict=True):
        found = look(store, answer.id)
        assert [getattr(found, name) for name in VALUES] == [getattr(job, name) for name in VALUES]


def test_a_time_means_the_same_in_every_time_zone(database: Database, store: SQLStore) -> None:
    if database.is_postgres:
        name = database.url.rpartition("/")[2]
        database.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
    elsewhere = database.open()
    at = datetime(2031, 7, 1, 12, 30, 15, 250000, UTC)
    local = at.astimezone(ZoneInfo("Australia/Lord_Howe"))
    ids = [submit(store, at=at), submit(elsewhere, at=local)]
    for id in ids:
        for reader in (store, elsewhere):
            found = look(reader, id)
            assert found.due == at
            assert found.due.tzinfo is UTC
            assert abs(found.created - datetime.now(UTC)) < timedelta(minutes=1)
