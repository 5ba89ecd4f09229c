"""The window of `map`: what is sent when, and in which order answers come."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Outcome
from gearmanny.calling.steps import Give, Look, Submit
from gearmanny.calling.walk import Walk
from gearmanny.calling.window import map_calls, take
from gearmanny.errors import JobServerUnavailable, TaskError, TaskTimeout
from gearmanny.protocol.client import Completed, Failed
from tests.unit.steps import FakeLine, call_of


class Mapping:
    """A map whose calls are answered when they are waited for, each with its input."""

    def __init__(self, inputs: Iterable[Any], window: int, exceptions: bool = False) -> None:
        self.sent: list[list[Any]] = []
        self.under_way: dict[Call[FakeLine], Any] = {}
        self.most = 0
        self.failing: set[Any] = set()
        self.unreachable: set[Any] = set()
        """Inputs that cannot be sent."""
        self.looking: Callable[[Call[FakeLine]], None] = lambda call: None
        self.walk: Walk[Any, None] = Walk(
            map_calls(iter(inputs), window, 0, exceptions, lambda: 0.0)
        )

    def __iter__(self) -> Iterator[Any]:
        while (step := self.walk.step) is not None:
            if isinstance(step, Give):
                yield step.item
                self.walk.answer(None)
            elif isinstance(step, Submit) and self.unreachable.intersection(step.inputs):
                self.walk.fail(JobServerUnavailable({"a:4730": "connection refused"}))
            elif isinstance(step, Submit):
                self.sent.append(step.inputs)
                calls = {call_of(): value for value in step.inputs}
                self.under_way |= calls
                self.most = max(self.most, len(self.under_way))
                self.walk.answer([*calls])
            elif isinstance(step, Look):
                self.walk.answer(self.looking(step.call))
            else:
                self.walk.answer(self.answer(step.call))

    def answer(self, call: Call[FakeLine]) -> bool:
        value = self.under_way.pop(call)
        if value is None:
            self.under_way[call] = value
            return False
        outcome: Outcome = Failed() if value in self.failing else Completed(b"%d" % value)
        call.take(outcome)
        return True


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 100])
def test_answers_come_in_the_order_of_the_inputs(window: int) -> None:
    mapping = Mapping(range(20), window)
    assert list(mapping) == [*range(20)]
    assert mapping.most <= window
    assert [*itertools.chain(*mapping.sent)] == [*range(20)]


def test_half_of_a_window_leaves_together_while_the_other_half_runs() -> None:
    mapping = Mapping(range(12), 8)
    assert next(iter(mapping)) == 0
    assert mapping.sent == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert list(mapping) == [0, *range(1, 12)]
    assert mapping.sent[2] == [8, 9, 10, 11]


def test_an_answer_that_is_there_is_given_before_more_is_sent() -> None:
    mapping = Mapping(range(12), 8)
    mapping.looking = lambda call: void(mapping.answer(call))
    assert next(iter(mapping)) == 0
    assert mapping.sent == [[0, 1, 2, 3]]


def void(result: object) -> None:
    """Drops a result."""


def test_no_input_sends_nothing() -> None:
    mapping = Mapping([], 10)
    assert (list(mapping), mapping.sent) == ([], [])


def test_a_call_that_fails_is_raised_at_its_place_and_the_rest_is_forgotten() -> None:
    mapping = Mapping([1, 2, 3, 4], 4)
    mapping.failing = {2}
    answers = iter(mapping)
    assert next(answers) == 1
    with pytest.raises(TaskError):
        next(answers)
    assert not any(call.keeps_updates for call in mapping.under_way)


def test_a_call_that_fails_may_be_given_at_its_place() -> None:
    mapping = Mapping([1, 2, 3], 4, exceptions=True)
    mapping.failing = {2}
    one, error, three = mapping
    assert (one, three) == (1, 3)
    assert isinstance(error, TaskError)
    assert error.__traceback__ is None


def test_a_call_that_is_not_answered_in_time_is_forgotten() -> None:
    mapping = Mapping([None, 1], 2, exceptions=True)
    error, one = mapping
    assert isinstance(error, TaskTimeout)
    assert one == 1
    (left,) = mapping.under_way
    assert not left.keeps_updates


def test_what_is_under_way_is_forgotten_when_it_is_left_early() -> None:
    mapping = Mapping(itertools.count(), 6)
    assert next(iter(mapping)) == 0
    mapping.walk.close()
    assert mapping.under_way
    assert not any(call.keeps_updates for call in mapping.under_way)


def test_inputs_are_taken_until_there_are_enough_or_the_time_is_over() -> None:
    def taken(inputs: Iterable[int], size: int, *times: float) -> list[object]:
        batch: list[object] = []
        take(iter(inputs), size, iter([0.0, *times, *[0.0] * 9]).__next__, batch)
        return batch

    assert taken(range(9), 3) == [0, 1, 2]
    assert taken([1], 3) == [1]
    assert taken([], 3) == []
    assert taken(range(9), 9, 0.005, 0.02) == [0, 1]


def outcomes(mapping: Mapping) -> list[Any]:
    """Returns the answers of a map, and the error with which it ends."""
    outcomes: list[Any] = []
    try:
        outcomes.extend(iter(mapping))
    except Exception as error:
        outcomes.append(error)
    return outcomes


def test_what_the_inputs_raise_comes_behind_the_answers_before() -> None:
    failure = KeyError("no more")

    def inputs() -> Iterator[int]:
        yield from (1, 2, 3)
        raise failure

    mapping = Mapping(inputs(), 4)
    assert outcomes(mapping) == [1, 2, 3, failure]
    assert mapping.sent == [[1, 2], [3]]


@pytest.mark.parametrize("failing", [set(), {2}])
def test_that_nothing_could_be_sent_comes_behind_the_failures_before(failing: set[int]) -> None:
    """Whoever hears it may send the rest again: what was sent before must not seem unsent."""
    mapping = Mapping(range(1, 9), 4)
    mapping.unreachable = {3}
    mapping.failing = failing
    *answers, error = outcomes(mapping)
    assert answers == ([1] if failing else [1, 2])
    assert isinstance(error, TaskError if failing else JobServerUnavailable)
