"""The decision after a failed attempt at a job."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from gearmanny.errors import InvalidArguments, InvalidOption, RejectJob, TaskTimeLimitExceeded
from gearmanny.tasks.options import TaskOptions
from gearmanny.working.decisions import Decision, Fail, GiveBack, Retry, after_failure

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
