"""The cache key of a call, and whether a cached answer may be used."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from gearmanny.errors import EncodingError, InvalidOption
from gearmanny.helpers._freshness import (
    KEEP_STALE,
    Freshness,
    cache_key,
    check_max_days_age,
    check_unique_name,
    delete_at,
    judge,
    named_arguments,
)

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def report(year: int, month: int = 1, *, full: bool = False) -> None: ...


def task(self: object, year: int, month: int = 1) -> None: ...


def factory(cls: type, year: int) -> None: ...


def table(first: str, *rows: int, **options: object) -> None: ...


def positional(a: int, /, **options: object) -> None: ...


def rows_and_options(*args: int, **kwargs: object) -> None: ...


def key(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    return cache_key("reports", named_arguments(inspect.signature(function), args, kwargs))


def test_the_way_of_passing_arguments_does_not_matter() -> None:
    same = [
        key(report, 2026),
        key(report, 2026, 1),
        key(report, 2026, month=1),
        key(report, month=1, year=2026),
        key(report, full=False, month=1, year=2026),
    ]
    assert len(set(same)) == 1


@pytest.mark.parametrize(
    ("args", "kwargs"), [((2027,), {}), ((2026, 2), {}), ((2026,), {"full": True}), (("2026",), {})]
)
def test_other_arguments_have_another_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert key(report, *args, **kwargs) != key(report, 2026)


def test_the_object_that_a_method_belongs_to_does_not_matter() -> None:
    assert key(task, object(), 2026) == key(task, object(), year=2026)
    assert key(factory, int, 2026) == key(factory, str, year=2026)
    assert key(task, object(), 2026) != key(task, object(), 2027)


def test_a_method_and_a_function_with_the_same_arguments_share_answers() -> None:
    assert named_arguments(inspect.signature(task), (object(), 2026), {}) == {
        "year": 2026,
        "month": 1,
    }


def test_the_order_of_keywords_does_not_matter_at_any_depth() -> None:
    assert key(table, "a", x=1, y={"b": 1, "c": 2}) == key(table, "a", y={"c": 2, "b": 1}, x=1)


def test_the_order_of_rows_does_matter() -> None:
    assert key(table, "a", 1, 2) != key(table, "a", 2, 1)


def test_a_keyword_does_not_hide_an_argument_of_the_same_name() -> None:
    assert key(positional, 1, a=2) != key(positional, 3, a=2)
    assert key(rows_and_options, 1, args=[2]) != key(rows_and_options, 3, args=[2])


def test_answers_of_another_name_are_others() -> None:
    assert cache_key("reports", {"a": 1}) != cache_key("invoices", {"a": 1})
    assert cache_key("a", {"b": 1}) != cache_key("ab", {"": 1})


def test_a_key_is_the_same_in_every_process() -> None:
    assert cache_key("reports", {"year": 2026, "name": "Grüße"}) == (
        "64687cdf86888650f0826df6cb2bf8acc5eba50ceb7616f7b97c23dfed86561f"
    )


@pytest.mark.parametrize(
    "value", ["Grüße 🎉", "a\0b", "\ud800", None, 1.5, [1, {"a": []}]], ids=ascii
)
def test_whatever_is_json_makes_a_key(value: object) -> None:
    assert len(cache_key("reports", {"a": value})) == 64


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"a", math.nan, math.inf, {(1, 2): 3}, NOW, nested(100_000)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_json_cannot_be_told_apart(value: object) -> None:
    with pytest.raises(EncodingError, match=r"'reports' cannot be cached: .* not JSON"):
        cache_key("reports", {"a": value})


@pytest.mark.parametrize(
    ("one", "other"), [(1, "1"), (None, "null"), (True, "true"), (1.5, "1.5")], ids=repr
)
def test_values_that_differ_never_share_a_key_also_as_keys_of_a_table(
    one: object, other: object
) -> None:
    assert cache_key("reports", {"a": one}) != cache_key("reports", {"a": other})
    try:
        first = cache_key("reports", {"a": {one: 0}})
    except EncodingError:
        return  # not JSON, and said so
    assert first != cache_key("reports", {"a": {other: 0}})


def test_arguments_that_the_function_does_not_take_are_a_type_error() -> None:
    with pytest.raises(TypeError):
        named_arguments(inspect.signature(report), (), {"month": 1})


@pytest.mark.parametrize(
    ("age", "worth"),
    [
        (timedelta(0), Freshness.HIT),
        (DAY - timedelta(milliseconds=1), Freshness.HIT),
        (DAY, Freshness.HIT),
        (DAY + timedelta(milliseconds=1), Freshness.STALE),
        (400 * DAY, Freshness.STALE),
        (-DAY, Freshness.HIT),  # stored by a machine whose clock is ahead
    ],
)
def test_an_answer_is_fresh_up_to_its_age_and_stale_after(age: timedelta, worth: Freshness) -> None:
    assert judge(NOW - age, DAY, NOW) is worth


def test_without_an_entry_it_is_a_miss() -> None:
    assert judge(None, DAY, NOW) is Freshness.MISS


def test_the_time_zone_does_not_matter() -> None:
    added = (NOW - DAY).astimezone(timezone(timedelta(hours=9)))
    assert judge(added, DAY, NOW) is Freshness.HIT


def test_a_stale_answer_is_kept_for_a_while() -> None:
    assert delete_at(NOW, DAY) == NOW + DAY + KEEP_STALE
    assert judge(NOW, DAY, delete_at(NOW, DAY)) is Freshness.STALE


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
    assert check_max_days_age(days) == age
    assert delete_at(NOW, age) > NOW


@pytest.mark.parametrize(
    "days",
    [
        True,
        False,
        0,
        -1,
        -0.5,
        math.nan,
        math.inf,
        -math.inf,
        "1",
        None,
        Decimal(1),
        365_001,
        1e300,
    ],
    ids=repr,
)
def test_what_is_no_age_is_refused(days: object) -> None:
    with pytest.raises(InvalidOption, match="above 0 and at most 365000"):
        check_max_days_age(days)


def test_a_date_that_cannot_be_written_is_no_age() -> None:
    with pytest.raises(InvalidOption, match="at most 365000"):
        check_max_days_age(10**400)
