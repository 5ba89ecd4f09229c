"""Checks of what users say to the cache. Pure."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from datetime import timedelta

from gearmanny.errors import InvalidOption

_LONGEST_AGE_DAYS = 365_000
"""A thousand years: a date further away cannot be written."""


def check_unique_name(unique_name: object) -> str:
    """Returns the name under which a function's answers are kept.

    Raises:
        InvalidOption: it is no name.
    """
    if not isinstance(unique_name, str) or not unique_name.strip():
        raise InvalidOption(
            f"unique_name is the name of the cached answers, not {unique_name!r}: "
            'write @cachewrap("reports", max_days_age=1).'
        )
    return unique_name


def check_max_days_age(max_days_age: object) -> timedelta:
    """Returns how old an entry may be.

    Raises:
        InvalidOption: it is not a positive number of days.
    """
    if not _is_days(max_days_age) or not max_days_age:
        raise InvalidOption(
            f"max_days_age is a number of days, above 0 and at most {_LONGEST_AGE_DAYS}, "
            f"not {max_days_age!r}."
        )
    return timedelta(days=max_days_age)  # type: ignore[arg-type]  # checked


def check_stale_days(stale_days: object) -> timedelta:
    """Returns how long an entry is served while it is computed again.

    Raises:
        InvalidOption: it is not a number of days.
    """
    if not _is_days(stale_days):
        raise InvalidOption(
            f"stale_days is a number of days, 0 or more and at most {_LONGEST_AGE_DAYS}, "
            f"not {stale_days!r}."
        )
    return timedelta(days=stale_days)  # type: ignore[arg-type]  # checked


def check_seconds_above_0(name: str, seconds: object) -> float:
    """Returns a number of seconds.

    Raises:
        InvalidOption: it is not a finite number above 0.
    """
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or not 0 < seconds < math.inf
    ):
        raise InvalidOption(f"{name} is a number of seconds above 0, not {seconds!r}.")
    return float(seconds)


def check_ignore(ignore: object, signature: inspect.Signature) -> frozenset[str]:
    """Returns the names of the arguments that do not count.

    Raises:
        InvalidOption: they are not names, or the function has no such arguments.
    """
    if isinstance(ignore, str) or not isinstance(ignore, Iterable):
        raise InvalidOption(
            f'ignore is a tuple of names of arguments, such as ("debug",), not {ignore!r}.'
        )
    names = list(ignore)
    parameters = signature.parameters.values()
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
    for name in names:
        if not isinstance(name, str) or not (takes_any or name in signature.parameters):
            raise InvalidOption(
                f"ignore names {name!r}, which is not an argument of the function. It takes "
                f"{', '.join(signature.parameters) or 'none'}."
            )
    return frozenset(names)


def check_key(key: object) -> None:
    """Raises InvalidOption unless it can make the key of a call."""
    if key is not None and not callable(key):
        raise InvalidOption(f"key is a function of the arguments of a call, not {key!r}.")


def check_version(version: object) -> None:
    """Raises InvalidOption unless it can tell answers from those of another version."""
    if version is not None and (isinstance(version, bool) or not isinstance(version, (str, int))):
        raise InvalidOption(f"version is a text or a whole number, not {version!r}.")


def check_switch(name: str, value: object) -> None:
    """Raises InvalidOption unless it is True or False."""
    if not isinstance(value, bool):
        raise InvalidOption(f"{name} is True or False, not {value!r}.")


def _is_days(value: object) -> bool:
    return (
        not isinstance(value, bool)
        and isinstance(value, (int, float))
        and 0 <= value <= _LONGEST_AGE_DAYS
    )
