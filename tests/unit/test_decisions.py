"""The decisions about a job with a record, and after a failed attempt at any job."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from gearmanny.errors import InvalidArguments, InvalidOption, RejectJob, TaskTimeLimitExceeded
from gearmanny.records.values import Claim, Claimed, Payload, Refusal, Refused, Settled
from gearmanny.tasks.options import TaskOptions
from gearmanny.working.decisions import (
    LOOKED_AT,
    MAX_RUNS,
    Decision,
    Done,
    Fail,
    GiveBack,
    LookAgain,
    Refuse,
    Retry,
    Run,
    Skip,
    TryLater,
    after_claim,
    after_failure,
    after_transaction,
    recorded,
)

OPTIONS = TaskOptions(retries=2, retry_on=(OSError,), backoff=lambda attempt: attempt * 10.0)


def decide(error: BaseException = OSError(), attempt: int = 1, **facts: Any) -> Decision:  # noqa: B008
    told = {"options": OPTIONS, "data_sent": False, "stopping": False, "lost": False, **facts}
    return after_failure(error, attempt, **told)


def test_another_attempt_follows_until_there_are_no_more() -> None:
    assert [decide(attempt=attempt) for attempt in (1, 2, 3)] == [Retry(10.0), Retry(20.0), Fail()]


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        KeyboardInterrupt(),
        SystemExit(),
        InvalidArguments(""),
        RejectJob(""),
        TaskTimeLimitExceeded("f", 1),
    ],
    ids=lambda error: type(error).__name__,
)
def test_only_what_was_named_is_a_reason(error: BaseException) -> None:
    assert decide(error) == Fail()


def test_what_no_attempt_can_mend_is_no_reason_even_if_it_was_named() -> None:
    options = TaskOptions(retries=2, retry_on=(Exception,))
    assert decide(InvalidArguments(""), options=options) == Fail()
    assert decide(RejectJob(""), options=options) == Fail()


@pytest.mark.parametrize("fact", ["stopping", "lost"])
def test_a_job_goes_back_where_there_can_be_no_other_attempt(fact: str) -> None:
    assert decide(**{fact: True}) == GiveBack()


@pytest.mark.parametrize(("stopping", "lost"), [*itertools.product([False, True], repeat=2)])
def test_a_failure_that_is_the_answer_stays_so(stopping: bool, lost: bool) -> None:
    assert decide(ValueError(), stopping=stopping, lost=lost) == Fail()
    assert decide(attempt=3, stopping=stopping, lost=lost) == Fail()
    assert decide(data_sent=True, stopping=stopping, lost=lost) == Fail()


def test_a_backoff_that_returns_nonsense_is_an_error() -> None:
    options = TaskOptions(retries=1, backoff=lambda attempt: -1.0)
    with pytest.raises(
        InvalidOption, match=r"after attempt 1 must be a number of seconds, 0 or more, not -1\.0"
    ):
        decide(options=options)
    assert decide(options=options, stopping=True) == GiveBack(), "it is not asked in vain"


CLAIMED = Claimed(Claim("id", 1), "f", "{}", 1, 0, 0, datetime(2026, 1, 1, tzinfo=UTC), "")


def test_a_job_that_was_claimed_is_run() -> None:
    assert after_claim(CLAIMED, 0.0) == Run(CLAIMED)


def test_a_job_without_a_record_is_refused() -> None:
    assert isinstance(after_claim(Refused(Refusal.UNKNOWN), 0.0), Refuse)


@pytest.mark.parametrize("reason", [Refusal.OVER, Refusal.OUTDATED, Refusal.EARLY])
def test_a_job_that_is_not_to_be_run_now_is_skipped(reason: Refusal) -> None:
    assert isinstance(after_claim(Refused(reason), 0.0), Skip)


def test_a_job_that_another_process_has_is_looked_at_for_a_while_and_left() -> None:
    running = Refused(Refusal.RUNNING, "owner", Claim("id", 1))
    assert isinstance(after_claim(running, 0.0), LookAgain)
    assert isinstance(after_claim(running, LOOKED_AT), Skip)


def test_a_process_that_is_not_registered_gives_its_job_back() -> None:
    assert after_claim(Refused(Refusal.UNREGISTERED), 0.0) == GiveBack()


def test_a_job_with_a_record_is_tried_later_whatever_else_is_the_case() -> None:
    for data_sent, stopping, lost in itertools.product([False, True], repeat=3):
        facts = {"data_sent": data_sent, "stopping": stopping, "lost": lost}
        assert decide(recorded=True, **facts) == TryLater(10.0)
        assert decide(recorded=True, attempt=3, **facts) == Fail()


def test_a_job_that_was_cancelled_is_not_tried_again() -> None:
    for has_record in (False, True):
        assert decide(cancelled=True, recorded=has_record) == Fail()


def test_a_transaction_that_a_cancellation_broke_is_not_run_again() -> None:
    for stopping in (False, True):
        assert settle(Settled.LOST, cancelled=True, stopping=stopping) == Fail()
    assert settle(Settled.COMMITTED, cancelled=True) == Done()


def settle(settled: Settled, runs: int = 1, **facts: bool) -> Decision | Done | Skip:
    told = {"is_transient": True, "stopping": False, "cancelled": False, **facts}
    return after_transaction(settled, runs, **told)


def test_a_transaction_that_was_committed_is_the_end_whatever_its_error() -> None:
    for is_transient, stopping in itertools.product([False, True], repeat=2):
        decided = settle(Settled.COMMITTED, is_transient=is_transient, stopping=stopping)
        assert decided == Done()


def test_a_job_that_somebody_else_has_is_left_to_them() -> None:
    assert isinstance(settle(Settled.TAKEN), Skip)


def test_a_lost_transaction_is_run_again_some_times() -> None:
    delays = [settle(Settled.LOST, runs) for runs in range(1, MAX_RUNS)]
    assert all(isinstance(delay, Retry) and delay.delay <= 2.0 for delay in delays)
    assert settle(Settled.LOST, MAX_RUNS) == Fail()
    assert settle(Settled.LOST, stopping=True) == GiveBack()


def test_an_error_of_the_task_is_its_failure() -> None:
    assert settle(Settled.LOST, is_transient=False) == Fail()
    assert settle(Settled.LOST, is_transient=False, stopping=True) == Fail()


@pytest.mark.parametrize(
    ("payload", "is_text", "expected"),
    [
        (b'{"a": "\xc3\xa9"}', True, '{"a": "\u00e9"}'),
        (b"\xff", True, b"\xff"),
        (b"a\0b", True, b"a\0b"),
        (b"text", False, b"text"),
        (b"", True, ""),
    ],
)
def test_a_payload_is_recorded_as_text_where_it_is_some(
    payload: bytes, is_text: bool, expected: Payload
) -> None:
    assert recorded(payload, is_text=is_text) == expected
