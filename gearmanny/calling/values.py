"""The values that callers see while a job runs, and what a job server says of it."""

from __future__ import annotations

import enum
import math
from typing import Any, NamedTuple

from gearmanny.protocol.client import Progressed, StatusReceived


class Progress(NamedTuple):
    """How far a job is, as its worker reported it."""

    done: float
    total: float

    @property
    def fraction(self) -> float | None:
        """From 0 to 1; None when the total is not known."""
        return min(1.0, self.done / self.total) if self.total > 0 else None


class Data(NamedTuple):
    """A part of the result that the worker sent ahead."""

    value: Any


class Warning(NamedTuple):
    """A warning of the worker."""

    value: Any


Update = Progress | Data | Warning


class JobState(enum.StrEnum):
    """The state of a job at its job server."""

    QUEUED = "queued"
    """It waits for a worker, or for its time."""
    RUNNING = "running"
    """A worker has taken it."""
    UNKNOWN = "unknown"
    """It is done, or has failed, or never was: job servers keep no history."""


class JobStatus(NamedTuple):
    """The answer of a job server that was asked for a job."""

    state: JobState
    progress: Progress | None = None
    """The last progress that its worker reported."""
    not_asked: tuple[str, ...] = ()
    """The job servers that could not be asked, `"host:port"`. A job that is unknown to the others
    may be known to these."""


def status_of(event: StatusReceived) -> JobStatus:
    """Returns the state of a job that a job server was asked for.

    Args:
        event: its answer.
    """
    if not event.known:
        return JobStatus(JobState.UNKNOWN)
    progress = progress_of(event)
    # A job server that knows of no progress answers with zeros.
    if progress is not None and progress == (0, 0):
        progress = None
    return JobStatus(JobState.RUNNING if event.running else JobState.QUEUED, progress)


def progress_of(event: Progressed | StatusReceived) -> Progress | None:
    """Returns the progress that an event reports; None where that is not two numbers, as any
    worker may send any text.

    Args:
        event: what the job server passed on.
    """
    try:
        return Progress(_number(event.done), _number(event.total))
    except ValueError:
        return None


def _number(text: bytes) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no progress")
    return int(number) if number.is_integer() else number
