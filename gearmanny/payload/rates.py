"""Rates: so many in a second, a minute, an hour or a day."""

from __future__ import annotations

import math
import re

from gearmanny.payload.checks import Rule

_RATE = re.compile(r"([1-9][0-9]{0,5})/([smhd])")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

RATE = Rule(
    'a rate such as "10/m": a number, and one of s, m, h and d',
    lambda value: isinstance(value, str) and _RATE.fullmatch(value) is not None,
    str,
)


def seconds_between(rate: str) -> float:
    """Returns the seconds from one to the next, in whole milliseconds, which every database has:
    rounded up, so that there are never too many.

    Args:
        rate: obeys `RATE`.
    """
    match = _RATE.fullmatch(rate)
    assert match is not None
    return math.ceil(1000 * _SECONDS[match[2]] / int(match[1])) / 1000
