"""Timers: the order in which they fire, and cancelling them."""

from __future__ import annotations

from gearmanny.protocol.timers import Timers


def test_a_timer_fires_once_in_its_turn() -> None:
    timers: Timers[str] = Timers()
    assert timers.next() is None
    late, early, never = (timers.set(when, str(when)) for when in (3.0, 1.0, 2.0))
    never.cancel()
    never.cancel()
    assert (timers.next(), timers.armed, early.when) == (1.0, 2, 1.0)
    assert list(timers.due(0.5)) == []
    assert list(timers.due(3.0)) == ["1.0", "3.0"]
    assert (timers.next(), timers.armed, late.item) == (None, 0, None)
    assert list(timers.due(9.0)) == []


def test_cancelled_timers_do_not_pile_up() -> None:
    timers: Timers[int] = Timers()
    timers.set(0.5, -1)
    for number in range(1000):
        timers.set(1.0, number).cancel()
    assert len(timers._heap) < 100
    assert list(timers.due(1.0)) == [-1]
