"""The key by which equal calls of a cached task become one job."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gearmanny.tasks.joining import key_of


def report(year: int, month: int = 1, **more: object) -> None: ...


def key(function: str = "reports_report", **arguments: Any) -> str | None:
    return key_of(function, inspect.signature(report), arguments)


def test_equal_calls_have_equal_keys() -> None:
    assert key(year=2026) == key(month=1, year=2026) == key(year=2026, month=1)
    assert len(key(year=2026) or "") == 40
    day = datetime(2026, 1, 1, tzinfo=UTC)
    assert key(year=day, more=(1, "\ud800")) == key(year=day, more=[1, "\ud800"])


def test_other_calls_have_others() -> None:
    keys = {
        *(key(year=2026), key(year=2027), key(year="2026"), key(year=2026.0), key(year=True)),
        *(key(year=2026, month=2), key(year=2026, x=1), key("other_report", year=2026)),
        *(key(year=datetime(2026, 1, 1)), key(year="2026-01-01 00:00:00"), key(year=Decimal(1))),
    }
    assert len(keys) == 11


def test_what_cannot_be_told_apart_has_none() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (object(), {1: 2}, float("nan"), deep):
        assert key(year=value) is None
