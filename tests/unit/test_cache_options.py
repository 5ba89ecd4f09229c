"""The options of the cache."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.helpers.options import (
    check_ignore,
    check_key,
    check_max_days_age,
    check_stale_days,
    check_unique_name,
    check_version,
)

DAY = timedelta(days=1)


def report(year: int, month: int = 1) -> None: ...


def table(**options: object) -> None: ...


@pytest.mark.parametrize("name", ["reports", "a b", "ü"])
def test_a_name_is_any_text(name: str) -> None:
    assert check_unique_name(name) == name


@pytest.mark.parametrize("name", ["", "  \n", None, 5, report, b"reports"])
def test_what_is_no_name_is_refused_with_an_example(name: object) -> None:
    with pytest.raises(InvalidOption, match=r'write @cachewrap\("reports", max_days_age=1\)'):
        check_unique_name(name)


@pytest.mark.parametrize(
    ("days", "age"), [(1, DAY), (0.5, DAY / 2), (365_000, 365_000 * DAY), (1 / 24, DAY / 24)]
)
def test_an_age_is_a_number_of_days(days: float, age: timedelta) -> None:
    assert check_max_days_age(days) == check_stale_days(days) == age


NO_DAYS = [
    *(True, False, -1, -0.5, math.nan, math.inf, -math.inf),
    *("1", None, Decimal(1), 365_001, 1e300, 10**400),
]


@pytest.mark.parametrize("days", [0, *NO_DAYS], ids=lambda days: f"{days!r:.20}")
def test_what_is_no_age_is_refused(days: object) -> None:
    with pytest.raises(InvalidOption, match="above 0 and at most 365000"):
        check_max_days_age(days)


@pytest.mark.parametrize("days", NO_DAYS, ids=lambda days: f"{days!r:.20}")
def test_stale_days_may_be_none_at_all(days: object) -> None:
    assert check_stale_days(0) == timedelta(0)
    with pytest.raises(InvalidOption, match="stale_days must be a number of days, 0 or more"):
        check_stale_days(days)


@pytest.mark.parametrize(
    ("ignore", "function", "names"),
    [((), report, set()), (["month"], report, {"month"}), (("debug",), table, {"debug"})],
)
def test_ignore_names_arguments(ignore: Any, function: Callable[..., Any], names: set[str]) -> None:
    assert check_ignore(ignore, inspect.signature(function)) == names


@pytest.mark.parametrize("ignore", ["month", 5, ("debug",), (5,), (None,)], ids=repr)
def test_what_names_no_argument_is_refused(ignore: object) -> None:
    with pytest.raises(InvalidOption, match="ignore"):
        check_ignore(ignore, inspect.signature(report))


def test_an_ignored_argument_of_a_function_without_any_is_refused() -> None:
    with pytest.raises(InvalidOption, match="It takes none"):
        check_ignore(("debug",), inspect.signature(lambda: None))


def test_a_key_is_a_function() -> None:
    check_key(None)
    check_key(report)
    with pytest.raises(InvalidOption, match="key must be a function of the arguments"):
        check_key("month")


def test_a_version_is_a_text_or_a_whole_number() -> None:
    for version in (None, 0, 2, "2026-01"):
        check_version(version)
    for wrong in (True, 1.5, ("a",)):
        with pytest.raises(InvalidOption, match="version must be a string or a whole number"):
            check_version(wrong)
