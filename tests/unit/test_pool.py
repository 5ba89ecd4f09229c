"""Which connection a call goes to: in turn, by key, and not where nobody answered lately."""

from __future__ import annotations

import itertools

import pytest

from gearmanny.calling.pool import Dial, Dialers, Pool, order_by
from gearmanny.calling.walk import Walk
from gearmanny.errors import JobServerUnavailable
from gearmanny.net.deadline import NEVER, Deadline
from tests.unit.steps import A, B, C, FakeLine, carry_out, pool_of

AWAY = JobServerUnavailable({"a:4730": "connection refused"})


def reach(pool: Pool[str, FakeLine], *hosts: object) -> Walk[Dial, FakeLine]:
    return Walk(pool.reach("dialer", [*hosts], pool.failed_rounds, NEVER))  # type: ignore[list-item]


def test_calls_take_turns() -> None:
    pool = pool_of(A, B, C)
    assert [pool.order(None) for _ in range(4)] == [[A, B, C], [B, C, A], [C, A, B], [A, B, C]]


def test_a_key_prefers_the_same_hosts_in_every_process() -> None:
    for key in map(str, range(20)):
        order = order_by(key, [A, B, C])
        assert order == order_by(key, [C, B, A]) == pool_of(B, A, C).order(key)
        assert order_by(key, order[1:]) == order[1:]
    assert len({order_by(str(n), [A, B, C])[0] for n in range(20)}) == 3
    assert order_by("any", [A]) == [A]


def test_a_connection_is_made_once_by_each_dialer() -> None:
    pool = pool_of(A)
    assert pool.at_hand("dialer", A) is None
    line = FakeLine()
    found, steps, _ = carry_out(pool.reach("dialer", [A], 0, NEVER), line)
    assert (found, steps) == (line, [Dial(A, 60)])
    assert pool.at_hand("dialer", A) is line
    assert reach(pool, A).result is line
    assert pool.at_hand("another", A) is None
    line.up = False
    assert pool.at_hand("dialer", A) is None


def test_the_next_host_is_tried_and_the_first_left_alone_for_a_while() -> None:
    pool, line = pool_of(A, B), FakeLine(B)
    found, steps, _ = carry_out(pool.reach("dialer", [A, B], 0, NEVER), AWAY, line)
    assert (found, steps) == (line, [Dial(A, 30), Dial(B, 30)])
    assert pool.is_avoided(A)
    assert reach(pool, A, B).result is line


def test_a_host_that_answers_again_is_trusted_again() -> None:
    pool = pool_of(A)
    with pytest.raises(JobServerUnavailable):
        carry_out(pool.reach("dialer", [A], 0, NEVER), AWAY)
    carry_out(pool.reach("dialer", [A], 1, NEVER), FakeLine())
    assert not pool.is_avoided(A)


def test_who_waited_for_a_round_that_failed_does_not_try_again() -> None:
    pool = pool_of(A)
    with pytest.raises(JobServerUnavailable):
        carry_out(pool.reach("dialer", [A], 0, NEVER), AWAY)
    with pytest.raises(JobServerUnavailable, match="connection refused"):
        carry_out(pool.reach("dialer", [A], 0, NEVER))


def test_one_of_several_hosts_that_is_away_is_no_round() -> None:
    pool = pool_of(A, B)
    with pytest.raises(JobServerUnavailable):
        carry_out(pool.reach("dialer", [A], 0, NEVER), AWAY)
    assert pool.failed_rounds == 0


def test_a_host_that_was_given_little_time_is_not_to_blame() -> None:
    pool = pool_of(A)

    def refuse(step: Dial) -> FakeLine:
        assert step.timeout <= 1
        raise AWAY

    with pytest.raises(JobServerUnavailable):
        carry_out(pool.reach("dialer", [A], 0, Deadline(1)), refuse)
    assert (pool.is_avoided(A), pool.failed_rounds) == (False, 0)


def test_calls_go_to_other_hosts_than_one_that_is_to_be_avoided() -> None:
    pool = pool_of(A, B)
    carry_out(pool.reach("dialer", [A], 0, NEVER), first := FakeLine())
    assert pool.first_at_hand("dialer", [A, B]) is first
    pool.avoid(A)
    assert pool.first_at_hand("dialer", [A, B]) is None
    assert pool.first_at_hand("dialer", [A]) is first
    found, steps, _ = carry_out(pool.reach("dialer", [A, B], 0, NEVER), other := FakeLine(B))
    assert (found, [step.host for step in steps]) == (other, [B])


def test_a_closed_pool_gives_its_connections_back() -> None:
    pool, line = pool_of(A), FakeLine()
    carry_out(pool.reach("dialer", [A], 0, NEVER), line)
    assert pool.clear() == [line]
    assert (pool.clear(), pool.closings) == ([], 2)


def test_the_dialer_that_was_installed_last_stands_in() -> None:
    dialers: Dialers[str] = Dialers()
    with dialers.installed("outer"):
        with dialers.installed("inner"):
            assert dialers.instead_of("own") == "inner"
        assert dialers.instead_of("own") == "outer"
    assert dialers.instead_of("own") == "own"


def test_a_pool_may_go_on_with_the_turns_of_another() -> None:
    servers = pool_of(A, B).servers
    turns = itertools.count()
    assert [Pool(servers, turns).order(None)[0] for _ in range(4)] == [A, B, A, B]
