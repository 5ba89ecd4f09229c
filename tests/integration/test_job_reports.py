"""The information that a task has about its job, and sends to its caller before the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from gearmanny.client import AsyncClient, Progress, SimpleClient
from gearmanny.errors import InvalidOption, TaskError
from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.worker import BaseWorker, Job, task
from gearmanny.working.progress import counted, fitted
from tests.support.servers import PATIENCE, RunWorker


def about(job: Job) -> list[Any]:
    return [job.handle, job.unique, job.function, job.attempt, job.data]


class Reporting(BaseWorker):
    name = "reporting"

    def setUp(self) -> None:
        self.closed = False

    def rows(self, count: int) -> Iterator[int]:
        try:
            yield from range(count)
        finally:
            self.closed = True

    def task_job(self, text: str) -> list[Any]:
        return about(self.job)

    @task(retries=2, backoff=0)
    def task_attempt(self) -> int:
        if self.job.attempt < 3:
            raise OSError
        return self.job.attempt

    def task_job_in_thread(self) -> list[Any]:
        known: list[Any] = []
        thread = threading.Thread(target=lambda: known.extend(about(self.job)))
        thread.start()
        thread.join()
        return [*known[1:], known[0] == self.job.handle]

    def task_ahead(self) -> str:
        self.send_data({"part": 1})
        self.warn("careful")
        return "done"

    def task_count(self, items: list[Any], total: int | None = None) -> list[Any]:
        return [*self.progress(items, total)]

    def task_count_rows(self, count: int) -> list[int]:
        return [*self.progress(self.rows(count))]

    def task_leave(self) -> bool:
        for row in self.progress(self.rows(10), 10):
            if row == 3:
                break
        return self.closed

    def task_fall(self) -> None:
        for _ in self.progress(self.rows(10)):
            raise LookupError("fell")

    def task_long(self, seconds: float) -> int:
        end = time.monotonic() + seconds
        rounds = 0
        for _ in self.progress(iter(lambda: time.monotonic() < end, False)):
            rounds += 1
        return rounds


def updates(client: AsyncClient, function: str, **arguments: Any) -> tuple[list[Any], Any]:
    """Returns what a job told, as (kind, value), and its result."""
    work = client.call(f"reporting_{function}", **arguments)
    told = [(type(update).__name__.lower(), update) for update in work.updates(timeout=PATIENCE)]
    return told, work.get_result(timeout=PATIENCE)


def steps(told: Iterable[tuple[str, Any]]) -> list[tuple[int, int]]:
    return [(update.done, update.total) for kind, update in told if kind == "progress"]


@pytest.fixture
def reporting(gearman_worker: RunWorker) -> Reporting:
    return gearman_worker(Reporting)


def test_a_task_knows_its_job(reporting: Reporting, gearman_client: SimpleClient) -> None:
    handle, unique, function, attempt, data = gearman_client.reporting_job(text="hi")
    assert handle.startswith("H:")
    assert isinstance(unique, str)
    assert (function, attempt, data) == ("reporting_job", 1, {"text": "hi"})
    assert gearman_client.reporting_attempt() == 3


def test_a_thread_of_a_task_knows_its_job(
    reporting: Reporting, gearman_client: SimpleClient
) -> None:
    assert gearman_client.reporting_job_in_thread()[1:] == ["reporting_job_in_thread", 1, {}, True]


def test_any_class_of_jobs_tells_the_same(
    gearman_client: SimpleClient, gearman_worker: RunWorker
) -> None:
    class OwnJob(GearmanJob):  # type: ignore[misc]
        pass

    class Own(GearmanWorker):  # type: ignore[misc]
        job_class = OwnJob
        data_encoder = BaseWorker.work_class.data_encoder

    class Worker(BaseWorker):
        name = "own"
        work_class = Own

        def task_job(self) -> list[Any]:
            return [*about(self.job)[2:], type(self.job).__name__]

    gearman_worker(Worker)
    assert gearman_client.own_job() == ["own_job", 1, {}, "OwnJob"]


def test_data_and_warnings_arrive_ahead(
    reporting: Reporting, gearman_async_client: AsyncClient
) -> None:
    told, result = updates(gearman_async_client, "ahead")
    assert [update.value for _, update in told] == [{"part": 1}, "careful"]
    assert result == "done"


@pytest.mark.parametrize(
    ("items", "total", "expected"),
    [
        ("abc", None, [(0, 3), (3, 3)]),
        ("abc", 9, [(0, 9), (3, 9)]),
        ("", None, [(0, 0)]),
    ],
)
def test_a_loop_tells_where_it_begins_and_ends(
    reporting: Reporting,
    gearman_async_client: AsyncClient,
    items: str,
    total: int | None,
    expected: list[tuple[int, int]],
) -> None:
    told, result = updates(gearman_async_client, "count", items=[*items], total=total)
    assert result == [*items]
    assert (steps(told)[0], steps(told)[-1]) == (expected[0], expected[-1])


def test_the_end_of_a_generator_is_not_known(
    reporting: Reporting, gearman_async_client: AsyncClient
) -> None:
    told, result = updates(gearman_async_client, "count_rows", count=4)
    assert result == [0, 1, 2, 3]
    assert (steps(told)[0], steps(told)[-1]) == ((0, 0), (4, 0))


@pytest.mark.parametrize("function", ["leave", "fall"])
def test_a_loop_that_is_left_early_closes_its_generator_and_tells_no_more(
    reporting: Reporting, gearman_async_client: AsyncClient, function: str
) -> None:
    work = gearman_async_client.call(f"reporting_{function}")
    told = [*work.updates(timeout=PATIENCE)]
    if function == "leave":
        assert work.get_result(timeout=PATIENCE) is True
    else:
        with pytest.raises(TaskError, match="fell"):
            work.get_result(timeout=PATIENCE)
    assert reporting.closed
    assert all(update.done < 4 for update in told if type(update).__name__ == "Progress")


def test_a_loop_tells_at_most_ten_times_a_second(
    reporting: Reporting, gearman_async_client: AsyncClient
) -> None:
    told, rounds = updates(gearman_async_client, "long", seconds=0.95)
    numbers = [done for done, _ in steps(told)]
    assert 2 <= len(numbers) <= 10
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, rounds)
    assert rounds > 100


class Index:
    """A whole number of another type, as NumPy's are."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __index__(self) -> int:
        return self._number


