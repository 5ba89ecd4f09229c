"""The state of a job and its cancellation: what is asked of whom."""

from __future__ import annotations

from typing import Any

import pytest

from gearmanny.calling.asking import cancel, find_status, status
from gearmanny.calling.steps import Ask, Command, Reach, Wait
from gearmanny.calling.values import JobState, JobStatus, Progress
from gearmanny.errors import JobServerError, JobServerLost, JobServerUnavailable
from gearmanny.net.deadline import NEVER, Deadline
from gearmanny.protocol.client import Completed, Created, Rejected, StatusReceived
from tests.unit.steps import A, B, FakeLine, call_of, carry_out, pool_of

LOST = JobServerLost("a:4730", "closed by the job server")
AWAY = JobServerUnavailable({"a:4730": "connection refused"})
UNKNOWN = JobStatus(JobState.UNKNOWN)


def told(known: bool = True, running: bool = False, done: bytes = b"0", total: bytes = b"0") -> Any:
    """Answers a question."""

    def answer(step: Ask) -> bool:
        step.question.take(StatusReceived(known, running, done, total))
        return True

    return answer


def accepted(background: bool = False, **options: Any) -> Any:
    call = call_of(background=background, **options)
    call.take(Created(b"H:1"))
    return call


class TestStatus:
    @pytest.mark.parametrize(
        ("answer", "found"),
        [
            (told(), JobStatus(JobState.QUEUED)),
            (told(running=True), JobStatus(JobState.RUNNING)),
            (told(True, True, b"1", b"2"), JobStatus(JobState.RUNNING, Progress(1, 2))),
            (told(True, True, b"?", b"2"), JobStatus(JobState.RUNNING)),
            (told(known=False), UNKNOWN),
        ],
    )
    def test_the_job_server_is_asked_by_handle(self, answer: Any, found: JobStatus) -> None:
        call = accepted()
        state, (step,), _ = carry_out(status(call, NEVER, None), answer)
        assert state == found
        assert (step.question.line, step.job, step.by_unique) == (call.line, b"H:1", False)

    def test_a_background_job_is_asked_for_by_its_unique_id(self) -> None:
        call, line = accepted(background=True), FakeLine()
        _, steps, _ = carry_out(status(call, NEVER, None), line, told())
        assert steps[0] == Reach([A], NEVER)
        assert (steps[1].question.line, steps[1].job, steps[1].by_unique) == (line, b"unique", True)

    def test_one_that_has_no_handle_yet_is_waited_for(self) -> None:
        call = call_of()

        def create(step: Wait) -> bool:
            call.take(Created(b"H:1"))
            return True

        assert carry_out(status(call, NEVER, None), create, told())[0].state is JobState.QUEUED

    def test_one_that_ended_or_was_refused_or_cancelled_is_unknown(self) -> None:
        ended, refused, cancelled = accepted(), call_of(), accepted()
        ended.take(Completed(b"1"))
        refused.take(Rejected(b"QUEUE_ERROR", b"full"))
        cancelled.cancelled = True
        for call in (ended, refused, cancelled):
            assert carry_out(status(call, NEVER, None)) == (UNKNOWN, [], [])

    def test_a_question_that_ends_otherwise_is_an_error(self) -> None:
        def refuse(step: Ask) -> bool:
            step.question.take(Rejected(b"BAD", b"question"))
            return True

        def lose(step: Ask) -> bool:
            step.question.lose(LOST)
            return True

        with pytest.raises(JobServerUnavailable, match="no answer in time about a job"):
            carry_out(status(accepted(), NEVER, None), False)
        with pytest.raises(JobServerError, match="BAD"):
            carry_out(status(accepted(), NEVER, None), refuse)
        with pytest.raises(JobServerLost):
            carry_out(status(accepted(), NEVER, None), lose)

    def test_a_job_that_was_lost_is_asked_for_where_it_was_sent_again(self) -> None:
        call = call_of(pool=pool_of(A, B))
        call.take(Created(b"H:1"))
        other = FakeLine(B)

        def lose(step: Ask) -> bool:
            step.question.lose(LOST)
            call.lose(LOST)
            return True

        def send_again(step: Wait) -> bool:
            call.sent_over(other)
            call.take(Created(b"H:2"))
            return True

        state, steps, _ = carry_out(status(call, NEVER, None), lose, send_again, told())
        assert state.state is JobState.QUEUED
        assert (steps[2].question.line, steps[2].job) == (other, b"H:2")


