"""The rules that values obey: what is allowed, and the words of what is refused."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import (
    ADDRESS,
    COUNT,
    JOBS,
    PATH,
    PORT,
    PORT_OR_ANY,
    PROCESSES,
    SECONDS,
    SMALL_COUNT,
    SWITCH,
    TIME_LIMIT,
    WAIT,
    Rule,
    choice,
    number,
    whole_number,
)

COLOUR = choice("red", "green")
BYTES = whole_number(8, 16, of="bytes")
DAYS = number("a number of days above 0", lambda days: days > 0)


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (COUNT, [1, 2, 10**400]),
        (JOBS, [1, 100_000]),
        (PROCESSES, [1, 10_000]),
        (SMALL_COUNT, [1, 2**31 - 1]),
        (PORT, [1, 65535]),
        (PORT_OR_ANY, [0, 1, 65535]),
        (SECONDS, [0, 0.0, 1, 0.5, 10**400]),
        (WAIT, [0, 0.5, math.inf]),
        (TIME_LIMIT, [0.001, 1]),
        (SWITCH, [True, False]),
        (ADDRESS, ["127.0.0.1", "::1"]),
        (PATH, ["health", "/run/health", PurePath("health")]),
        (COLOUR, ["red", "green"]),
        (BYTES, [8, 16]),
        (DAYS, [1, 0.5]),
    ],
)
def test_what_obeys_is_allowed(rule: Rule, values: list[Any]) -> None:
    for value in values:
        rule.check("it", value)
        rule.check("it", value, optional=True)


@pytest.mark.parametrize(
    ("rule", "words", "values"),
    [
        (PATH, "the path of a file", ["", "a\0b", b"health", 3]),
        (COUNT, "a whole number, 1 or more", [0, -1, 1.0, "1", True, [], math.inf]),
        (JOBS, "a whole number from 1 to 100000", [0, 100_001, 10**24]),
        (PROCESSES, "a whole number from 1 to 10000", [0, 10_001]),
        (SMALL_COUNT, "a whole number from 1 to 2147483647", [0, 2**31]),
        (PORT, "a whole number from 1 to 65535", [0, 65536, -1, "80", True]),
        (PORT_OR_ANY, "a whole number from 0 to 65535", [-1, 65536, None, False]),
        (SECONDS, "a number of seconds, 0 or more", [-0.1, math.inf, math.nan, "1", True]),
        (WAIT, "a number of seconds, 0 or more", [-1, -math.inf, math.nan, "1", False]),
        (TIME_LIMIT, "a number of seconds above 0", [0, 0.0, -1, math.inf, Decimal(1)]),
        (SWITCH, "True or False", [0, 1, "yes"]),
        (ADDRESS, 'an address of this machine, such as "127.0.0.1"', ["", "\0", 5]),
        (COLOUR, "one of red, green", ["blue", "", 1, []]),
        (BYTES, "a whole number of bytes from 8 to 16", [7, 17, 8.0]),
        (DAYS, "a number of days above 0", [0, True, "1"]),
    ],
)
def test_what_does_not_obey_is_refused_in_words(rule: Rule, words: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InvalidOption) as caught:
            rule.check("it", value)
        assert str(caught.value) == f"it must be {words}, not {value!r}."


@pytest.mark.parametrize("rule", [COUNT, PORT, SECONDS, WAIT, TIME_LIMIT, SWITCH, ADDRESS, COLOUR])
def test_none_is_allowed_only_where_it_is_said(rule: Rule) -> None:
    rule.check("it", None, optional=True)
    with pytest.raises(InvalidOption, match=r"it must be .*, not None"):
        rule.check("it", None)
    with pytest.raises(InvalidOption, match=r"it must be .*, or None, not b''"):
        rule.check("it", b"", optional=True)
