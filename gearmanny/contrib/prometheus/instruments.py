"""The hook `metrics` and its instruments."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from gearmanny.errors import RejectJob, TaskTimeLimitExceeded
from gearmanny.helpers import counting
from gearmanny.hooks import never_waits
from gearmanny.vocabulary.gearman_api import GearmanJob

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Seconds. The default buckets are for web requests; jobs take longer."""

_JOBS = Counter(
    "gearmanny_jobs", "Attempts at jobs that ended, by their outcome", ["function", "outcome"]
)
_SECONDS = Histogram(
    "gearmanny_job_seconds", "Seconds that an attempt at a job took", ["function"], buckets=_BUCKETS
)
_IN_PROGRESS = Gauge(
    "gearmanny_jobs_in_progress", "Running tasks", ["function"], multiprocess_mode="livesum"
)

_CACHE = Counter(
    "gearmanny_cache_calls",
    "Calls of cached functions, by how they were answered",
    ["name", "outcome"],
)


def _count_cached(unique_name: str, outcome: counting.Outcome) -> None:
    _CACHE.labels(unique_name, outcome.value).inc()


counting.listeners.append(_count_cached)


@never_waits
@contextmanager
def metrics(job: GearmanJob) -> Iterator[None]:
    """Counts and times a job. As the first hook, it also counts jobs that other hooks reject.

    A job that returns to its queue because its worker is stopped is not counted.

    Args:
        job: the job.

    Returns:
        A context manager for the job.
    """
    function = job.task
    running = _IN_PROGRESS.labels(function)
    running.inc()
    outcome: str | None = "ok"
    started = time.perf_counter()
    try:
        yield
    except BaseException as error:
        outcome = _outcome_of(error)
        raise
    finally:
        seconds = time.perf_counter() - started
        running.dec()
        if outcome is not None:
            _JOBS.labels(function, outcome).inc()
            if outcome != "rejected":
                _SECONDS.labels(function).observe(seconds)


def _outcome_of(error: BaseException) -> str | None:
    if isinstance(error, RejectJob):
        return "rejected"
    if isinstance(error, TaskTimeLimitExceeded):
        return "timed_out"
    if isinstance(error, KeyboardInterrupt):
        return None
    return "failed"
