"""The options of a dispatcher."""

from __future__ import annotations

from dataclasses import dataclass

from gearmanny.net.hosts import HOSTS, Host, parse_hosts
from gearmanny.net.tls import TLS
from gearmanny.payload.checks import COUNT, SECONDS
from gearmanny.payload.fields import check_options, option
from gearmanny.records.contract import MAX_DEATHS

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
    keep: float | None = option(
        7 * 86400.0,
        SECONDS,
        "seconds for which the records of jobs that have ended are kept",
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
    def deaths_allowed(self) -> int:
        """The number of deaths with which a job fails."""
        return _EVER if self.max_deaths is None else self.max_deaths
