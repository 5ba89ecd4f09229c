"""Values and payloads: strict JSON, and the guard around encoders of any kind."""

from __future__ import annotations

import json
import math
import re
from datetime import date
from typing import Any

import pytest

from gearmanny.errors import EncodingError, InvalidOption
from gearmanny.payload.encoding import check_encoder, decode, encode, explained
from gearmanny.payload.sizes import Oversized
from gearmanny.vocabulary.encoders import JSONDataEncoder, RawDataEncoder
from gearmanny.vocabulary.gearman_api import DataEncoder

DEEP = 100_000


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        (None, b"null"),
        ("", b'""'),
        (True, b"true"),
        (1.5, b"1.5"),
        ({"a": 10, "b": [1, 2]}, b'{"a":10,"b":[1,2]}'),
        ("Grüße, 日本 🎉", '"Grüße, 日本 🎉"'.encode()),
        ("a\0b\n", b'"a\\u0000b\\n"'),
        (2**64, b"18446744073709551616"),
    ],
)
def test_a_value_travels_as_short_json_in_utf_8(value: object, payload: bytes) -> None:
    assert encode(JSONDataEncoder, value) == payload
    assert decode(JSONDataEncoder, payload) == value


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b'"\\u00fc"', "ü"),
        (b'"\\ud83c\\udf89"', "🎉"),
        (b' {"a": 1}\r\n', {"a": 1}),
        (b"1e3", 1000.0),
        (b'"\\\\ud800"', "\\ud800"),  # a backslash and five letters
    ],
)
def test_json_is_read_as_other_languages_write_it(payload: bytes, value: object) -> None:
    assert decode(JSONDataEncoder, payload) == value


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, {"a": [math.nan]}, "\ud800", {"\udfff": 1}, b"bytes", {1, 2}],
    ids=ascii,
)
def test_what_is_not_json_is_not_sent(value: object) -> None:
    kind = type(value).__name__
    with pytest.raises(EncodingError, match=f"JSONDataEncoder cannot encode this {kind}: "):
        encode(JSONDataEncoder, value)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b'"\xff"',
        b'"\xed\xa0\x80"',  # a surrogate, as UTF-8 must not have it
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b"{'a': 1}",
        b'{"a": 1} {"b": 2}',
        b'"a\nb"',
        '{"a": 1}'.encode("utf-16"),
    ],
    ids=ascii,
)
def test_what_is_not_json_is_not_read(payload: bytes) -> None:
    with pytest.raises(EncodingError, match=f"cannot decode a payload of {len(payload)} bytes: "):
        decode(JSONDataEncoder, payload)


def test_nesting_without_end_is_refused_in_both_directions() -> None:
    with pytest.raises(EncodingError):
        encode(JSONDataEncoder, nested(DEEP))
    with pytest.raises(EncodingError):
        decode(JSONDataEncoder, b"[" * DEEP + b"]" * DEEP)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(EncodingError, match="Circular"):
        encode(JSONDataEncoder, loop)


class Dates(json.JSONEncoder):
    def default(self, o: object) -> object:
        return o.isoformat() if isinstance(o, date) else super().default(o)


class DatesEncoder(JSONDataEncoder):
    json_encoder = Dates


class GrandChild(DatesEncoder):
    pass


@pytest.mark.parametrize("encoder", [DatesEncoder, GrandChild])
def test_a_subclass_may_bring_a_json_encoder_for_more_types(encoder: type[DataEncoder]) -> None:
    assert encode(encoder, {"day": date(2026, 7, 1)}) == b'{"day":"2026-07-01"}'
    with pytest.raises(EncodingError):
        encode(JSONDataEncoder, date(2026, 7, 1))


@pytest.mark.parametrize(
    "value", [math.nan, "\ud800", object()], ids=["NaN", "a surrogate", "an object"]
)
def test_a_subclass_is_as_strict(value: object) -> None:
    with pytest.raises(EncodingError, match="DatesEncoder cannot encode"):
        encode(DatesEncoder, value)


class Fixed(DataEncoder):  # type: ignore[misc]
    """Returns, or raises, what it is told."""

    outcome: Any = None

    @classmethod
    def encode(cls, encodable_object: Any) -> Any:
        if isinstance(cls.outcome, BaseException):
            raise cls.outcome
        return cls.outcome

    decode = encode


def fixed(outcome: object) -> type[DataEncoder]:
    return type("Fixed", (Fixed,), {"outcome": outcome})


def test_text_of_an_encoder_travels_as_utf_8() -> None:
    assert encode(fixed("Grüße"), object()) == "Grüße".encode()