@pytest.mark.parametrize(
    ("done", "total", "arrives"),
    [
        (Index(3), Index(4), Progress(3, 4)),
        (2**32 - 1, 2**32 - 1, Progress(2**32 - 1, 2**32 - 1)),
        (2**39, 2**40, Progress(2**30, 2**31)),
        (10**30, 10**30, Progress(10**30 >> 68, 10**30 >> 68)),
    ],
)
def test_progress_is_made_to_fit(
    done: Any,
    total: Any,
    arrives: Progress,
    gearman_async_client: AsyncClient,
    gearman_worker: RunWorker,
) -> None:
    class Worker(BaseWorker):
        name = "fitted"

        def task_report(self) -> None:
            self.progress(done, total)

    gearman_worker(Worker)
    work = gearman_async_client.fitted_report()
    work.get_result(PATIENCE)
    assert work.progress == arrives


def test_a_range_may_be_longer_than_python_can_count() -> None:
    reports: list[tuple[int, int]] = []
    next(counted(range(0, 2**66, 2), None, lambda *counts: reports.append(counts)))
    assert reports == [(0, 2**65)]


class Many:
    """Something with a length that Python cannot count, and an index only at times, as arrays."""

    def __len__(self) -> int:
        return 2**70

    def __iter__(self) -> Iterator[int]:
        return iter([1])

    def __index__(self) -> int:
        raise TypeError("only of one element")


def test_a_length_that_nobody_can_tell_is_unknown() -> None:
    reports: list[tuple[int, int]] = []
    next(counted(Many(), None, lambda *counts: reports.append(counts)))
    assert reports == [(0, 0)]


@pytest.mark.parametrize("number", [0.5, -1, True, "3", Many()], ids=type)
def test_other_values_are_no_progress(number: Any) -> None:
    with pytest.raises(InvalidOption, match="progress must be a whole number, 0 or more, not"):
        fitted(number, 4)


def test_progress_of_a_number_needs_a_total(
    gearman_client: SimpleClient, gearman_worker: RunWorker
) -> None:
    class Worker(BaseWorker):
        name = "number"

        def task_lonely(self) -> None:
            self.progress(5)  # type: ignore[call-overload]

    gearman_worker(Worker)
    with pytest.raises(
        TaskError, match="progress must be a whole number, 0 or more, not None"
    ) as caught:
        gearman_client.number_lonely()
    assert caught.value.type == "gearmanny.errors.InvalidOption"
