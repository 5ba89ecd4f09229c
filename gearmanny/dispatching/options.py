"""The options of a dispatcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gearmanny.net.hosts import HOSTS, Host, parse_hosts
from gearmanny.net.tls import TLS
from gearmanny.payload.checks import COUNT, PERIOD
from gearmanny.payload.fields import check_options, option
from gearmanny.records.checks import by_state
from gearmanny.records.contract import MAX_DEATHS
from gearmanny.records.states import ENDED, State

Keep = float | None | Mapping[str, float | None]
"""Seconds for which the records of jobs that have ended are kept; None for ever. Or a mapping of
these by state, in which states may be left out."""

KEEP = by_state(PERIOD)

_WEEK = 7 * 86400.0

_EVER = 2**31 - 1
"""More deaths than any job can have."""


@dataclass(frozen=True, kw_only=True)
class DispatchOptions:
    """The options of a dispatcher, beside its store.

    Raises:
        InvalidOption: a number is not allowed.
    """

    hosts: tuple[Host, ...] = tuple(parse_hosts(HOSTS))
    """The job servers."""
    tls: TLS | None = None
    """How they are secured; None for plain connections."""
    runner: str = ""
    """The id of the runner whose processes it looks after; empty if it belongs to none."""
    keep: Keep = option(
        _WEEK,
        KEEP,
        "seconds for which the records of jobs that have ended are kept, or a dict by state",
        none="for ever",
        metavar="SECONDS",
    )
    max_unclaimed: int = option(
        1000,
        COUNT,
        "jobs of one function that may wait at the job servers; the others wait in the database",
        metavar="N",
    )
    max_deaths: int | None = option(
        MAX_DEATHS,
        COUNT,
        "processes that a job may kill, before it is failed instead of run",
        none="any number",
        metavar="N",
    )

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def kept(self) -> dict[State, float]:
        """The seconds for which records are kept, by the states whose records are forgotten."""
        keep = self.keep
        given = keep if isinstance(keep, Mapping) else dict.fromkeys(ENDED, keep)
        kept: dict[State, float | None] = {state: given.get(state, _WEEK) for state in ENDED}
        return {state: seconds for state, seconds in kept.items() if seconds is not None}

    @property
    def deaths_allowed(self) -> int:
        """The number of deaths with which a job fails."""
        return _EVER if self.max_deaths is None else self.max_deaths
