"""Answers as JSON, and in documents."""

from __future__ import annotations

import json
import zlib
from typing import Any

import bson
import pytest

from gearmanny.errors import EncodingError
from gearmanny.helpers.values import MISSING, as_it_is, as_json, read, to_json


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def there_and_back(fields: dict[str, Any]) -> Any:
    return read(bson.decode(bson.encode(fields)))


EXACT = [
    *(None, True, False, 0, -1, 1.5, -0.0, 1.0, "", "té\0xt 🎉", [], {}),
    {"z": [1, {"a": None}], "": "empty", "a.b": 1},
    *(2**31 - 1, -(2**31), 2**31, 2**40, -(2**63), 2**63 - 1),
    {"ids": [2**40, 1, True, None, 2.5, {"x": 2**33}]},
    nested(79),
]


@pytest.mark.parametrize("value", EXACT, ids=lambda value: f"{value!r:.30}")
def test_what_bson_holds_exactly_is_stored_as_it_is(value: Any) -> None:
    fields = as_it_is(value)
    assert fields is not None
    assert fields["data"] == value
    back = there_and_back(fields)
    assert repr(back) == repr(value)
    assert types(back) == types(value)


def types(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: types(inner) for name, inner in value.items()}
    return [types(inner) for inner in value] if isinstance(value, list) else type(value)


INEXACT = [
    *(2**63, -(2**63) - 1, 2**70, "\ud800", {"\ud800": 1}, {"nul\0": 1}),
    *({"$ref": "a", "$id": 1}, {"a": {"$set": 1}}, [{"$": 1}], nested(81), nested(500)),
]


@pytest.mark.parametrize("value", INEXACT, ids=lambda value: ascii(value)[:30])
def test_what_bson_changes_or_refuses_is_stored_as_json(value: Any) -> None:
    assert as_it_is(value) is None
    assert repr(there_and_back(as_json(json.dumps(value)))) == repr(value)


def test_long_json_is_compressed() -> None:
    text = json.dumps(["x" * 100_000])
    fields = as_json(text)
    assert len(fields["json"]) < 1000
    assert there_and_back(fields) == json.loads(text)
    assert "zlib" not in as_json("[]")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"json": b"[1"},
        {"json": b"\xff"},
        {"json": 5},
        {"json": None},
        {"json": b"[]", "zlib": True},
        {"json": zlib.compress(b"[")[:-1], "zlib": True},
        {"json": b"[" * 100_000},
    ],
    ids=lambda document: f"{document!r:.30}",
)
def test_what_cannot_be_read_is_missing(document: dict[str, Any]) -> None:
    assert read(document) is MISSING


def test_none_is_an_answer() -> None:
    assert read({"data": None}) is None


def test_what_is_not_json_is_refused_by_name() -> None:
    assert to_json("costly", (1, 2), json.JSONEncoder) == "[1, 2]"
    for wrong in ({1, 2}, float("nan"), nested(100_000)):
        with pytest.raises(EncodingError, match="'costly' cannot be cached: it is not JSON"):
            to_json("costly", wrong, json.JSONEncoder)