class TestCancelling:
    def test_a_job_that_waits_is_taken_from_its_queue(self) -> None:
        call = accepted()

        def take(step: Command) -> str:
            assert call.cancelled
            assert (step.host, step.command) == (A, "cancel job H:1")
            return "OK"

        assert carry_out(cancel(call, NEVER, None), told(), take, told(known=False))[0] is True
        assert call.cancelled
        assert carry_out(cancel(call, NEVER, None)) == (True, [], [])

    @pytest.mark.parametrize("state", [told(running=True), told(known=False)])
    def test_a_job_that_does_not_wait_is_left_alone(self, state: Any) -> None:
        for call in (accepted(), accepted(background=True)):
            assert carry_out(cancel(call, NEVER, None), state)[0] is False

    def test_a_job_that_was_refused_is_not_cancelled(self) -> None:
        call = call_of()
        call.take(Rejected(b"QUEUE_ERROR", b"full"))
        assert carry_out(cancel(call, NEVER, None))[0] is False

    def test_a_job_that_a_worker_took_meanwhile_is_not_cancelled(self) -> None:
        call = accepted()
        unknown = JobServerError("UNKNOWN_JOB", "")
        for answers in ((told(), "OK", told(running=True)), (told(), unknown, told(known=False))):
            assert carry_out(cancel(call, NEVER, None), *answers)[0] is False
            assert not call.cancelled

    @pytest.mark.parametrize("error", [AWAY, JobServerError("BAD", "")])
    def test_an_attempt_that_failed_is_none(self, error: Exception) -> None:
        call = accepted()
        with pytest.raises(type(error)):
            carry_out(cancel(call, NEVER, None), told(), error)
        assert not call.cancelled


class TestFinding:
    def test_the_first_server_that_knows_the_job_is_believed(self) -> None:
        answers = [FakeLine(A), told(known=False), FakeLine(B), told()]
        found, steps, _ = carry_out(find_status([A, B], b"id", NEVER), *answers)
        assert found.state is JobState.QUEUED
        assert [step.hosts for step in steps[::2]] == [[A], [B]]

    def test_a_job_that_nobody_knows_is_unknown(self) -> None:
        answers = [FakeLine(A), told(known=False)]
        assert carry_out(find_status([A], b"id", NEVER), *answers)[0] == UNKNOWN

    @pytest.mark.parametrize("error", [AWAY, LOST, JobServerError("BAD", "question")])
    def test_a_server_that_could_not_be_asked_is_named(self, error: Exception) -> None:
        found, *_ = carry_out(
            find_status([A, B], b"id", NEVER), error, FakeLine(B), told(known=False)
        )
        assert found == JobStatus(JobState.UNKNOWN, None, ("a:4730",))
        found, *_ = carry_out(find_status([A, B], b"id", NEVER), error, FakeLine(B), told())
        assert found == JobStatus(JobState.QUEUED)

    def test_where_none_could_be_asked_nothing_is_known(self) -> None:
        away = JobServerUnavailable({"b:4730": "timed out"})
        with pytest.raises(JobServerUnavailable) as info:
            carry_out(find_status([A, B], b"id", NEVER), LOST, away)
        assert info.value.failures == {"a:4730": LOST.reason, "b:4730": "timed out"}
        with pytest.raises(JobServerLost):
            carry_out(find_status([A], b"id", NEVER), LOST)

    def test_each_server_has_its_share_of_the_time(self) -> None:
        answers = [FakeLine(A), told(known=False), FakeLine(B), told(known=False)]
        _, steps, _ = carry_out(find_status([A, B], b"id", Deadline(100)), *answers)
        first, second = (step.deadline.remaining() for step in steps[::2])
        assert 40 < first <= 50 < second

    def test_a_job_that_was_cancelled_is_not_queued(self) -> None:
        call = accepted(background=True)
        carry_out(cancel(call, NEVER, None), told(), "OK", told(known=False))
        line, id_ = call.line, call.unique
        assert carry_out(find_status([A], id_, NEVER), line, told())[0] == UNKNOWN
        # Once gearmand has forgotten it, one that is queued is another one.
        assert carry_out(find_status([A], id_, NEVER), line, told(known=False))[0] == UNKNOWN
        assert carry_out(find_status([A], id_, NEVER), line, told())[0].state is JobState.QUEUED
