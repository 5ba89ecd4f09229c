"""Job servers that refuse jobs for a while."""

from __future__ import annotations

from gearmanny.dispatching.refusals import Refusals


def test_all_are_willing_at_first() -> None:
    assert Refusals().willing(["a", "b"], "f", 0.0) == ["a", "b"]


def test_one_that_refused_is_left_alone_for_a_while_and_others_are_not() -> None:
    refusals = Refusals()
    assert refusals.add("a", "f", 0.0)
    assert refusals.willing(["a", "b"], "f", 0.1) == ["b"]
    assert refusals.willing(["a", "b"], "g", 0.1) == ["a", "b"]
    assert refusals.willing(["a", "b"], "f", 1.0) == ["a", "b"]


def test_of_many_that_were_sent_together_one_counts() -> None:
    refusals = Refusals()
    refusals.add("a", "f", 0.0)
    assert not refusals.add("a", "f", 0.1)
    assert refusals.willing(["a"], "f", 1.0) == ["a"]


def test_one_that_goes_on_refusing_is_left_alone_for_longer() -> None:
    refusals = Refusals()
    refusals.add("a", "f", 0.0)
    assert not refusals.add("a", "f", 1.0)
    assert refusals.willing(["a"], "f", 1.99) == []
    assert refusals.willing(["a"], "f", 3.0) == ["a"]


def test_one_that_accepts_is_as_good_as_new() -> None:
    refusals = Refusals()
    refusals.accepted("a", "f")
    refusals.add("a", "f", 0.0)
    refusals.accepted("a", "f")
    assert refusals.willing(["a"], "f", 0.0) == ["a"]
    assert refusals.add("a", "f", 0.0)
