"""How a call is made: the options that `client.using(…)` changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict

from gearmanny.calling.tracing import check_tracing
from gearmanny.errors import InvalidOption
from gearmanny.payload.checks import SECONDS, SWITCH, WAIT, choice
from gearmanny.payload.headers import Headers, check_headers
from gearmanny.payload.names import check_key
from gearmanny.protocol.client import PRIORITIES

_PRIORITY = choice(*PRIORITIES)

_LATEST = 2**32 - 1
"""Seconds since 1970, in February 2106: what fits into the 32 bits that queues keep it in."""


class OptionsOfUsing(TypedDict, total=False):
    """The options of a call by their names, for type checkers: those of `CallOptions`."""

    timeout: float | None
    background: bool
    idempotent: bool
    priority: Literal["high", "normal", "low"]
    unique: str | None
    at: datetime | None
    delay: float | None
    on_update: Callable[[Any], object] | None
    trace: bool
    recorded: bool
    unique_waiting: str | None
    headers: Headers | None


class CallOptions(NamedTuple):
    """The options of a call. They cannot be changed, only replaced."""

    timeout: float | None = None
    """Seconds that a call waits for its answer; None waits for as long as the job takes."""
    background: bool = False
    """Whether nobody waits for an answer: the job server keeps the job until it is done."""
    idempotent: bool = False
    """Whether a job may run twice: it is sent again when its connection is lost."""
    priority: str = "normal"
    """`"high"`, `"normal"` or `"low"`: which jobs of a function are given out first."""
    unique: str | None = None
    """Key by which equal calls that are under way become one job."""
    at: datetime | None = None
    """When a background job is given out, at the earliest."""
    delay: float | None = None
    """Seconds after the call in which a background job is not given out."""
    on_update: Callable[[Any], object] | None = None
    """Called with every Progress, Data and Warning."""
    trace: bool = False
    """Whether the call is a span of OpenTelemetry, which the worker continues."""
    recorded: bool = True
    """Whether a background job has a record, where the client has records."""
    unique_waiting: str | None = None
    """Key by which equal recorded jobs that wait become one, behind one that runs."""
    headers: Headers | None = None
    """Texts that travel in the record of a job, by their names."""

    def changed(self, has_records: bool = False, /, **changes: Any) -> CallOptions:
        """Returns these options with some of them replaced.

        Args:
            has_records: whether the client has records.
            **changes: the new values.

        Raises:
            InvalidOption: there is no such option, its value is invalid, or it contradicts another.
        """
        unknown = changes.keys() - set(self._fields)
        if unknown:
            raise InvalidOption(
                f"There is no option {', '.join(sorted(unknown))}. "
                f"There are {', '.join(self._fields)}."
            )
        options = self._replace(**changes)
        options._check_values()
        if options.headers is not None:
            options = options._replace(headers=dict(options.headers))  # as they were checked
        options._check_together(options.is_recorded(has_records))
        return options

    def is_recorded(self, has_records: bool) -> bool:
        """Returns whether calls have records.

        Args:
            has_records: whether the client has.
        """
        return has_records and self.background and self.recorded

    def due(self, clock: Callable[[], float]) -> int | None:
        """Returns when a job that is sent now is given out, in seconds since 1970; None for at
        once. Rounded up: never too early.

        Args:
            clock: returns the seconds since 1970.

        Raises:
            InvalidOption: `delay` leads beyond what a job server can keep.
        """
        if self.at is not None:
            return math.ceil(self.at.timestamp())
        if self.delay is None:
            return None
        due = math.ceil(clock() + self.delay)
        if due > _LATEST:
            raise InvalidOption(f"delay={self.delay!r} seconds leads beyond the year 2105.")
        return due

    def _check_values(self) -> None:
        WAIT.check("timeout", self.timeout, optional=True)
        for name in ("background", "idempotent", "trace", "recorded"):
            SWITCH.check(name, getattr(self, name))
        _PRIORITY.check("priority", self.priority)
        if self.unique is not None:
            check_key(self.unique)
        if self.unique_waiting is not None:
            check_key(self.unique_waiting, "unique_waiting")
        if self.trace:
            check_tracing()
        if self.at is not None:
            _check_at(self.at)
        SECONDS.check("delay", self.delay, optional=True)
        if self.headers is not None:
            check_headers(self.headers)
        if self.on_update is not None and not callable(self.on_update):
            raise InvalidOption(f"on_update must be a function, not {self.on_update!r}.")

    def _check_together(self, is_recorded: bool) -> None:
        scheduled = self.at is not None or self.delay is not None
        if self.at is not None and self.delay is not None:
            raise InvalidOption("at and delay both say when the job is due. Give one of them.")
        if scheduled and not self.background:
            raise InvalidOption(
                "Only background jobs are kept for later: add background=True to at or delay."
            )
        if scheduled and self.priority != "normal" and not is_recorded:
            raise InvalidOption(
                "A job server keeps no priority of a job that is due later. Leave priority out."
            )
        if self.background and self.on_update is not None:
            raise InvalidOption(
                "A job server passes no updates of a background job on. Ask status() of "
                "its work object for its progress."
            )
        if self.unique_waiting is not None and not is_recorded:
            raise InvalidOption(
                "unique_waiting is a key of recorded jobs: those in the background, of a client "
                "with records."
            )
        if self.headers is not None and not is_recorded:
            raise InvalidOption(
                "Headers travel in the record of a job, and only background jobs of a client with "
                "records have one. Pass the others what they need as arguments."
            )
        if self.trace and self.unique is not None and not is_recorded:
            raise InvalidOption(
                "The span travels as the unique id of the job, so a call has trace or unique."
            )


def _check_at(at: object) -> None:
    if not isinstance(at, datetime):
        raise InvalidOption(
            f"at must be a datetime, not {at!r}. For seconds from now there is delay."
        )
    if at.utcoffset() is None:
        raise InvalidOption(
            f"at={at} has no time zone, so it is ambiguous. Write "
            "datetime.now(timezone.utc) + timedelta(…), or at.astimezone() for local time."
        )
    if not 0 <= at.timestamp() <= _LATEST:
        raise InvalidOption(f"at={at} is not between 1970 and 2105, where job servers keep time.")
