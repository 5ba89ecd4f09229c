"""A generator of steps, as a driver goes through it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from gearmanny.calling.walk import Walk


def asking() -> Generator[str, Any, list[Any]]:
    answers = []
    for question in ("one", "two"):
        try:
            answers.append((yield question))
        except KeyError as error:
            answers.append(error.args[0])
    return answers


def test_each_step_is_answered_in_turn() -> None:
    walk = Walk(asking())
    assert walk.step == "one"
    walk.answer(1)
    assert walk.step == "two"
    walk.answer(2)
    assert walk.step is None
    assert walk.result == [1, 2]


def test_an_error_goes_in_at_its_step_and_may_be_the_last() -> None:
    walk = Walk(asking())
    walk.fail(KeyError("no"))
    assert walk.step == "two"
    walk.fail(KeyError("neither"))
    assert walk.step is None
    assert walk.result == ["no", "neither"]


def test_what_the_steps_do_not_handle_comes_out() -> None:
    walk = Walk(asking())
    with pytest.raises(ValueError, match="unexpected"):
        walk.fail(ValueError("unexpected"))
    assert walk.step is None


def test_it_can_be_left() -> None:
    left = []

    def steps() -> Generator[int, Any, None]:
        try:
            yield 1
        finally:
            left.append(True)

    Walk(steps()).close()
    assert left == [True]


def test_there_may_be_no_steps() -> None:
    def nothing() -> Generator[int, Any, str]:
        return "done"
        yield 1

    walk = Walk(nothing())
    assert walk.step is None
    assert walk.result == "done"
