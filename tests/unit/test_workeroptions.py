"""The options of workers and of runners: checked when they are made, settled for a loop."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.running.options import RunnerOptions
from gearmanny.working.options import WorkerOptions


@dataclass
class Says:
    """A worker, as far as options ask it."""

    prefetch: Any = 1
    concurrency: Any = 1


def test_what_workers_say_counts_where_the_options_say_nothing() -> None:
    settled = WorkerOptions().settled([Says(3, 1), Says(2, 5)])
    assert (settled.prefetch, settled.concurrency) == (2, 5)
    assert settled.capacity == 5


def test_what_the_options_say_counts_first() -> None:
    settled = WorkerOptions(prefetch=7, concurrency=4).settled([Says(3, 9)])
    assert (settled.prefetch, settled.concurrency) == (7, 4)
    assert settled.capacity == 7


def test_settling_changes_nothing_else() -> None:
    options = WorkerOptions(max_packet=9000, verbosity=2)
    settled = options.settled([Says()])
    assert (settled.max_packet, settled.verbosity) == (9000, 2)
    assert options.prefetch is None


def test_without_numbers_a_loop_takes_one_job_at_a_time() -> None:
    assert WorkerOptions().capacity == 1


@pytest.mark.parametrize(
    "worker", [Says(prefetch=0), Says(concurrency=None), Says(concurrency=10**9)]
)
def test_what_a_worker_says_is_checked(worker: Says) -> None:
    with pytest.raises(InvalidOption, match="must be a whole number from 1 to 100000, not"):
        WorkerOptions(prefetch=1, concurrency=1).settled([worker])


@pytest.mark.parametrize(
    "wrong",
    [{"prefetch": 0}, {"concurrency": 1.5}, {"max_packet": 1}, {"tls": 5}, {"records": "jobs.db"}],
)
def test_options_of_workers_are_checked_when_they_are_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        WorkerOptions(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"grace": -1},
        {"max_jobs": 0},
        {"max_memory": "500"},
        {"max_crashes": True},
        {"crash_window": None},
        {"connect_timeout": -0.5},
    ],
)
def test_options_of_a_runner_are_checked_when_they_are_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        RunnerOptions(worker=WorkerOptions(), **wrong)


def test_options_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        WorkerOptions().prefetch = 2  # type: ignore[misc]
