"""The cache key of a call."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from gearmanny.errors import EncodingError
from gearmanny.helpers.keys import Arguments, belongs_to_a_class, cache_key

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def report(year: int, month: int = 1, *, full: bool = False) -> None: ...


def task(self: object, year: int, month: int = 1) -> None: ...


class Reports:
    def month(self, year: int) -> None: ...

    def factory(cls, year: int) -> None: ...

    def static(year: int) -> None: ...  # type: ignore[misc]


def of_class(cls: str, year: int) -> None: ...


def table(first: str, *rows: int, **options: object) -> None: ...


def positional(a: int, /, **options: object) -> None: ...


def rows_and_options(*args: int, **kwargs: object) -> None: ...


def key(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    return cache_key("reports", named(function, *args, **kwargs))


def named(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    is_method = belongs_to_a_class(function)
    return Arguments(inspect.signature(function), args, kwargs, is_method=is_method).named


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
    assert key(Reports.month, object(), 2026) == key(Reports.month, object(), year=2026)
    assert key(Reports.factory, int, 2026) == key(Reports.factory, str, year=2026)
    assert key(task, object(), 2026) != key(task, object(), 2027)


def test_an_argument_of_a_function_that_is_named_as_a_class_counts() -> None:
    assert key(of_class, "physics", 2026) != key(of_class, "chemistry", 2026)
    assert named(Reports.static, 2026) == {"year": 2026}

    def local(cls: str) -> None: ...

    assert key(local, "a") != key(local, "b")


def test_a_method_and_a_function_with_the_same_arguments_share_answers() -> None:
    assert named(task, object(), 2026) == {"year": 2026, "month": 1}


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
        named(report, month=1)


def test_given_arguments_are_kept_without_defaults() -> None:
    arguments = Arguments(inspect.signature(task), (object(), 2026), {}, is_method=True)
    assert (arguments.given, arguments.named) == ({"year": 2026}, {"year": 2026, "month": 1})


def test_ignored_arguments_do_not_count_wherever_they_are() -> None:
    ignore = frozenset({"month", "debug"})
    for function in (report, table):
        signature = inspect.signature(function)
        one = Arguments(signature, (2026,), {}, ignore=ignore)
        given = {"month": 7} if function is report else {"debug": True}
        other = Arguments(signature, (2026,), given, ignore=ignore)
        assert cache_key("reports", one.named) == cache_key("reports", other.named)
    other = Arguments(inspect.signature(report), (2027,), {}, ignore=ignore)
    assert other.named == {"year": 2027, "full": False}


def test_a_function_that_makes_the_key_gets_all_arguments_but_the_object() -> None:
    arguments = Arguments(
        inspect.signature(Reports.month), (object(),), {"year": 2026}, is_method=True
    )
    assert arguments.passed_to(lambda year: year % 100) == 26
    arguments = Arguments(
        inspect.signature(table), ("a", 1, 2), {"x": 3}, ignore=frozenset({"first"})
    )
    assert arguments.passed_to(lambda *args, **kwargs: (args, kwargs)) == (("a", 1, 2), {"x": 3})


def test_versions_and_computed_keys_have_keys_of_their_own() -> None:
    plain = cache_key("reports", {"a": 1})
    keys = {
        plain,
        cache_key("reports", {"a": 1}, version=1),
        cache_key("reports", {"a": 1}, version="1"),
        cache_key("reports", {"a": 1}, version=2),
        cache_key("reports", {"a": 1}, computed={"a": 1}),
        cache_key("reports", {"a": 1}, computed=None),
        cache_key("reports", {"a": 1}, computed=[]),
    }
    assert len(keys) == 7
    assert cache_key("reports", {"a": 2}, computed=5) == cache_key("reports", {"a": 3}, computed=5)


def test_keys_of_plain_json_are_those_of_earlier_releases() -> None:
    text = json.dumps(["reports", {"a": [1, "x"], "b": None}], sort_keys=True)
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert cache_key("reports", {"b": None, "a": (1, "x")}) == expected


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "keywords"),
    [
        (report, (2026,), {"full": True}, {"year": 2026, "month": 1, "full": True}),
        (task, (object(), 2026), {}, {"year": 2026, "month": 1}),
        (table, ("a",), {"x": 1}, {"first": "a", "x": 1}),
        (table, ("a", 1), {}, None),
    ],
)
def test_a_job_gets_all_arguments_by_name(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    keywords: dict[str, Any] | None,
) -> None:
    is_method = belongs_to_a_class(function)
    ignore = frozenset({"full"})
    arguments = Arguments(
        inspect.signature(function), args, kwargs, is_method=is_method, ignore=ignore
    )
    assert arguments.keywords() == keywords
