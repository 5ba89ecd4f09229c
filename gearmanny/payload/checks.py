"""The rules that values obey: each says once, in code and in words, what is allowed.

Constructors, `using()`, settings and the flags of commands check with the same rules, so that the
same mistake is reported in the same words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from gearmanny.errors import InvalidOption


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for the value of one option."""

    words: str
    """The requirement, in words that follow "must be"."""
    allows: Callable[[Any], bool]
    """Returns whether a value of any type obeys."""
    read: Callable[[str], object]
    """Makes a value of the text of a command line. Raises ValueError."""

    def check(self, name: str, value: object, *, optional: bool = False) -> None:
        """Checks a value.

        Args:
            name: the option, as messages call it.
            value: what was given.
            optional: whether None is allowed as well.

        Raises:
            InvalidOption: the value breaks the rule.
        """
        if self.allows(value) or (optional and value is None):
            return
        words = f"{self.words}, or None" if optional else self.words
        raise InvalidOption(f"{name} must be {words}, not {value!r}.")


def whole_number(least: int, most: int | None = None, *, of: str = "") -> Rule:
    """Returns a rule for whole numbers.

    Args:
        least: the smallest one.
        most: the largest one; None for no limit.
        of: their unit, for messages.
    """
    kind = f"a whole number of {of}" if of else "a whole number"
    words = f"{kind}, {least} or more" if most is None else f"{kind} from {least} to {most}"
    end = math.inf if most is None else most

    def allows(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= end

    return Rule(words, allows, int)


def number(words: str, allows: Callable[[float], bool]) -> Rule:
    """Returns a rule for numbers, whole or not.

    Args:
        words: what the number must be, as it follows on "must be".
        allows: returns whether a number obeys.
    """

    def is_allowed(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and allows(value)

    return Rule(words, is_allowed, float)


def choice(*values: str) -> Rule:
    """Returns a rule for one of some words.

    Args:
        values: all that are allowed.
    """
    return Rule(f"one of {', '.join(values)}", lambda value: value in values, str)


COUNT = whole_number(1)

JOBS = whole_number(1, 100_000)
"""Jobs of one process at a time: it asks for each of them."""

PROCESSES = whole_number(1, 10_000)

SMALL_COUNT = whole_number(1, 2**31 - 1)
"""A count that databases store, or that C code takes."""

MEMORY = whole_number(1, of="MiB")

PORT = whole_number(1, 2**16 - 1)

PORT_OR_ANY = whole_number(0, 2**16 - 1)
"""A port to listen on; 0 for any that is free."""

SECONDS = number("a number of seconds, 0 or more", lambda seconds: 0 <= seconds < math.inf)

PERIOD = number("a number of seconds from 0 to 3e9", lambda seconds: 0 <= seconds <= 3e9)
"""Seconds that a database adds to the time or takes from it: a hundred years, as the calendars of
databases end."""

DAYS = number("a number of days from 0 to 36500", lambda days: 0 <= days <= 36500)

WAIT = number(SECONDS.words, lambda seconds: seconds >= 0)
"""Seconds to wait at most; `math.inf` is allowed."""

TIME_LIMIT = number("a number of seconds above 0", lambda seconds: 0 < seconds < math.inf)

SWITCH = Rule("True or False", lambda value: isinstance(value, bool), str)

FLAG = Rule("True or False", lambda value: isinstance(value, int) and value in (False, True), str)
"""As `SWITCH`; 0 and 1 are allowed as well, as old code has them."""

PATH = Rule(
    "the path of a file",
    lambda value: isinstance(value, str | PurePath) and bool(str(value)) and "\0" not in str(value),
    str,
)

ADDRESS = Rule(
    'an address of this machine, such as "127.0.0.1"',
    lambda value: isinstance(value, str) and bool(value) and "\0" not in value,
    str,
)
"""An address to listen on. An empty one would be every address."""
