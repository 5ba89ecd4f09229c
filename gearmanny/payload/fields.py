"""The fields of a dataclass of options: the default, the rule and the description of each, in one
place. Settings, flags of commands and tables in documents are made of them, or compared with them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import Rule


@dataclass(frozen=True, slots=True)
class Option:
    """The description of an option, besides its name, type and default."""

    rule: Rule | Callable[[Any], object] | None
    """The check of its value: a rule, or a function that raises InvalidOption. None: it is checked
    where it is used."""
    help: str
    """One line, with the unit, for the help of commands and the tables of documents."""
    none: str
    """The meaning of None; empty where None is not allowed."""
    metavar: str
    """Stands for a value in the help of a command; empty where there is no flag."""

    def check(self, name: str, value: object) -> None:
        """Checks a value.

        Args:
            name: the option, as messages call it.
            value: what was given.

        Raises:
            InvalidOption: the value breaks the rule.
        """
        if isinstance(self.rule, Rule):
            self.rule.check(name, value, optional=bool(self.none))
        elif self.rule is not None:
            try:
                self.rule(value)
            except InvalidOption as error:
                raise InvalidOption(f"{name}: {error}") from error

    def __str__(self) -> str:
        """Returns the description, for tables."""
        return f"{self.help}; None: {self.none}" if self.none else self.help


def option(
    default: Any,
    rule: Rule | Callable[[Any], object] | None,
    help: str,
    *,
    none: str = "",
    metavar: str = "",
    repr: bool = True,
) -> Any:
    """Returns a field of a dataclass.

    Args:
        default: its default; a list or a dict is copied for every object.
        rule, help, none, metavar: see `Option`.
        repr: whether the `repr()` of the object shows the value, which may be a secret.
    """
    metadata = {"option": Option(rule, help, none, metavar)}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=default.copy, metadata=metadata, repr=repr)
    return dataclasses.field(default=default, metadata=metadata, repr=repr)


def same_as(kind: type, name: str) -> Any:
    """Returns a field of a dataclass with the default and the option of a field of another one.

    Args:
        kind: the other dataclass.
        name: its field.
    """
    (found,) = (field for field in dataclasses.fields(kind) if field.name == name)
    return dataclasses.field(default=found.default, metadata=found.metadata, repr=found.repr)


def options_of(kind: Any) -> dict[str, Option]:
    """Returns the options of a dataclass by name, in the order of its fields.

    Args:
        kind: the dataclass, or an object of it.
    """
    return {
        field.name: field.metadata["option"]
        for field in dataclasses.fields(kind)
        if "option" in field.metadata
    }


def flag_type(rule: Rule) -> Callable[[str], Any]:
    """Returns the `type` of a flag of a command, as `argparse` takes it.

    Args:
        rule: what the value must be.
    """
    from argparse import ArgumentTypeError  # noqa: PLC0415  only commands need it

    def read(text: str) -> Any:
        value: object = text
        with contextlib.suppress(ValueError):
            value = rule.read(text)
        if not rule.allows(value):
            raise ArgumentTypeError(f"must be {rule.words}, not {text!r}")
        return value

    return read


def check_options(options: Any, *, naming: str = "{}") -> None:
    """Checks all values of a dataclass.

    Args:
        options: an object of it.
        naming: the format by which messages name a field.

    Raises:
        InvalidOption: a value breaks the rule of its field.
    """
    for name, described in options_of(options).items():
        described.check(naming.format(name), getattr(options, name))
