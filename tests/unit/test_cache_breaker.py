"""Whether a server is asked that did not answer."""

from __future__ import annotations

import pytest

from gearmanny.helpers.breaker import Breaker


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(random=lambda: 0.0)


def test_at_first_the_server_is_asked(breaker: Breaker) -> None:
    assert breaker.is_closed
    assert not breaker.is_suspicious
    assert not breaker.probe_is_due(1e9)


def test_after_one_failure_a_probe_is_due_at_once(breaker: Breaker) -> None:
    breaker.failed(100.0)
    assert not breaker.is_closed
    assert breaker.probe_is_due(100.0)


def test_after_failures_in_a_row_probes_become_rare(breaker: Breaker) -> None:
    breaker.failed(100.0)
    delays = []
    for _ in range(8):
        breaker.failed(200.0)
        delay = next(n for n in range(100) if breaker.probe_is_due(200.0 + n))
        assert not breaker.probe_is_due(200.0 + delay - 0.001)
        delays.append(delay)
    assert delays == [1, 2, 4, 8, 16, 30, 30, 30]


def test_delays_are_shortened_by_chance_so_that_processes_do_not_come_back_together() -> None:
    breaker = Breaker(random=lambda: 1.0)
    breaker.failed(0.0)
    breaker.failed(0.0)
    assert breaker.probe_is_due(0.5)


def test_a_probe_that_succeeds_lets_callers_ask_and_the_next_failure_counts_on(
    breaker: Breaker,
) -> None:
    breaker.failed(0.0)
    breaker.probed()
    assert breaker.is_closed
    assert breaker.is_suspicious
    breaker.failed(10.0)
    assert not breaker.probe_is_due(10.5)
    assert breaker.probe_is_due(11.0)


def test_the_success_of_a_caller_ends_the_row(breaker: Breaker) -> None:
    for _ in range(5):
        breaker.failed(0.0)
    breaker.probed()
    breaker.succeeded()
    assert breaker.is_closed
    assert not breaker.is_suspicious
    breaker.failed(50.0)
    assert breaker.probe_is_due(50.0)
