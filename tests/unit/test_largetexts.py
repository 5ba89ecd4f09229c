"""Large texts apart from the rest of their value: the same bytes and values as without that."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("orjson")

from gearmanny.payload import fastjson, largetexts
from gearmanny.payload.encoding import decode, encode
from gearmanny.vocabulary.encoders import JSONDataEncoder
from tests.unit.test_fastjson import Strict, outcome

MIB = 2**20
MARK = largetexts._MARK
LONG = "Grüße, 世界 🎉 " * 3
FEW = largetexts._FEW_ITEMS


@pytest.fixture(scope="module", autouse=True)
def texts_are_large_soon() -> Iterator[None]:
    """Texts of 8 characters are large, and checked in pieces of 3."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(largetexts, "LARGE", 8)
        patch.setattr(largetexts, "_PIECE", 3)
        yield


def test_large_texts_are_set_apart_and_the_value_stays() -> None:
    value = {"a": 1, "b": LONG, "c": "short"}
    assert largetexts.set_apart(value) == ({"a": 1, "b": MARK, "c": "short"}, [LONG])
    assert value["b"] == LONG
    assert largetexts.set_apart([LONG, [LONG], LONG]) == ([MARK, [LONG], MARK], [LONG, LONG])
    assert largetexts.set_apart(LONG) == (MARK, [LONG])


@pytest.mark.parametrize("value", ["short", 1, [1], {"a": "b"}, [LONG] * (FEW + 1), (LONG,)])
def test_other_values_are_written_as_a_whole(value: Any) -> None:
    rest, texts = largetexts.set_apart(value)
    assert rest is value
    assert not texts


class Text(str):
    """Not exactly a str."""


VALUES = [
    LONG,
    [LONG],
    {"text": LONG, "more": [1.5, None, {"a": LONG}], "last": LONG[::-1]},
    {LONG: 1},
    [LONG] * FEW,
    [LONG] * (FEW + 1),
    [[LONG]],
    'with a \n line and "quotes"',
    ["with a \\ backslash", LONG],
    ["\ud800 is half of a character"],
    {"text": LONG, "number": float("nan")},
    {"text": LONG, "number": 1e-7},
    {"text": LONG, 1: 1},
    {"text": LONG, "1": 1, 1: 2},
    [Text(LONG)],
    [MARK, LONG],
    MARK,
    {"a": MARK, "b": MARK, "c": LONG},
    ["1e-7 null 0.00001", "1e-7"],
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_value_is_sent_or_refused_as_before(value: Any) -> None:
    assert outcome(encode, JSONDataEncoder, value) == outcome(encode, Strict, value)


def as_json(value: Any, **options: Any) -> bytes:
    text = json.dumps(value, **{"ensure_ascii": False, "separators": (",", ":"), **options})
    return text.encode(errors="surrogatepass")


PAYLOADS = [
    *map(as_json, VALUES),
    as_json(LONG, ensure_ascii=True),
    as_json([LONG, 1], separators=(", ", ": ")),
    b'{"text":"a large text","text":"another text"}',
    b'{"text":"a large text","n":1e999}',
    b'{"text":"a large text","n":123456789012345678901234567890}',
    b'["a large text"',
    b'["a large text',
    b'"a large text',
    b'["a large text" "a large text"]',
    b'"a large\ntext"',
    b'"a large \xff text"',
    b'"a large text" ',
    b'"a large text"1',
    b'[123456789,"short",123456789]',
    as_json({str(n): "a" for n in range(12)} | {"text": LONG}),
    as_json(["short"] * 40 + [LONG]),
    b'["\\u0000 a large text","a large text"]',
    b'["\\u0000 a large text",["a large text"]]',
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_payload_is_read_or_refused_as_before(payload: bytes) -> None:
    assert outcome(decode, JSONDataEncoder, payload) == outcome(decode, Strict, payload)


TEXTS = st.text() | st.text(min_size=8) | st.just(MARK) | st.text(alphabet='a"\\\0u,:[]{}')
ANY = st.recursive(
    st.none() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
)


@given(ANY, st.booleans())
def test_any_value_goes_there_and_back_as_before(value: Any, ensure_ascii: bool) -> None:
    assert outcome(encode, JSONDataEncoder, value) == outcome(encode, Strict, value)
    payload = as_json(value, ensure_ascii=ensure_ascii)
    assert outcome(decode, JSONDataEncoder, payload) == outcome(decode, Strict, payload)


@given(st.text(alphabet='"abcdefgh\\\n[]{}:,', min_size=8).map(str.encode))
def test_any_bytes_are_read_or_refused_as_before(payload: bytes) -> None:
    assert outcome(decode, JSONDataEncoder, payload) == outcome(decode, Strict, payload)


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: {"text": text, "n": 1}])
def test_a_large_text_is_read_and_checked_without_a_copy(
    wrap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(largetexts, "LARGE", 2**18)
    monkeypatch.setattr(largetexts, "_PIECE", 2**15)
    value = wrap("x" * (8 * MIB))
    payload = fastjson.encode(value)
    assert payload is not None
    tracemalloc.start()
    try:
        read = largetexts.read(payload)
        assert largetexts.is_written(read, payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 9 * MIB  # the value itself
