"""For how long records are kept, by the state in which their jobs ended."""

from __future__ import annotations

from typing import Any

import pytest

from gearmanny.dispatching.options import DispatchOptions
from gearmanny.errors import InvalidOption
from gearmanny.records.states import State

WEEK = 7 * 86400.0


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (5.0, {State.SUCCEEDED: 5.0, State.CANCELLED: 5.0, State.FAILED: 5.0}),
        (None, {}),
        ({"failed": None}, {State.SUCCEEDED: WEEK, State.CANCELLED: WEEK}),
        ({"succeeded": 0, "cancelled": 1, "failed": None}, {"succeeded": 0, "cancelled": 1}),
        ({}, {State.SUCCEEDED: WEEK, State.CANCELLED: WEEK, State.FAILED: WEEK}),
    ],
)
def test_each_state_has_a_time_of_its_own(keep: Any, kept: dict[State, float]) -> None:
    assert DispatchOptions(keep=keep).kept == kept


@pytest.mark.parametrize("wrong", [-1, "7", {"queued": 1}, {"failed": -1}, {"failed": "x"}, [1]])
def test_what_is_no_time_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidOption, match=r"keep must be .* by state .*succeeded.*, or None"):
        DispatchOptions(keep=wrong)
