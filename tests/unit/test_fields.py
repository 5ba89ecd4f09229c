"""The fields of dataclasses of options: what they say, and what is made of them."""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import dataclass
from typing import Any

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import COUNT, SECONDS, SWITCH
from gearmanny.payload.fields import (
    check_options,
    flag_type,
    option,
    options_of,
    same_as,
)


def not_empty(value: Any) -> None:
    if not value:
        raise InvalidOption("give at least one.")


@dataclass(frozen=True, kw_only=True)
class Inner:
    jobs: int | None = option(None, COUNT, "jobs at a time", none="any", metavar="N")
    secret: str = option("hunter2", None, "a password", repr=False)
    undescribed: object = None


@dataclass(frozen=True, kw_only=True)
class Outer:
    NAMES: list[str] = option(["a"], not_empty, "names")
    JOBS: int | None = same_as(Inner, "jobs")
    SECRET: str = same_as(Inner, "secret")


def test_options_are_those_of_the_fields_that_say_something_in_their_order() -> None:
    assert list(options_of(Inner)) == list(options_of(Inner())) == ["jobs", "secret"]
    assert [str(each) for each in options_of(Outer).values()] == [
        "names",
        "jobs at a time; None: any",
        "a password",
    ]


def test_a_field_that_is_the_same_has_the_same_default_rule_and_words() -> None:
    assert Outer().JOBS is None
    assert options_of(Outer)["JOBS"] is options_of(Inner)["jobs"]


def test_a_secret_is_not_shown_whichever_class_has_it() -> None:
    assert "hunter2" not in f"{Inner()!r} {Outer()!r}"


def test_a_default_that_is_a_list_is_not_shared() -> None:
    Outer().NAMES.append("b")
    assert Outer().NAMES == ["a"]


@pytest.mark.parametrize("options", [Inner(), Inner(jobs=1, secret=""), Outer(NAMES=["x"], JOBS=2)])
def test_what_obeys_passes(options: object) -> None:
    check_options(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Inner(jobs=0), "jobs must be a whole number, 1 or more, or None, not 0."),
        (Outer(JOBS=0), "JOBS must be a whole number, 1 or more, or None, not 0."),
        (Outer(NAMES=[]), "NAMES: give at least one."),
    ],
)
def test_what_does_not_is_refused_by_the_name_of_its_field(options: object, message: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        check_options(options)
    assert str(caught.value) == message


def test_a_caller_may_name_fields_in_its_own_way() -> None:
    with pytest.raises(InvalidOption, match=r"^OPTIONS\['JOBS'\] must be"):
        check_options(Outer(JOBS=0), naming="OPTIONS[{!r}]")


def test_a_flag_makes_a_value_of_a_text() -> None:
    assert flag_type(COUNT)("3") == 3
    assert flag_type(SECONDS)("0.5") == 0.5


@pytest.mark.parametrize(
    ("rule", "text", "message"),
    [
        (COUNT, "0", "must be a whole number, 1 or more, not '0'"),
        (COUNT, "many", "must be a whole number, 1 or more, not 'many'"),
        (SECONDS, "nan", "must be a number of seconds, 0 or more, not 'nan'"),
        (SWITCH, "yes", "must be True or False, not 'yes'"),
    ],
)
def test_a_flag_refuses_a_text_in_the_words_of_its_rule(rule: Any, text: str, message: str) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        flag_type(rule)(text)
    assert str(caught.value) == message
