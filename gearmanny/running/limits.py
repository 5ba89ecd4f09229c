"""What a runner allows its processes."""

from __future__ import annotations

from dataclasses import dataclass

from gearmanny.payload.checks import check_count, check_seconds


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
