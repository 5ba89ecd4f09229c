"""What a runner allows its processes, and how numbers are checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a `WorkRunner`, which tells their meaning.

    Raises:
        InvalidOption: a value cannot be.
    """

    grace: float | None = 600.0
    max_jobs: int | None = None
    max_memory: int | None = None
    max_crashes: int | None = 7
    crash_window: float = 60.0
    connect_timeout: float | None = None

    def __post_init__(self) -> None:
        for name, unit in (("max_jobs", "jobs"), ("max_memory", "MiB"), ("max_crashes", "crashes")):
            if getattr(self, name) is not None:
                check_count(name, unit, getattr(self, name))
        for name in ("grace", "connect_timeout"):
            if getattr(self, name) is not None:
                check_seconds(name, getattr(self, name))
        check_seconds("crash_window", self.crash_window)
