"""The arguments of a call, as a command line has them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from gearmanny.errors import InvalidOption


def pair_of(text: str) -> tuple[str, Any]:
    """Returns the name and the value of an argument.

    Args:
        text: `NAME=VALUE`. The value is JSON where it is valid JSON, and else text.

    Raises:
        InvalidOption: there is no name, or no value.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidOption(f"An argument is written NAME=VALUE, not {text!r}.")
    try:
        return name, _decoded(value)
    except ValueError:
        return name, value


def arguments_of(pairs: Iterable[tuple[str, Any]], given: str | None) -> dict[str, Any]:
    """Returns all arguments of a call.

    Args:
        pairs: those that were written as `NAME=VALUE`.
        given: those that were written as a JSON object; None if none were.

    Raises:
        InvalidOption: that is no JSON object, or a name is there twice.
    """
    arguments: dict[str, Any] = {}
    if given is not None:
        try:
            arguments = _decoded(given)
        except ValueError as error:
            raise InvalidOption(f"--arguments must be JSON: {error}") from error
        if not isinstance(arguments, dict):
            raise InvalidOption('--arguments must be a JSON object, such as {"day": "2026-01-01"}.')
    for name, value in pairs:
        if name in arguments:
            raise InvalidOption(f"The argument {name!r} is given twice.")
        arguments[name] = value
    return arguments


def _decoded(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
