"""Secrets are masked by their names."""

from __future__ import annotations

from typing import Any

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.payload.masking import MASK, MASKED, check_mask, masked, masked_text, unmasked


@pytest.mark.parametrize(
    "name",
    ["password", "PASSWORD", "new_password", "X-Api-Key", "stripeApiKey", "access token"],
)
def test_a_name_that_contains_one_is_masked(name: str) -> None:
    assert masked({name: "s3cret", "user": "ada"}, MASK) == {name: MASKED, "user": "ada"}


@pytest.mark.parametrize("name", ["author", "pass", "key", "monkey", "", "päss"])
def test_other_names_are_not(name: str) -> None:
    assert masked({name: 1}, MASK) == {name: 1}


def test_whatever_is_below_a_secret_name_is_masked() -> None:
    assert masked({"credentials": {"user": "ada", "pin": [1, 2]}}, MASK) == {"credentials": MASKED}


def test_secrets_are_found_in_what_is_nested() -> None:
    value = {"a": [{"b": ({"token": None},)}], 1: {"secret": ""}}
    assert masked(value, MASK) == {"a": [{"b": [{"token": MASKED}]}], 1: {"secret": MASKED}}
    assert value["a"] == [{"b": ({"token": None},)}]  # the task gets what was sent


def test_what_is_too_deep_to_be_looked_through_is_masked() -> None:
    value: Any = {"password": "deep"}
    for _ in range(100_000):
        value = [value]
    assert "deep" not in str(masked(value, MASK))
    assert MASKED in str(masked(value, MASK))


@pytest.mark.parametrize("value", [None, 1, "password=1", b"token"])
def test_what_has_no_names_stays(value: Any) -> None:
    assert masked(value, MASK) is value


@pytest.mark.parametrize("text", ["password=1", '{"api_key', r'[{"pass\u0077ord": "1"'])
def test_a_text_with_a_name_is_masked_as_a_whole(text: str) -> None:
    assert masked_text(text, MASK) == MASKED
    assert masked_text(text, ["pin"]) == text


def test_what_was_changed_of_masked_values_is_changed() -> None:
    original = {"a": 1, "b": [0, {"token": "s3cret"}], "c": {"token": "s3cret"}}
    changed = {"a": True, "b": [0.0, {"token": MASKED}, 2], "c": {"token": "new"}, "d": MASKED}
    found = unmasked(changed, original, MASK)
    assert found == changed | {"b": [0.0, {"token": "s3cret"}, 2]}
    assert found["a"] is True
    assert unmasked(changed, original, []) is changed


def test_without_names_nothing_is_masked() -> None:
    value = {"password": "known"}
    assert masked(value, check_mask([])) is value


def test_names_are_a_projects_own() -> None:
    names = check_mask(["IBAN", "birth_date"])
    assert masked({"iban": 1, "birthDate": 2, "password": 3}, names) == {
        "iban": MASKED,
        "birthDate": MASKED,
        "password": 3,
    }


def test_names_may_be_of_any_script() -> None:
    names = check_mask(["Paßwort", "Größe", "パスワード", "пароль"])
    secrets = ["new_passwort", "gro\u0308sse", "ユーザーのパスワード", "ПАРОЛЬ"]
    others = {"grse": 1, "größer_als": MASKED, "パス": 2}
    assert masked(dict.fromkeys(secrets, 1) | {"grse": 1, "größer_als": 3, "パス": 2}, names) == (
        dict.fromkeys(secrets, MASKED) | others
    )
    assert masked({"ｐａｓｓｗｏｒｄ": 1}, MASK) == {"ｐａｓｓｗｏｒｄ": MASKED}


@pytest.mark.parametrize("wrong", ["password", b"password", None, 1, ["a", 1], [""], ["--"]])
def test_what_is_not_a_list_of_names_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidOption, match="mask must be a list of names"):
        check_mask(wrong)
