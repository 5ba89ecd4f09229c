"""Headers of recorded jobs: what they may be, and how a record keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.payload.headers import (
    MAX_HEADERS,
    NO_HEADERS,
    check_headers,
    checked_new_headers,
    decode_headers,
    encode_headers,
)


@pytest.mark.parametrize("headers", [{}, {"request": "7"}, {"a": "", "ü": "\n☃"}])
def test_texts_come_back_as_they_were(headers: dict[str, str]) -> None:
    check_headers(headers)
    assert decode_headers(encode_headers(headers)) == headers


def test_none_are_an_empty_text() -> None:
    assert encode_headers({}) == ""
    assert decode_headers("") is NO_HEADERS


def test_a_task_cannot_change_them() -> None:
    with pytest.raises(TypeError):
        decode_headers('{"a": "b"}')["a"] = "c"  # type: ignore[index]


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        (["request", "7"], "headers must be a dict of strings"),
        ({7: "request"}, "The name of a header must be a string, not 7"),
        ({"": "7"}, "The name of a header must be a string"),
        ({"request": 7}, "The header 'request' must be a string, not a int"),
        ({"a\0": "b"}, "contains a NUL"),
        ({"a": "\0"}, "The header 'a' contains a NUL"),
        ({"a": "\ud800"}, "The header 'a' contains a NUL or a lone surrogate"),
        ({"a": "ü" * (MAX_HEADERS // 2)}, f"The headers have {MAX_HEADERS + 1} bytes"),
    ],
)
def test_others_are_refused(headers: Any, problem: str) -> None:
    with pytest.raises(InvalidOption, match=problem):
        check_headers(headers)


def test_no_message_quotes_a_value() -> None:
    for value in (b"hunter2", "hunter2\0", "hunter2" * MAX_HEADERS):
        with pytest.raises(InvalidOption) as caught:
            check_headers({"password": value})
        assert "hunter2" not in str(caught.value)


def test_a_client_takes_a_function_that_makes_them() -> None:
    assert checked_new_headers(None, has_records=False) is None
    assert checked_new_headers(dict, has_records=True) is dict
    with pytest.raises(InvalidOption, match=r"using\(headers=…\)"):
        checked_new_headers({"a": "b"}, has_records=True)
    with pytest.raises(InvalidOption, match="give the client records, too"):
        checked_new_headers(dict, has_records=False)
