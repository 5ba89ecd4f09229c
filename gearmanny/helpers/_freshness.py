"""Whether a cached answer may be used: the key of a call, and hit, stale or miss.

Pure: the current time comes in as an argument.
"""

from __future__ import annotations

import enum
import hashlib
import inspect
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from gearmanny.errors import EncodingError, InvalidOption
from gearmanny.payload.checks import number

KEEP_STALE = timedelta(days=30)
"""How long an entry is kept after it went stale, to be served when nothing newer can be had."""

_LONGEST_AGE_DAYS = 365_000
"""A thousand years: a date further away cannot be written."""

_AGE = number(
    f"a number of days above 0 and at most {_LONGEST_AGE_DAYS}",
    lambda days: 0 < days <= _LONGEST_AGE_DAYS,
)


class Freshness(enum.Enum):
    """The freshness of an entry of the cache."""

    HIT = "hit"
    STALE = "stale"
    MISS = "miss"


def judge(added: datetime | None, max_age: timedelta, now: datetime) -> Freshness:
    """Returns what an entry is worth.

    Args:
        added: when it was stored, aware; None when there is none.
        max_age: how old it may be.
        now: the current time, aware.
    """
    if added is None:
        return Freshness.MISS
    return Freshness.HIT if now - added <= max_age else Freshness.STALE


def delete_at(added: datetime, max_age: timedelta) -> datetime:
    """Returns when an entry may be deleted."""
    return added + max_age + KEEP_STALE


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


def check_max_days_age(max_days_age: float) -> timedelta:
    """Returns how old an entry may be.

    Raises:
        InvalidOption: `max_days_age` is not a number of days, or not above 0.
    """
    _AGE.check("max_days_age", max_days_age)
    return timedelta(days=max_days_age)


def named_arguments(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the arguments of a call by name, defaults included, without `self` or `cls`.

    Raises:
        TypeError: the function does not take them.
    """
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    first = next(iter(signature.parameters), None)
    if first in ("self", "cls"):
        arguments.pop(first, None)
    return arguments


def cache_key(
    unique_name: str,
    arguments: Mapping[str, Any],
    json_encoder: type[json.JSONEncoder] = json.JSONEncoder,
) -> str:
    """Returns the hashed key of a call, the same for every order of the arguments.

    Raises:
        EncodingError: an argument is not JSON, so equal calls could not be told.
    """
    try:
        text = json.dumps(
            [unique_name, arguments], sort_keys=True, allow_nan=False, cls=json_encoder
        )
        _check_keys(arguments)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodingError(
            f"The answers of {unique_name!r} cannot be cached: an argument is not JSON ({error})."
        ) from error
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _check_keys(value: object) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise TypeError(f"a key is {type(name).__name__}, not text")
            _check_keys(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_keys(inner)
