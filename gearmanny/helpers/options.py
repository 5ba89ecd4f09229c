"""The rules for what users say to the cache. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from datetime import timedelta

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import Rule, number

DEFAULT_HOST = "mongodb://localhost:27017/"
DEFAULT_DBNAME = "GEARMANCACHE"
DEFAULT_COLLECTION = "gearman_cache_table"

_LONGEST_AGE_DAYS = 365_000
"""A thousand years: a date further away cannot be written."""

AGE = number(
    f"a number of days above 0 and at most {_LONGEST_AGE_DAYS}",
    lambda days: 0 < days <= _LONGEST_AGE_DAYS,
)

STALE = number(
    f"a number of days, 0 or more and at most {_LONGEST_AGE_DAYS}",
    lambda days: 0 <= days <= _LONGEST_AGE_DAYS,
)

_KEY = Rule("a function of the arguments of a call", callable, str)

_VERSION = Rule("a string or a whole number", lambda version: type(version) in (str, int), str)


def check_unique_name(unique_name: object) -> str:
    """Returns the name under which a function's answers are kept.

    Raises:
        InvalidOption: it is not a name.
    """
    if not isinstance(unique_name, str) or not unique_name.strip():
        raise InvalidOption(
            f"unique_name is the name of the cached answers, not {unique_name!r}: "
            'write @cachewrap("reports", max_days_age=1).'
        )
    try:
        unique_name.encode()
    except UnicodeEncodeError:
        raise InvalidOption(f"unique_name must be Unicode text, not {unique_name!r}.") from None
    return unique_name


def check_max_days_age(max_days_age: float) -> timedelta:
    """Returns how old an entry may be.

    Raises:
        InvalidOption: `max_days_age` is not a number of days, or not above 0.
    """
    AGE.check("max_days_age", max_days_age)
    return timedelta(days=max_days_age)


def check_stale_days(stale_days: float) -> timedelta:
    """Returns for how long an entry is served while it is computed again.

    Raises:
        InvalidOption: `stale_days` is not a number of days.
    """
    STALE.check("stale_days", stale_days)
    return timedelta(days=stale_days)


def check_ignore(ignore: object, signature: inspect.Signature) -> frozenset[str]:
    """Returns the names of the arguments that do not count.

    Raises:
        InvalidOption: they are not names, or the function has no such arguments.
    """
    if isinstance(ignore, str) or not isinstance(ignore, Iterable):
        raise InvalidOption(
            f'ignore must be a tuple of names of arguments, such as ("debug",), not {ignore!r}.'
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
    _KEY.check("key", key, optional=True)


def check_version(version: object) -> None:
    """Raises InvalidOption unless it can tell answers from those of another version."""
    _VERSION.check("version", version, optional=True)