@pytest.mark.parametrize("outcome", [None, 5, ["a"], {}], ids=repr)
def test_an_encoder_that_returns_neither_bytes_nor_text_is_named(outcome: object) -> None:
    with pytest.raises(EncodingError, match=f"Fixed .*{type(outcome).__name__}, not bytes"):
        encode(fixed(outcome), 1)


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "cause",
    [ValueError("no"), KeyError("k"), OSError(5, "io"), NotImplementedError(), Speechless()],
    ids=lambda cause: type(cause).__name__,
)
def test_whatever_an_encoder_raises_is_an_encoding_error_that_tells_the_cause(
    cause: Exception,
) -> None:
    for use in (encode, decode):
        with pytest.raises(EncodingError, match=r"^Fixed cannot") as caught:
            use(fixed(cause), b"payload")
        assert caught.value.__cause__ is cause


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_an_interrupt_is_no_encoding_error(interrupt: BaseException) -> None:
    for use in (encode, decode):
        with pytest.raises(type(interrupt)):
            use(fixed(interrupt), b"payload")


def test_the_error_says_which_type_was_not_encoded() -> None:
    with pytest.raises(EncodingError, match=r"JSONDataEncoder cannot encode this dict: .*set"):
        encode(JSONDataEncoder, {"a": {1}})


class Model:
    """As Django's are, as far as it is looked at."""

    _meta = None
    pk = 1


class Query:
    """A query, which no message may send to the database."""

    def values_list(self, *fields: str) -> None: ...

    def __iter__(self) -> None:
        raise AssertionError("it was evaluated")


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (Model(), "Send its primary key instead, and load the object where it is needed"),
        ([Model()], "Send the primary keys of its models instead, and load them where they are"),
        ({"a": Model()}, "Send the primary keys of its models instead, and load them where they"),
        (Query(), "Send primary keys instead: list(query.values_list('pk', flat=True))"),
    ],
)
def test_what_to_send_instead_of_a_model_is_said(value: object, advice: str) -> None:
    with pytest.raises(EncodingError, match=re.escape(advice)):
        encode(JSONDataEncoder, value)


def explanation(arguments: object) -> str:
    """The error for the arguments of a call."""
    with pytest.raises(EncodingError) as caught:
        encode(JSONDataEncoder, arguments)
    return str(explained(caught.value, JSONDataEncoder, "shop_price", arguments))


def test_the_argument_that_cannot_be_encoded_is_named() -> None:
    text = explanation({"count": 1, "tags": {1}})
    assert text == (
        "shop_price(): JSONDataEncoder cannot encode the argument 'tags', this set: Object of type "
        "set is not JSON serializable"
    )


def test_arguments_that_can_be_encoded_but_not_together_are_not_named() -> None:
    assert explanation({1: 1, "1": 2}).startswith(
        "shop_price(): JSONDataEncoder cannot encode this dict: a dict has two keys"
    )


def test_a_payload_without_names_is_explained_as_it_is() -> None:
    assert explanation({1}).startswith("shop_price(): JSONDataEncoder cannot encode this set: ")


def test_raw_payloads_are_the_bytes_that_they_are() -> None:
    payload = bytes(range(256))

    assert encode(RawDataEncoder, payload) is payload
    assert decode(RawDataEncoder, payload) is payload


@pytest.mark.parametrize("value", ["text", None, {}, [b"x"], bytearray(b"x"), memoryview(b"x")])
def test_only_bytes_are_raw_payloads(value: object) -> None:
    with pytest.raises(EncodingError, match="it must be bytes"):
        encode(RawDataEncoder, value)


def test_without_memory_for_a_payload_the_error_says_so_and_keeps_nothing() -> None:
    with pytest.raises(EncodingError, match=r"this int: .* not enough memory") as caught:
        encode(fixed(MemoryError()), 1)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_without_memory_for_a_value_the_error_says_so_and_keeps_nothing() -> None:
    with pytest.raises(EncodingError, match=r"of 2 bytes: .* not enough memory") as caught:
        decode(fixed(MemoryError()), b"{}")
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_payload_that_is_too_long_is_an_encoding_error() -> None:
    with pytest.raises(EncodingError, match="its 8192 bytes exceed 4096"):
        encode(RawDataEncoder, bytes(8192), max_packet=8192)


def test_a_payload_that_was_discarded_is_an_encoding_error() -> None:
    with pytest.raises(EncodingError, match="A payload was discarded: its 9000 bytes exceed"):
        decode(JSONDataEncoder, Oversized.of(9000, 8192))


@pytest.mark.parametrize("outcome", [ValueError("no"), Speechless()], ids=repr)
def test_a_payload_that_an_encoder_refuses_is_an_encoding_error(outcome: Exception) -> None:
    with pytest.raises(EncodingError, match="Fixed cannot decode a payload of 2 bytes") as caught:
        decode(fixed(outcome), b"{}")
    assert caught.value.__cause__ is outcome


def test_an_encoder_encodes_and_decodes() -> None:
    assert check_encoder(JSONDataEncoder) is JSONDataEncoder
    assert check_encoder(json_like := Strange()) is json_like


class Strange:
    encode = decode = staticmethod(str)


@pytest.mark.parametrize("encoder", [1, "json", json, dict], ids=repr)
def test_nothing_else_is_an_encoder(encoder: object) -> None:
    with pytest.raises(InvalidOption) as caught:
        check_encoder(encoder)
    assert str(caught.value) == (
        "data_encoder must be a class with the class methods encode and decode, such as "
        f"JSONDataEncoder, not {encoder!r}."
    )
