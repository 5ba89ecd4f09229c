"""An idempotent job that was lost: where it is sent again, and when it is given up."""

from __future__ import annotations

from typing import Any

from gearmanny.calling.resending import send_again
from gearmanny.calling.steps import Pause, Reach, Send
from gearmanny.errors import JobServerLost, JobServerUnavailable
from gearmanny.net.deadline import NEVER, Deadline
from tests.unit.steps import A, B, FakeLine, call_of, carry_out, pool_of

LOST = JobServerLost("a:4730", "closed by the job server")
AWAY = JobServerUnavailable({"a:4730": "connection refused"})


def queued(step: Send) -> bool:
    step.call.sent_over(step.line)
    return True


def kinds(steps: list[Any]) -> list[type]:
    return [type(step) for step in steps]


def test_another_server_gets_it_at_once() -> None:
    call, other = call_of(pool=pool_of(A, B)), FakeLine(B)
    call.lose(LOST)
    assert call.is_lost
    again, steps, _ = carry_out(send_again(call, NEVER), other, queued)
    assert again is True
    assert steps[0] == Reach([B], NEVER)
    assert kinds(steps) == [Reach, Send]
    assert (call.line, call.is_lost) == (other, False)


def test_the_only_server_gets_time_to_come_back() -> None:
    call = call_of(pool=pool_of(A))
    call.lose(LOST)
    _, steps, _ = carry_out(send_again(call, NEVER), None, AWAY, None, FakeLine(), queued)
    assert kinds(steps) == [Pause, Reach, Pause, Reach, Send]
    first, second = steps[0].seconds, steps[2].seconds
    assert 0 < first <= 0.05 < second <= 0.1


def test_where_it_was_lost_everywhere_all_servers_get_time() -> None:
    call = call_of(pool=pool_of(A, B))
    call.lose(LOST)
    carry_out(send_again(call, NEVER), FakeLine(B), queued)
    call.lose(LOST)
    _, steps, _ = carry_out(send_again(call, NEVER), None, FakeLine(), queued)
    assert kinds(steps) == [Pause, Reach, Send]
    assert set(steps[1].hosts) == {A, B}


def test_a_server_that_is_known_to_be_away_is_not_asked_at_once() -> None:
    pool = pool_of(A, B)
    call = call_of(pool=pool)
    call.lose(LOST)

    def refuse(step: Reach) -> None:
        carry_out(pool.reach("dialer", step.hosts, 0, NEVER), AWAY)

    walk_on = [refuse, None, FakeLine(), queued]
    _, steps, _ = carry_out(send_again(call, NEVER), *walk_on)
    assert steps[0] == Reach([B], NEVER)
    assert kinds(steps) == [Reach, Pause, Reach, Send]


def test_the_time_of_who_waits_ends_the_wait_and_not_the_job() -> None:
    call = call_of(pool=pool_of(A))
    call.lose(LOST)
    again, steps, _ = carry_out(send_again(call, Deadline(0)), None)
    assert (again, kinds(steps)) == (False, [Pause])
    assert steps[0].seconds == 0
    assert call.is_lost
    assert not call.is_answered()


def test_it_is_given_up_when_no_server_comes_back() -> None:
    call = call_of(pool=pool_of(A, connect_timeout=0))
    call.lose(LOST)
    again, _, _ = carry_out(send_again(call, NEVER), None, AWAY)
    assert again is True
    assert call.outcome is AWAY
    assert not call.is_lost


def test_a_closed_client_gives_it_up() -> None:
    pool = pool_of(A)
    call = call_of(pool=pool)
    call.lose(LOST)
    pool.clear()
    carry_out(send_again(call, NEVER), None)
    assert "closed by this client" in str(call.outcome)


def test_a_job_that_ends_every_connection_is_given_up() -> None:
    call = call_of(pool=pool_of(A))
    for _ in range(9):
        call.lose(LOST)
        assert call.is_lost
        carry_out(send_again(call, NEVER), None, FakeLine(), queued)
    call.lose(LOST)
    assert not call.is_lost
    assert call.outcome is LOST


def test_patience_may_have_no_end() -> None:
    call = call_of(pool=pool_of(A, connect_timeout=1e12))
    call.lose(LOST)
    _, steps, _ = carry_out(send_again(call, NEVER), None, AWAY, None, FakeLine(), queued)
    assert kinds(steps) == [Pause, Reach, Pause, Reach, Send]


def test_a_connection_that_ended_meanwhile_is_made_again() -> None:
    call = call_of(pool=pool_of(A, B))
    call.lose(LOST)
    _, steps, _ = carry_out(send_again(call, NEVER), FakeLine(B), False, FakeLine(B), queued)
    assert kinds(steps) == [Reach, Send, Reach, Send]


def test_what_is_not_lost_or_is_forgotten_is_not_sent() -> None:
    call = call_of(pool=pool_of(A))
    assert carry_out(send_again(call, NEVER)) == (True, [], [])
    call.lose(LOST)
    call.forget()
    assert carry_out(send_again(call, NEVER)) == (True, [], [])
