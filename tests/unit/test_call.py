"""A call, and what came of it so far."""

from __future__ import annotations

from typing import Any

import pytest

from gearmanny.calling.exchange import Cancelled, Exchange, Question
from gearmanny.calling.unread import MOST_UNREAD
from gearmanny.calling.values import Data, Progress, Warning
from gearmanny.errors import (
    EncodingError,
    JobCancelled,
    JobServerError,
    JobServerLost,
    ProtocolError,
    TaskError,
)
from gearmanny.payload.sizes import Oversized
from gearmanny.protocol.client import (
    Completed,
    Created,
    DataSent,
    Excepted,
    Failed,
    Progressed,
    Rejected,
    Warned,
)
from tests.unit.steps import A, FakeLine, call_of, pool_of

LOST = JobServerLost("a:4730", "closed by the job server")


class Noting:
    """A watcher."""

    def __init__(self) -> None:
        self.noticed: list[Any] = []

    def notice(self, exchange: Exchange[Any]) -> None:
        self.noticed.append(exchange)


def ended(*events: Any, **options: Any) -> Any:
    call = call_of(**options)
    for event in events:
        call.take(event)
    return call


class TestOutcomes:
    def test_a_result_is_a_value(self) -> None:
        call = ended(Created(b"H:1"), Completed(b'{"a": 1}'))
        assert call.value() == call.value() == {"a": 1}
        assert call.exception() is None
        assert str(call) == "f H:1 (done)"

    def test_a_background_job_is_accepted_and_nobody_knows_whether_it_is_done(self) -> None:
        call = ended(Created(b"H:1"), background=True)
        assert str(call) == "f H:1 (accepted)"

    def test_one_that_waits_says_so(self) -> None:
        call = call_of()
        assert str(call) == "f no handle yet (waiting)"
        assert not call.is_answered()
        assert not call.has_handle()
        assert not call.has_news()

    def test_a_background_job_is_over_when_it_is_accepted(self) -> None:
        call = ended(Created(b"H:1"), background=True)
        assert call.is_answered()
        assert call.value() is None

    @pytest.mark.parametrize(
        ("events", "message"),
        [
            ([Failed()], "f"),
            ([Warned(b"because"), Failed()], "because"),
            ([DataSent(b"printed"), Failed()], "printed"),
            ([DataSent(b"one"), DataSent(b"two"), Failed()], "failed"),
            ([Warned(b"careful"), Excepted(b"broken")], "broken"),
        ],
    )
    def test_a_failure_has_the_reason_that_came(self, events: list[Any], message: str) -> None:
        with pytest.raises(TaskError, match=message):
            ended(*events).value()

    def test_a_cancelled_job_has_not_failed(self) -> None:
        call = ended(Failed())
        call.cancelled = True
        assert isinstance(call.exception(), JobCancelled)

    def test_a_refused_job_says_why(self) -> None:
        with pytest.raises(JobServerError, match="QUEUE_ERROR"):
            ended(Rejected(b"QUEUE_ERROR", b"full")).value()

    def test_one_that_could_not_be_encoded_has_failed_already(self) -> None:
        error = EncodingError("cannot encode this")
        call = call_of(request=error)
        assert call.is_answered()
        with pytest.raises(EncodingError, match="cannot encode this") as caught:
            call.value()
        assert caught.value is not error  # else each raise would lengthen its traceback


class TestLosses:
    def test_a_loss_is_the_end_of_a_job_and_its_watchers_learn_of_it(self) -> None:
        watcher, call = Noting(), call_of()
        call.watch(watcher)
        call.lose(LOST)
        assert isinstance(call.exception(), JobServerLost)
        assert watcher.noticed == [call]

    def test_an_idempotent_job_has_to_be_sent_again(self) -> None:
        watcher, call = Noting(), call_of(pool=pool_of(A))
        call.watch(watcher)
        call.take(Created(b"H:1"))
        call.lose(LOST)
        assert (call.is_lost, call.is_answered(), call.handle) == (True, False, None)
        assert watcher.noticed == [call]
        other = FakeLine()
        call.sent_over(other)
        assert (call.is_lost, call.line) == (False, other)

    def test_a_loss_that_is_told_twice_is_one(self) -> None:
        call = call_of(pool=pool_of(A))
        call.lose(LOST)
        assert call.again is not None
        patience = call.again.patience
        call.lose(LOST)
        assert call.again.patience is patience
        assert call.is_lost

    def test_an_answer_stays_and_is_notified_of_again_where_an_interrupt_came_between(self) -> None:
        class Counter:
            noticed = 0

            def notice(self, exchange: Any) -> None:
                self.noticed += 1

        for pool in (None, pool_of(A)):
            call, counter = call_of(pool=pool), Counter()
            call.watch(counter)
            call.take(Completed(b"1"))
            call.lose(LOST)
            assert (call.value(), counter.noticed, call.is_lost) == (1, 1, False)

    def test_one_that_is_closed_or_wrong_is_not_sent_again(self) -> None:
        wrong, closed, forgotten = (call_of(pool=pool_of(A)) for _ in range(3))
        wrong.lose(ProtocolError("garbage"))
        closed.line.given_up = True
        closed.lose(LOST)
        forgotten.forget()
        forgotten.lose(LOST)
        for call in (wrong, closed, forgotten):
            assert call.is_answered()
            assert not call.is_lost

    def test_one_that_is_not_idempotent_can_be_moved(self) -> None:
        call = call_of()
        call.sent_over(FakeLine())
        assert not call.is_lost


