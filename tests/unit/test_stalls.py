"""Which processes show no sign of life, from what was seen of them."""

from __future__ import annotations

import math

from gearmanny.running.stalls import Stalls


def test_a_process_that_does_not_beat_for_too_long_is_stalled_until_it_does() -> None:
    stalls = Stalls[str](10.0)
    for now in (0.0, 2.5, 5.0, 7.5):
        assert stalls.look({"a": 1, "b": int(now)}, now) == {}
    assert stalls.look({"a": 1, "b": 9}, 10.0) == {"a": True}
    assert stalls.stalled == ["a"]
    assert stalls.look({"a": 1, "b": 10}, 12.0) == {}
    assert stalls.look({"a": 2, "b": 12}, 14.0) == {"a": False}
    assert stalls.look({"a": 2, "b": 14}, 18.0) == {}
    assert stalls.stalled == []


def test_one_that_rests_is_not_watched() -> None:
    stalls = Stalls[str](10.0)
    for now in range(0, 100, 2):
        assert stalls.look({"a": None}, float(now)) == {}


def test_a_watcher_that_slept_itself_begins_anew() -> None:
    stalls = Stalls[str](10.0)
    stalls.look({"a": 1}, 0.0)
    assert stalls.look({"a": 1}, 1000.0) == {}
    assert stalls.look({"a": 1}, 1005.0) == {}
    assert stalls.look({"a": 1}, 1010.0) == {"a": True}


def test_one_that_ended_is_forgotten() -> None:
    stalls = Stalls[str](10.0)
    stalls.look({"a": 1}, 0.0)
    stalls.look({}, 5.0)
    assert stalls.look({"a": 1}, 10.0) == {}


def test_the_time_between_two_looks_can_be_waited_for() -> None:
    assert Stalls[str](10.0).interval == 2.5
    assert Stalls[str](1e12).interval == 60
    assert Stalls[str](math.inf).interval == math.inf
