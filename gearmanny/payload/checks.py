"""Checks of counts and of numbers of seconds."""

from __future__ import annotations

import math

from gearmanny.errors import InvalidOption


def check_count(name: str, unit: str, value: object) -> None:
    """Raises InvalidOption unless the value is a whole number, at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidOption(f"{name} is a number of {unit}, at least 1, not {value!r}.")


def check_seconds(name: str, value: object) -> None:
    """Raises InvalidOption unless the value is a finite number of seconds, at least 0."""
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not (0 <= value < math.inf)
    ):
        raise InvalidOption(f"{name} is a number of seconds, at least 0, not {value!r}.")
