"""Waiting for answers, updates and streams: what is asked of a driver, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gearmanny.calling.steps import Avoid, Command, Submit, Tell, Wait
from gearmanny.calling.unread import MOST_UNREAD
from gearmanny.calling.values import Data, Progress
from gearmanny.calling.waiting import (
    exception,
    result,
    stream,
    until,
    updates,
    warn_if_unserved,
)
from gearmanny.errors import (
    EncodingError,
    InvalidTask,
    JobServerUnavailable,
    ProtocolError,
    TaskError,
    TaskTimeout,
)
from gearmanny.net.deadline import NEVER, Deadline
from gearmanny.payload.names import served_here
from gearmanny.protocol.client import Completed, DataSent, Event, Failed, Progressed
from tests.unit.steps import A, call_of, carry_out

MIB = 2**20


def comes(*events: Event) -> Any:
    """Answers a wait by what arrives."""

    def take(step: Wait) -> bool:
        for event in events:
            step.call.take(event)
        return step.ready()

    return take


def sent(call: Any) -> Any:
    """Answers what is submitted."""

    def submit(step: Submit) -> list[Any]:
        assert step.inputs == [b"{}"]
        return [call]

    return submit


class TestResults:
    def test_what_is_there_needs_no_step(self) -> None:
        call = call_of()
        call.take(Completed(b"[1]"))
        assert carry_out(result(call, NEVER, None)) == ([1], [], [])

    def test_it_is_waited_for(self) -> None:
        call = call_of()
        deadline = Deadline(60)
        value, (step,), _ = carry_out(result(call, deadline, 60), comes(Completed(b"5")))
        assert (value, step.call, step.deadline) == (5, call, deadline)

    def test_updates_are_passed_on_before(self) -> None:
        call = call_of(on_update=print)
        answers = [comes(Progressed(b"1", b"2")), None, comes(DataSent(b"3")), None]
        value, steps, _ = carry_out(result(call, NEVER, None), *answers, comes(Completed(b"5")))
        assert value == 5
        told = [step for step in steps if isinstance(step, Tell)]
        assert told == [Tell(print, Progress(1, 2)), Tell(print, Data(3))]

    def test_how_a_job_ended_may_be_an_exception(self) -> None:
        call = call_of()
        error, _, _ = carry_out(exception(call, NEVER, None), comes(Failed()))
        assert isinstance(error, TaskError)
        assert error.__traceback__ is None
        ended = call_of()
        ended.take(Completed(b"1"))
        assert carry_out(exception(ended, NEVER, None))[0] is None


class TestTimeouts:
    def test_a_look_is_not_explained(self) -> None:
        call = call_of()
        with pytest.raises(TaskTimeout):
            carry_out(until(call, call.is_answered, Deadline(0), 0), False)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (["f\t5\t2\t3"], r"3 worker\(s\) offer it; 2 of its jobs run and 3 wait"),
            (["f\t5\t2\t0", "g\t0\t0\t1"], "No worker offers it on a:4730"),
            (JobServerUnavailable({"a:4730": "timed out"}), "a:4730 does not answer either"),
            (ProtocolError("no status"), "a:4730 does not answer either"),
        ],
    )
    def test_a_wait_is_explained_by_the_job_server(self, answer: Any, reason: str) -> None:
        call = call_of()

        def ask(step: Command) -> Any:
            assert (step.host, step.command) == (A, "status")
            if isinstance(answer, Exception):
                raise answer
            return answer

        def avoid(step: Avoid) -> None:
            assert step.host == A

        is_away = isinstance(answer, JobServerUnavailable)
        said = [answer, avoid] if is_away else [ask]
        with pytest.raises(TaskTimeout, match=reason):
            carry_out(until(call, call.is_answered, Deadline(0), 5), False, *said)


class TestWaitsWithoutATimeout:
    @pytest.mark.parametrize(
        ("answer", "logged"),
        [
            (["f\t5\t2\t3"], False),
            (["f\t5\t2\t0"], True),
            (JobServerUnavailable({"a:4730": "timed out"}), False),
        ],
    )
    def test_one_that_nobody_serves_is_logged_once(
        self, answer: Any, logged: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        call = call_of()
        answers = [False, answer, False]
        with pytest.raises(AssertionError):  # only a deadline ends a wait without an answer
            carry_out(until(call, call.is_answered, NEVER, None), *answers)
        carry_out(until(call, call.is_answered, NEVER, None), comes(Completed(b"5")))
        texts = [
            "f() has no answer after 5 s: no worker offers it on a:4730. The call has no timeout, "
            "so it waits on."
        ]
        assert [record.getMessage() for record in caplog.records] == texts * logged

    def test_an_answer_within_the_first_seconds_asks_nobody(self) -> None:
        call = call_of()
        steps = carry_out(result(call, NEVER, None), comes(Completed(b"5")))[1]
        assert [type(step) for step in steps] == [Wait]

    def test_a_background_job_is_only_to_be_accepted(self) -> None:
        call = call_of(background=True)
        assert carry_out(warn_if_unserved(call)) == (None, [], [])


class TestUpdates:
    def test_they_are_given_until_the_job_ends(self) -> None:
        call = call_of()
        both = comes(Progressed(b"1", b"2"), Progressed(b"x", b"y"))
        _, _, given = carry_out(updates(call, NEVER, None), both, comes(Completed(b"1")))
        assert given == [Progress(1, 2)]

    def test_one_that_another_thread_took_is_not_the_end(self) -> None:
        call = call_of()
        answers = [True, comes(DataSent(b"1")), comes(Completed(b"2"))]
        assert carry_out(updates(call, NEVER, None), *answers)[2] == [Data(1)]


class TestStreams:
    def test_parts_are_given_as_they_come_and_not_once_more(self) -> None:
        call = call_of()
        answers = [sent(call), comes(DataSent(b"1")), comes(Progressed(b"1", b"2"))]
        _, _, given = carry_out(stream(b"{}", None, MIB), *answers, comes(Completed(b"[1]")))
        assert given == [1]
        assert not call.keeps_updates

    def test_on_update_sees_all_of_it(self) -> None:
        call = call_of(on_update=print)
        answers = [sent(call), comes(DataSent(b"1"), Completed(b"[1]")), None]
        _, steps, given = carry_out(stream(b"{}", None, MIB), *answers)
        assert given == [1]
        assert Tell(print, Data(1)) in steps

    @pytest.mark.parametrize(("whole", "items"), [(b"[1, 2]", [1, 2]), (b"null", []), (b"[]", [])])
    def test_a_list_is_one(self, whole: bytes, items: list[int]) -> None:
        answers = [sent(call_of()), comes(Completed(whole))]
        assert carry_out(stream(b"{}", None, MIB), *answers)[2] == items

    def test_what_is_none_is_told(self) -> None:
        with pytest.raises(InvalidTask, match="is no stream"):
            carry_out(stream(b"{}", None, MIB), sent(call_of()), comes(Completed(b"1")))

    def test_one_that_is_not_read_in_time_has_no_gap_but_an_error(self) -> None:
        call = call_of()
        parts = [DataSent(bytes(MIB // 4)) for _ in range(5)]
        with pytest.raises(EncodingError, match=r"2 updates of f\(\) were dropped"):
            carry_out(stream(b"{}", None, MIB), sent(call), comes(*parts))

    def test_leaving_it_forgets_the_job(self) -> None:
        call, steps = call_of(), stream(b"{}", None, MIB)
        next(steps)
        steps.send([call])
        steps.close()
        assert not call.keeps_updates


class TestUpdatesThatAreTakenSlowly:
    """A consumer that is slower than its worker finds an update whenever it comes back."""

    def test_the_deadline_is_kept(self) -> None:
        def many(call: Any) -> Any:
            for _ in range(3):
                call.take(DataSent(b"1"))
            return call

        call = many(call_of(on_update=print))
        with pytest.raises(TaskTimeout, match="some are left"):
            carry_out(result(call, Deadline(0), 5), None)
        with pytest.raises(TaskTimeout, match="faster than they are taken"):
            carry_out(updates(many(call_of()), Deadline(0), 5))
        with pytest.raises(TaskTimeout, match="within 0 s"):
            carry_out(stream(b"{}", 0, MOST_UNREAD), sent(many(call_of())))

    def test_those_of_a_job_that_has_ended_may_be_taken_at_leisure(self) -> None:
        for on_update in (None, print):
            call = call_of(on_update=on_update)
            for event in (DataSent(b"1"), DataSent(b"2"), Completed(b"3")):
                call.take(event)
            if on_update is None:
                assert carry_out(updates(call, Deadline(0), 0))[2] == [Data(1), Data(2)]
            else:
                assert carry_out(result(call, Deadline(0), 0), None, None)[0] == 3


class TestATaskThatWaitsForItsOwnProcess:
    """Calls are of the function `f`."""

    @pytest.fixture(autouse=True)
    def served(self) -> Iterator[None]:
        served = served_here.set(frozenset(["f"]))
        yield
        served_here.reset(served)

    @pytest.mark.parametrize(("workers", "is_alone"), [(1, True), (2, False)])
    def test_is_told_where_it_times_out(
        self, caplog: pytest.LogCaptureFixture, workers: int, is_alone: bool
    ) -> None:
        call = call_of()
        rows = [f"f\t1\t0\t{workers}"]
        with pytest.raises(TaskTimeout) as caught:
            carry_out(until(call, call.is_answered, Deadline(0), 5), False, rows)
        assert ("runs in the only process that offers it" in str(caught.value)) == is_alone
        actions = [getattr(record, "action", "") for record in caplog.records]
        assert actions == ["waits_for_itself"] * is_alone

    def test_is_told_in_the_log_where_there_is_no_timeout(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        carry_out(warn_if_unserved(call_of()), ["f\t1\t0\t1"])
        assert [getattr(record, "action", "") for record in caplog.records] == ["waits_for_itself"]
