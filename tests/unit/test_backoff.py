"""Delays that grow, and when a supervisor restarts what ended."""

from __future__ import annotations

import random

import pytest

from gearmanny.payload.backoff import Backoff, rest_between_calls
from gearmanny.running.restarts import RestartTable


def no_jitter() -> float:
    return 0.0


def full_jitter() -> float:
    return 1.0


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(first=0.5, longest=5.0, random=no_jitter)
    assert [backoff.next_delay() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_jitter_shortens_a_delay_by_a_half_at_the_most() -> None:
    backoff = Backoff(first=0.5, longest=5.0, random=full_jitter)
    assert [backoff.next_delay() for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 2.5, 2.5]


def test_every_delay_lies_between_the_half_and_the_whole() -> None:
    backoff = Backoff(first=0.1, longest=5.0, random=random.Random(7).random)
    for attempt in range(1_000):
        whole = min(5.0, 0.1 * 2.0 ** min(attempt, 30))
        assert whole / 2 <= backoff.next_delay() <= whole


def test_a_hundred_workers_do_not_come_back_at_the_same_moment() -> None:
    source = random.Random(7).random
    delays = {Backoff(first=1.0, longest=5.0, random=source).next_delay() for _ in range(100)}
    assert len(delays) > 90


def test_thousands_of_attempts_do_not_overflow() -> None:
    backoff = Backoff(first=0.1, longest=5.0, random=no_jitter, attempts=1_000_000)
    assert backoff.next_delay() == 5.0


def test_a_reset_starts_again_from_the_first_delay() -> None:
    backoff = Backoff(first=0.5, longest=5.0, random=no_jitter)
    for _ in range(4):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() == 0.5


def test_a_delay_is_random_without_being_told_so() -> None:
    backoff = Backoff(first=1.0, longest=1.0)
    assert len({backoff.next_delay() for _ in range(50)}) > 1


def test_what_lived_long_is_restarted_at_once() -> None:
    table = RestartTable(short_life=5.0, random=no_jitter)
    assert table.delay("worker 1", started=100.0, ended=105.0) == 0.0


def test_what_dies_at_once_again_and_again_is_restarted_ever_later() -> None:
    table = RestartTable(short_life=5.0, first=0.5, longest=3.0, random=no_jitter)
    delays = [table.delay("worker 1", started=at, ended=at + 4.9) for at in range(5)]
    assert delays == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_useful_life_is_forgiving() -> None:
    table = RestartTable(short_life=5.0, first=0.5, longest=3.0, random=no_jitter)
    for at in range(4):
        table.delay("worker 1", started=at, ended=at)
    assert table.delay("worker 1", started=10.0, ended=3600.0) == 0.0
    assert table.delay("worker 1", started=3600.0, ended=3600.1) == 0.5


def test_one_that_dies_does_not_delay_another() -> None:
    table = RestartTable(first=0.5, random=no_jitter)
    for at in range(4):
        table.delay("worker 1", started=at, ended=at)
    assert table.delay("worker 2", started=4.0, ended=4.0) == 0.5


@pytest.mark.parametrize("start", [-1e6, 0.0, 1e9])
def test_only_differences_of_the_clock_count(start: float) -> None:
    table = RestartTable(short_life=5.0, first=0.5, random=no_jitter)
    assert table.delay("worker 1", started=start, ended=start + 1.0) == 0.5
    assert table.delay("worker 1", started=start, ended=start + 6.0) == 0.0


def test_restart_tables_share_nothing() -> None:
    first, second = RestartTable(random=no_jitter), RestartTable(random=no_jitter)
    first.delay("worker 1", started=0.0, ended=0.0)
    assert second.delay("worker 1", started=0.0, ended=0.0) == second.first


def test_calls_in_vain_cost_nothing_at_first_and_a_tenth_of_a_second_at_the_most() -> None:
    rests = [rest_between_calls(calls) for calls in range(30)]
    assert rests[:10] == [0.0] * 10
    assert rests == sorted(rests)
    assert rests[10] == 0.001
    assert rests[-1] == rest_between_calls(10**9) == 0.1


def test_too_many_crashes_in_too_short_a_time_are_a_loop() -> None:
    table = RestartTable(max_crashes=3, crash_window=60.0)
    assert [table.is_crash_loop("worker 1", at) for at in (0.0, 30.0, 60.0)] == [False, False, True]


def test_crashes_far_apart_are_no_loop_and_neither_are_those_of_several() -> None:
    table = RestartTable(max_crashes=3, crash_window=60.0)
    assert not any(table.is_crash_loop("worker 1", at) for at in (0.0, 30.1, 60.1, 90.2))
    assert not any(table.is_crash_loop(f"worker {n}", 100.0) for n in (2, 3, 4))


def test_without_a_number_no_crashes_are_a_loop() -> None:
    table = RestartTable(max_crashes=None)
    assert not any(table.is_crash_loop("worker 1", 0.0) for _ in range(1_000))
