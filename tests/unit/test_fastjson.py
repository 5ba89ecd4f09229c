"""JSON by orjson and JSON by `json`: the same bytes, the same values, the same refusals."""

from __future__ import annotations

import enum
import importlib
import json
import math
import random
import struct
import sys
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from hypothesis import example, given
from hypothesis import strategies as st

from gearmanny.errors import EncodingError
from gearmanny.payload import fastjson
from gearmanny.payload.encoding import decode, encode
from gearmanny.vocabulary.encoders import JSONDataEncoder

pytest.importorskip("orjson")


class Strict(JSONDataEncoder):
    """The encoder as it is where orjson is not installed."""

    _is_fast = False
    _decodes_fast = False


Strict._is_fast = False  # the class was prepared when it was made


class DjangoEncoder(JSONDataEncoder):
    json_encoder = DjangoJSONEncoder


class StrictDjangoEncoder(DjangoEncoder):
    _decodes_fast = False


StrictDjangoEncoder._is_fast = False


def outcome(use: Any, encoder: type[JSONDataEncoder], value: Any) -> Any:
    """What encoding or decoding gives: a value with its types, or the text of the error."""
    try:
        return repr(use(encoder, value))
    except EncodingError as error:
        return (
            str(error)
            .replace("StrictDjangoEncoder", "DjangoEncoder")
            .replace("Strict ", "JSONDataEncoder ")
        )


class Text(str):
    def __repr__(self) -> str:
        return "text"


class Number(int):
    def __str__(self) -> str:
        return "7"


class Colour(enum.IntEnum):
    RED = 1


class Name(enum.StrEnum):
    A = "a"


@dataclass
class Data:
    a: int


class Point(NamedTuple):
    x: int
    y: int


def nested(depth: int, value: Any = 0) -> Any:
    for _ in range(depth):
        value = [value]
    return value


circle: list[Any] = []
circle.append(circle)

UNUSUAL = [
    *(Text("a"), {Text("a"): 1}, Number(5), [Number(5)], Colour.RED, Name.A, {Name.A: 1}, Data(1)),
    *(Point(1, 2), OrderedDict(a=1), (1, (2, "a")), {1: 2}, {None: 1}, {True: 1, "true": 2}),
    *(uuid.UUID(int=1), date(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), b"a", bytearray(b"a")),
    *(memoryview(b"a"), {1, 2}, frozenset(), ..., StopIteration, 1j, object(), object, print),
    *(2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400, 10**5000),
    *(math.nan, -math.nan, math.inf, -math.inf, [None, math.nan], {"null": math.inf}),
    *(
        "\ud800",
        {"\udfff": 1},
        ["null", "g123456\xf0\x7f"],
        "g" * 50 + "\x7f\xff",
        "e-1,",
        "0.00001",
    ),
    *(
        1e-5,
        1e-7,
        -3.2e-9,
        [1e-7],
        {"a": 1e-7},
        1e16,
        1e-300,
        5e-324,
        -0.0,
        0.1 + 0.2,
        6850.000000000001,
    ),
    *(nested(200), nested(300), nested(900), nested(3000), nested(100_000), circle),
]


@pytest.mark.parametrize("value", UNUSUAL, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    ("fast", "strict"),
    [(JSONDataEncoder, Strict), (DjangoEncoder, StrictDjangoEncoder)],
    ids=["json", "django"],
)
def test_an_unusual_value_is_sent_or_refused_as_before(
    fast: type[JSONDataEncoder], strict: type[JSONDataEncoder], value: Any
) -> None:
    assert outcome(encode, fast, value) == outcome(encode, strict, value)