class TestUpdates:
    def test_they_are_read_once_and_in_order(self) -> None:
        call = ended(
            Progressed(b"1", b"4"), DataSent(b"[1]"), Warned(b'"careful"'), Warned(b"in words")
        )
        assert call.has_news()
        taken = [call.take_update() for _ in range(5)]
        assert taken == [Progress(1, 4), Data([1]), Warning("careful"), Warning("in words"), None]
        assert call.progress == Progress(1, 4)
        assert call_of().progress is None

    def test_the_reason_of_a_failure_is_none_for_users(self) -> None:
        reason = b'{"gearmanny_error": {"type": "ValueError", "message": "no"}}'
        assert ended(Warned(reason)).take_update() is None

    def test_one_that_is_too_large_is_an_error(self) -> None:
        with pytest.raises(EncodingError):
            ended(Warned(Oversized.of(5000, 1000))).take_update()

    def test_nobody_keeps_what_nobody_reads(self) -> None:
        call = call_of()
        call.take(DataSent(b"1"))
        call.forget()
        call.take(DataSent(b"2"))
        assert call.unread is None
        assert call.take_update() is None

    def test_those_that_were_dropped_are_told_once(self) -> None:
        call = ended(*(DataSent(bytes(MOST_UNREAD // 2)) for _ in range(3)))
        assert call.take_update() == Warning(
            "2 updates of f() were dropped, because nobody read them"
        )
        assert isinstance(call.unread.take(), DataSent)
        assert call.take_update() is None

    def test_a_gap_is_an_error_to_a_reader_who_needs_all(self) -> None:
        call = call_of()
        call.take(DataSent(bytes(5000)))
        call.needs_all(6000)
        call.take(DataSent(bytes(5000)))
        with pytest.raises(EncodingError, match="raise max_packet, which is 6000 bytes"):
            call.take_update()


@pytest.mark.parametrize(
    ("done", "total", "fraction"), [(1, 4, 0.25), (5, 4, 1.0), (1, 0, None), (1.5, 3, 0.5)]
)
def test_progress_has_a_fraction(done: float, total: float, fraction: float | None) -> None:
    assert Progress(done, total).fraction == fraction


@pytest.mark.parametrize("text", [b"x", b"nan", b"inf"])
def test_what_is_no_number_is_no_progress(text: bytes) -> None:
    assert ended(Progressed(text, b"1")).progress is None


def test_bytes_are_one_part_of_a_stream() -> None:
    call = ended(Completed(b"1"))
    call._encoder = type("Bytes", (), {"decode": staticmethod(bytes)})
    assert call.rest_of_stream(sent_ahead=False) == [b"1"]
    assert call.rest_of_stream(sent_ahead=True) == []
    call.outcome = Completed(b"")
    assert call.rest_of_stream(sent_ahead=False) == []


def test_what_was_sent_has_to_say_what_comes_of_it() -> None:
    line = FakeLine()
    exchange = Exchange(line)
    with pytest.raises(NotImplementedError):
        exchange.take(Failed())
    exchange.sent_over(line)
    assert exchange.failure() is None
    assert Question(line).line is line


def test_a_watcher_may_leave() -> None:
    leaving, staying, call = Noting(), Noting(), call_of()
    call.watch(leaving)
    call.watch(staying)
    call.unwatch(leaving)
    call.settle(LOST)
    assert (leaving.noticed, staying.noticed) == ([], [call])


def test_a_connection_remembers_the_jobs_that_were_cancelled_last() -> None:
    cancelled = Cancelled()
    for number in range(1001):
        cancelled.add(b"%d" % number)
    assert b"0" not in cancelled
    assert b"1" in cancelled
    cancelled.discard(b"1")
    assert b"1" not in cancelled
    Cancelled().discard(b"2")
