"""The options of a runner: until when its processes live, and those of the workers in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from gearmanny.dispatching.options import DispatchOptions, Keep
from gearmanny.payload.checks import COUNT, PATH, SECONDS, SMALL_COUNT, SWITCH, TIME_LIMIT
from gearmanny.payload.fields import check_options, option, same_as
from gearmanny.working.options import WorkerOptions

STALL_TIMEOUT = 30.0
"""Seconds without a sign of life that are too long for a healthy process."""


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """The options of a `WorkRunner`, which describes them for users.

    Raises:
        InvalidOption: a number is not allowed.
    """

    worker: WorkerOptions
    """The options of the workers in each process."""
    grace: float | None = option(
        600.0,
        SECONDS,
        "seconds to finish the current jobs when told to stop",
        none="as long as it takes",
        metavar="SECONDS",
    )
    max_jobs: int | None = option(
        None, COUNT, "jobs after which a process is recycled", none="never", metavar="N"
    )
    max_memory: int | None = option(
        None,
        COUNT,
        "MiB of resident memory with which a process is recycled",
        none="never",
        metavar="MIB",
    )
    recycle_after_timeout: bool = option(
        True,
        SWITCH,
        "recycle a process that interrupted a task: its time was over, or its job cancelled",
    )
    max_crashes: int | None = option(
        7,
        COUNT,
        "crashes within the crash window after which to give up",
        none="never",
        metavar="N",
    )
    crash_window: float = option(60.0, SECONDS, "seconds within which crashes of one process count")
    max_deaths: int | None = option(
        3,
        SMALL_COUNT,
        "processes that a job may kill, before it is failed instead of run",
        none="any number",
        metavar="N",
    )
    stall_timeout: float | None = option(
        STALL_TIMEOUT,
        TIME_LIMIT,
        "seconds without a sign of life after which a process is named in the log",
        none="never",
        metavar="SECONDS",
    )
    health_file: str | PurePath | None = option(
        None,
        PATH,
        "file that says whether the processes are healthy, for `gearmanny health`",
        none="none is written",
        metavar="FILE",
    )
    dispatch: bool = option(
        True, SWITCH, "hand over recorded jobs that are due, and those that got lost"
    )
    keep: Keep = same_as(DispatchOptions, "keep")
    connect_timeout: float | None = option(
        None,
        SECONDS,
        "seconds from the start within which a job server has to answer",
        none="job servers are waited for",
        metavar="SECONDS",
    )

    @property
    def pulse_timeout(self) -> float | None:
        """Seconds without a sign of life that somebody wants to know of; None if nobody does."""
        if self.stall_timeout is None and self.health_file is not None:
            return STALL_TIMEOUT
        return self.stall_timeout

    def __post_init__(self) -> None:
        check_options(self)