PAYLOADS = [
    *(b"", b" 1", b"1 ", b"[1, 2]", b"{", b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b"NaN", b"nul"),
    *(b"Infinity", b"1e999", b"-1e999", b"[1E400]", b"1e16", b"1E16", b"1e-7", b"0.00001", b"-0"),
    *(b"-0.0", b"1.0", b"1.10", b"01", b"18446744073709551616", b"123456789012345678901234567890"),
    *(
        b"9007199254740993",
        b"9007199254740993.0",
        b"0.1000000000000000055511151231257827",
        b"1" * 5000,
    ),
    *(b'"\\ud800"', b'"\\ud83c\\udf89"', b'"\\u00fc"', b'"\xff"', b'"\xed\xa0\x80"', b'"a\nb"'),
    *(b'"\\/"', b'"/"', b'"\\u2028"', '"\u2028"'.encode(), b'"\\u007f"', b'"\x7f"', b'"\\x"'),
    *(b"\xef\xbb\xbf1", '{"a": 1}'.encode("utf-16"), b"[" * 1100 + b"]" * 1100, b"[" * 10**6),
    *(b'{"a":' * 900 + b"1" + b"}" * 900, b"[" * 260 + b"]" * 260, b"[],[]", b"{'a':1}", b"//1"),
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: ascii(payload)[:40])
def test_an_unusual_payload_is_read_or_refused_as_before(payload: bytes) -> None:
    assert outcome(decode, JSONDataEncoder, payload) == outcome(decode, Strict, payload)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(VALUES)
@example([1e-5, "0.0000"])
def test_any_value_is_the_same_bytes(value: Any) -> None:
    assert outcome(encode, JSONDataEncoder, value) == outcome(encode, Strict, value)


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_any_json_is_the_same_value(value: Any, ensure_ascii: bool, indent: int | None) -> None:
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators)
    payload = text.encode(errors="surrogatepass")
    assert outcome(decode, JSONDataEncoder, payload) == outcome(decode, Strict, payload)


@given(st.binary() | st.text(alphabet='[]{}",:0123456789.eE+-\\u nultrfas').map(str.encode))
def test_any_bytes_are_read_or_refused_alike(payload: bytes) -> None:
    assert outcome(decode, JSONDataEncoder, payload) == outcome(decode, Strict, payload)


def test_any_float_is_the_same_text() -> None:
    source = random.Random(1)
    floats = [*struct.unpack("5000d", source.randbytes(40_000))]
    floats += [source.uniform(-10, 10) * 10.0**exponent for exponent in range(-30, 30)] * 9
    for number in floats:
        for value in (number, [number], {"a": number}):
            assert outcome(encode, JSONDataEncoder, value) == outcome(encode, Strict, value)


def test_plain_rows_take_the_fast_way() -> None:
    """Or the figures of the benchmarks would be those of `json`."""
    rows = [
        {"id": n, "name": "Grüße", "total": n * 1.37, "note": None, "at": "2020-01-01T10:00:00"}
        for n in range(5000)
    ]
    payload = fastjson.encode(rows)
    assert payload == encode(Strict, rows)
    assert fastjson.decode(payload) == rows
    for encoder in (JSONDataEncoder, DjangoEncoder):
        assert encoder._is_fast


class Sorted(json.JSONEncoder):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "sort_keys": True})


class Wrapped(json.JSONEncoder):
    def encode(self, o: Any) -> str:
        return super().encode({"wrapped": o})


class Mixin:
    def iterencode(self, o: Any, _one_shot: bool = False) -> Any:
        return iter(["1"])


class Mixed(Mixin, json.JSONEncoder):
    pass


@pytest.mark.parametrize("kind", [Sorted, Wrapped, Mixed], ids=lambda kind: kind.__name__)
def test_an_encoder_that_writes_plain_json_in_its_own_way_is_asked(
    kind: type[json.JSONEncoder],
) -> None:
    encoder = type("Own", (JSONDataEncoder,), {"json_encoder": kind})
    value = {"b": 1, "a": [1, 2]}
    expected = kind(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(value)
    assert encode(encoder, value) == expected.encode()
    assert not encoder._is_fast


def test_without_memory_for_orjson_json_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    value = ["a" * 5000]
    payload = encode(Strict, value)
    assert fastjson.encode(value) == payload
    monkeypatch.setattr(fastjson, "_SPARE", 2**62)  # more than any address space has
    assert fastjson.encode(value) is None
    assert fastjson.decode(payload) is fastjson.UNDECIDED
    assert encode(JSONDataEncoder, value) == payload
    assert decode(JSONDataEncoder, payload) == value


def test_without_orjson_everything_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    try:
        assert not importlib.reload(fastjson).is_available()
        encoder = type("Own", (JSONDataEncoder,), {"_decodes_fast": fastjson.is_available()})
        assert decode(encoder, encode(encoder, {"a": [1.5, None]})) == {"a": [1.5, None]}
        assert not encoder._is_fast
    finally:
        monkeypatch.undo()
        importlib.reload(fastjson)
