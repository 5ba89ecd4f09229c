"""The JSON that travels: what one side sends, the other one takes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gearmanny.errors import EncodingError
from gearmanny.payload.encoding import decode, encode
from gearmanny.vocabulary.encoders import JSONDataEncoder


@pytest.mark.parametrize(
    "value",
    [
        {1: "a", "1": "b"},
        [{"deep": {None: 1, "null": 2}}],
        {True: 1, "true": 2},
        {1.5: 1, "1.5": 2},
        {-1: 1, "-1": 2},
        {1e100: 1, "1e+100": 2},
    ],
    ids=repr,
)
def test_keys_that_become_one_are_refused_by_the_sender(value: Any) -> None:
    with pytest.raises(EncodingError, match="two keys that JSON writes in the same way"):
        encode(JSONDataEncoder, value)


@pytest.mark.parametrize(
    "value", [{1: "a", 2: "b"}, {"1": "a", "2": "b"}, {'a"1': 1}, {"text": '"1":"1":'}], ids=repr
)
def test_other_keys_travel_as_before(value: Any) -> None:
    assert decode(JSONDataEncoder, encode(JSONDataEncoder, value)) == {
        str(key): each for key, each in value.items()
    }


@pytest.mark.parametrize("payload", [b"1e999", b"-1e999", b'{"a":[1E+400]}', b"1" * 400 + b".0"])
def test_a_number_that_no_float_can_hold_does_not_become_infinity(payload: bytes) -> None:
    with pytest.raises(EncodingError, match="is too large for a float"):
        decode(JSONDataEncoder, payload)


def test_other_floats_are_what_they_are() -> None:
    for number in (0.1, 1e308, 5e-324, -0.0):
        assert decode(JSONDataEncoder, encode(JSONDataEncoder, number)) == number
    assert decode(JSONDataEncoder, b"1e-999") == 0
    with pytest.raises(EncodingError):
        encode(JSONDataEncoder, Decimal(1))
