"""The limits of a task, as it says them."""

from __future__ import annotations

from typing import TypedDict, Unpack

from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import SMALL_COUNT
from gearmanny.payload.rates import RATE


class LimitOptions(TypedDict, total=False):
    """The limits of the jobs of a task that have a record. Others do not count, and run at once.

    Attributes:
        max_running: how many run at a time, in all processes together; the others wait in the
            database. None: any number.
        rate: how often one begins: `"10/m"` is at most one every 6 seconds, which is never more
            than 10 within a minute; `"5/s"`, `"100/h"`, `"1/d"`. None: at any time.
        limit_key: an argument: jobs with the same value share the limits, and no others. None: all
            jobs of the task share them.
    """

    max_running: int | None
    rate: str | None
    limit_key: str | None


def checked_limits(**limits: Unpack[LimitOptions]) -> LimitOptions:
    """Returns the limits of a task.

    Raises:
        InvalidOption: one of them is invalid.
    """
    max_running, rate, limit_key = map(limits.get, ("max_running", "rate", "limit_key"))
    SMALL_COUNT.check("max_running", max_running, optional=True)
    RATE.check("rate", rate, optional=True)
    if limit_key is None:
        return limits
    if not isinstance(limit_key, str) or not limit_key.isidentifier():
        raise InvalidOption(f"limit_key must be the name of an argument, not {limit_key!r}.")
    if max_running is None and rate is None:
        raise InvalidOption(
            "limit_key has no effect without a limit. Add max_running=2, for example."
        )
    return limits
