"""Values as text that is equal for equal values, and for no others."""

from __future__ import annotations

import enum
import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import lazystr

from gearmanny.payload.canonical import canonical

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


class Color(enum.Enum):
    RED = "red"


class Custom(DjangoJSONEncoder):
    def default(self, o: object) -> Any:
        return o.value if isinstance(o, Color) else super().default(o)


EXACT = [
    *(None, True, False, 0, 1, 1.0, -0.0, "1", "true", "", [], {}, [None]),
    *(Decimal(1), Decimal("1.0"), UUID(int=1), str(UUID(int=1))),
    datetime(2026, 1, 1),
    datetime(2026, 1, 1, microsecond=1),
    datetime(2026, 1, 1, microsecond=2),
    datetime(2026, 1, 1, fold=1),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    "2026-01-01T00:00:00",
    date(2026, 1, 1),
    "2026-01-01",
    time(0),
    time(0, microsecond=1),
    timedelta(days=1),
    timedelta(days=1, microseconds=1),
    "P1DT00H00M00S",
    Color.RED,
    "red",
    lazystr("red"),
    [datetime(2026, 1, 1)],
    {"a": datetime(2026, 1, 1)},
    {"a": datetime(2026, 1, 1), "b": 1},
]


def test_no_two_values_share_a_text() -> None:
    texts = [canonical({"a": value}, Custom) for value in EXACT]
    assert len(set(texts)) == len(EXACT)
    # Beside a value that is not JSON, all are written in another way.
    beside = [canonical({"a": value, "b": NOW}, Custom) for value in EXACT]
    assert len({*texts, *beside}) == 2 * len(EXACT)


def test_equal_values_share_a_text() -> None:
    def make() -> dict[str, Any]:
        return {"a": [datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.5")], "b": {"y": 1, "x": NOW}}

    assert canonical(make(), Custom) == canonical(make(), Custom)
    turned = {"b": {"x": NOW, "y": 1}, "a": (datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.5"))}
    assert canonical(turned, Custom) == canonical(make(), Custom)


def test_plain_json_is_that_of_json() -> None:
    value = {"b": [1, {"y": None}], "a": "ü"}
    assert canonical(value, json.JSONEncoder) == json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    "value", [{1: NOW}, [{1: 2}, NOW], [{1: 2}], math.nan, [math.nan, NOW], {1}], ids=ascii
)
def test_what_an_encoder_does_not_know_has_no_text(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical(value, DjangoJSONEncoder)
