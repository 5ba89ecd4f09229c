"""Names of functions, unique ids and keys: what a job server takes, and what it would spoil."""

from __future__ import annotations

from typing import Any

import pytest

from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.payload.names import (
    LONGEST_KEY,
    LONGEST_UNIQUE,
    check_function_name,
    check_key,
    check_packed_name,
    check_unique,
    encoded_unique,
    unique_of_key,
)


@pytest.mark.parametrize("name", ["w", "my-worker.v2", "größe", "w" * 512])
def test_a_name_is_encoded_in_utf_8(name: str) -> None:
    assert check_function_name(name) == name.encode()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "has 0 bytes"),
        ("ü" * 257, "has 514 bytes"),
        ("my worker", "whitespace or control characters"),
        ("nul\0", "whitespace or control characters"),
        ("\ud800", "cannot be encoded in UTF-8"),
    ],
)
def test_an_invalid_name_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidTask, match=reason):
        check_function_name(name)


@pytest.mark.parametrize("name", [b"", b"not utf-8: \xff", b"a b", b"f" * 512])
def test_names_of_other_libraries_need_not_be_text(name: bytes) -> None:
    check_packed_name(name)


@pytest.mark.parametrize("name", [b"a\0b", b"f" * 513])
def test_a_name_that_would_break_its_packet_is_refused(name: bytes) -> None:
    with pytest.raises(InvalidTask, match="at most 512, and no NUL"):
        check_packed_name(name)


@pytest.mark.parametrize("unique", [b"", b"u" * LONGEST_UNIQUE, b"\xff\n"])
def test_a_unique_id_may_be_any_bytes(unique: bytes) -> None:
    check_unique(unique)


@pytest.mark.parametrize("unique", [b"a\0b", b"u" * (LONGEST_UNIQUE + 1)])
def test_a_unique_id_that_the_server_would_change_is_refused(unique: bytes) -> None:
    with pytest.raises(InvalidOption, match="Use a hash of a longer one"):
        check_unique(unique)


@pytest.mark.parametrize("unique", [b"bytes", None, 5, "\ud800", "a\0b", "u" * 64])
def test_what_is_no_unique_id_is_refused(unique: object) -> None:
    with pytest.raises(InvalidOption, match="unique id"):
        encoded_unique(unique)


@pytest.mark.parametrize("key", ["k", "größe 5", "k" * LONGEST_KEY])
def test_a_key_fits_into_a_unique_id(key: str) -> None:
    check_key(key)
    for background in (True, False):
        check_unique(unique_of_key(key, background=background))


def test_keys_of_the_foreground_and_the_background_never_meet() -> None:
    assert unique_of_key("k", background=True) != unique_of_key("k", background=False)


@pytest.mark.parametrize("key", ["", None, 5, b"k", "k" * (LONGEST_KEY + 1), "a\0b", "\ud800"])
def test_an_invalid_key_is_refused(key: object) -> None:
    with pytest.raises(InvalidOption, match="unique"):
        check_key(key)


@pytest.mark.parametrize("name", [1, None, b"bytes", len], ids=repr)
def test_a_name_is_a_string(name: Any) -> None:
    with pytest.raises(InvalidTask) as caught:
        check_function_name(name)
    assert str(caught.value) == (
        'A Gearman function is called by its name, a string such as "myworker_add", not by '
        f"{name!r}."
    )


def test_the_id_of_a_job_is_a_string() -> None:
    assert encoded_unique("ü") == b"\xc3\xbc"
    with pytest.raises(InvalidOption) as caught:
        encoded_unique(1)
    assert str(caught.value) == (
        "The unique id of a job is a string, as `work.unique` has it, not 1."
    )
