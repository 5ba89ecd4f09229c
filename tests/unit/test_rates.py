"""Rates of tasks."""

from __future__ import annotations

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.payload.rates import RATE, seconds_between


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [("10/m", 6.0), ("1/s", 1.0), ("3/s", 0.334), ("1/d", 86400.0), ("100/h", 36.0)],
)
def test_a_rate_is_a_pause_that_is_never_too_short(rate: str, seconds: float) -> None:
    assert seconds_between(rate) == seconds


@pytest.mark.parametrize("wrong", ["", "10", "0/m", "10/w", "-1/s", "1.5/s", "10/m ", 10, None])
def test_what_is_no_rate_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidOption, match=r'rate must be a rate such as "10/m"'):
        RATE.check("rate", wrong)
