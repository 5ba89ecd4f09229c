"""Equal calls of a cached task become one job, over every client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gearmanny.aio import AioClient
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import InvalidOption
from gearmanny.interface import Interface, task
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, RunWorker, Server, until


class Reports(BaseWorker):
    name = "reports"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.runs: list[int] = []
        self.go_on = threading.Event()

    @task(cached=True)
    def report(self, year: int, month: int = 1) -> list[int]:
        "Reports a month"
        self.runs.append(year)
        assert self.go_on.wait(PATIENCE)
        return [year, month]

    @task
    def other(self, year: int) -> int:
        self.runs.append(year)
        return year


@pytest.fixture
def worker(gearman_worker: RunWorker) -> Reports:
    worker: Reports = gearman_worker(Reports)
    return worker


def test_equal_calls_are_one_job_over_every_client(
    worker: Reports, gearman_server: Server, gearman_async_client: AsyncClient
) -> None:
    reports = Reports.using(gearman_async_client)
    works = [reports.report(year=2026) for _ in range(10)]
    works += [reports(Reports.report, 2026, month=1)]
    other = reports.report(2026, 2)
    until(lambda: worker.runs, "the job")

    async def call() -> list[int]:
        async with AioClient([gearman_server.host], timeout=PATIENCE) as client:
            # The job is let go when this call has been sent.
            asyncio.get_running_loop().call_later(0, worker.go_on.set)
            return await Reports.using(client).report(2026)

    asyncio.run(call())
    assert [work.get_result(PATIENCE) for work in works] == [[2026, 1]] * 11
    assert other.get_result(PATIENCE) == [2026, 2]
    assert len(worker.runs) <= 3  # the last call may have come when the job had just ended


def test_plain_calls_of_threads_are_one_job(
    worker: Reports, gearman_client: SimpleClient, gearman_async_client: AsyncClient
) -> None:
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(Reports.using(gearman_client).report, 2026) for _ in range(8)]
        until(lambda: worker.runs, "the job")
        # An answered question on the same connections shows that the calls have been sent.
        until(lambda: all(call.running() for call in calls), "the calls")
        worker.go_on.set()
        assert [call.result() for call in calls] == [[2026, 1]] * 8
    assert len(worker.runs) < 8


def test_a_call_has_the_key_that_it_is_given(
    worker: Reports, gearman_async_client: AsyncClient
) -> None:
    works = [
        Reports.using(gearman_async_client.using(unique=unique)).report(year=2026)
        for unique in ("one", "two")
    ]
    worker.go_on.set()
    assert [work.get_result(PATIENCE) for work in works] == [[2026, 1]] * 2
    assert len(worker.runs) == 2


def test_other_tasks_and_arguments_that_cannot_be_told_apart_are_jobs_of_their_own(
    worker: Reports, gearman_client: SimpleClient
) -> None:
    reports = Reports.using(gearman_client)
    assert [reports.other(1), reports.other(1)] == [1, 1]
    assert worker.runs == [1, 1]


def test_the_help_table_says_it(worker: Reports, gearman_client: SimpleClient) -> None:
    table = gearman_client.reports_help()
    assert table["reports_report"]["cached"] is True
    assert "cached" not in table["reports_other"]


def test_an_interface_says_it_for_its_callers(
    worker: Reports, gearman_async_client: AsyncClient
) -> None:
    class Stub(Interface):
        name = "reports"

        @task(cached=True)
        def report(self, year: int, month: int = 1) -> list[int]:
            raise NotImplementedError

    works: list[Any] = [Stub.using(gearman_async_client).report(2026) for _ in range(10)]
    until(lambda: worker.runs, "the job")
    works[-1].status()  # the job server has all of them
    worker.go_on.set()
    assert [work.get_result(PATIENCE) for work in works] == [[2026, 1]] * 10
    assert len(worker.runs) == 1


def test_it_is_true_or_false() -> None:
    make: Callable[..., Any] = task
    with pytest.raises(InvalidOption, match="cached must be True or False"):
        make(cached="yes")
