"""A stale answer of a task is computed again by a background job."""

from __future__ import annotations

import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
from pymongo.collection import Collection

from gearmanny.client import SimpleClient
from gearmanny.helpers.cache_mongodb import cacheBuilder
from gearmanny.helpers.switch import switch
from gearmanny.interface import task
from gearmanny.testing import Sent
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, RunWorker, until

Entries = Collection[dict[str, Any]]

pytestmark = pytest.mark.usefixtures("caches_on")


@pytest.fixture
def entries(mongodb_uri: str, unique_name: str) -> Iterator[Entries]:
    with pymongo.MongoClient(mongodb_uri, tz_aware=True) as client:
        yield client["cachetests"][unique_name]


@pytest.fixture
def make_stale(entries: Entries) -> Callable[[], None]:
    def make_stale() -> None:
        added = datetime.now(UTC) - timedelta(days=1.5)
        entries.update_many({}, {"$set": {"added": added}})

    return make_stale


class Log:
    """The runs of tasks: the number of the run, and the unique id of its job."""

    def __init__(self) -> None:
        self.uniques: list[str] = []
        self.answer: Any = None

    def run(self, worker: BaseWorker) -> int:
        self.uniques.append(worker.job.unique)  # type: ignore[attr-defined]
        if isinstance(self.answer, Exception):
            raise self.answer
        return len(self.uniques)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def reports(mongodb_uri: str, unique_name: str, log: Log) -> type[BaseWorker]:
    cachewrap = cacheBuilder(
        mongodb_uri, "cachetests", unique_name, timeout=10, lease=60, stale_days=1
    )

    class Reports(BaseWorker):
        name = "reports"

        @cachewrap("plain")
        def task_plain(self, n: int, debug: bool = False) -> int:
            return log.run(self)

        @task(timeout=PATIENCE)
        @cachewrap("options")
        def options(self, n: int, **more: Any) -> int:
            return log.run(self)

        @cachewrap("coroutine")
        async def task_coroutine(self, n: int) -> int:
            return log.run(self)

        @cachewrap("stream")
        def task_stream(self, n: int) -> Iterator[int]:
            yield log.run(self)

        @cachewrap("astream")
        async def task_astream(self, n: int) -> AsyncIterator[int]:
            yield log.run(self)

    return Reports


@pytest.mark.parametrize("name", ["plain", "options", "coroutine", "stream", "astream"])
def test_every_kind_of_task(
    reports: type[BaseWorker],
    log: Log,
    make_stale: Callable[[], None],
    gearman_worker: RunWorker,
    gearman_client: SimpleClient,
    name: str,
) -> None:
    gearman_worker(reports)
    more = {"x": 1, "y": [2]} if name == "options" else {}

    def call() -> Any:
        answer = gearman_client.call(f"reports_{name}", n=1, **more)
        return answer[0] if "stream" in name else answer

    assert call() == 1
    make_stale()
    assert call() == 1
    until(lambda: call() == 2, "the next answer")
    assert len(log.uniques) == 2
    assert "refresh-" in log.uniques[1]


def test_of_many_stale_answers_each_is_one_job(
    reports: type[BaseWorker],
    log: Log,
    make_stale: Callable[[], None],
    gearman_worker: RunWorker,
    gearman_client: SimpleClient,
) -> None:
    for _ in range(2):
        gearman_worker(reports)
    for n in range(5):
        gearman_client.reports_plain(n=n)
    make_stale()
    for _, n in itertools.product(range(10), range(5)):
        gearman_client.reports_plain(n=n)
    until(lambda: all(gearman_client.reports_plain(n=n) > 5 for n in range(5)))
    assert len(log.uniques) == 10


def test_a_job_that_fails_is_logged_and_not_repeated_at_every_call(
    reports: type[BaseWorker],
    log: Log,
    make_stale: Callable[[], None],
    gearman_worker: RunWorker,
    gearman_client: SimpleClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gearman_worker(reports)
    assert gearman_client.reports_plain(n=1) == 1
    make_stale()
    log.answer = ValueError("no")
    gearman_client.reports_plain(n=1)
    until(lambda: len(log.uniques) == 2, "the job")
    assert [gearman_client.reports_plain(n=1) for _ in range(20)] == [1] * 20
    assert len(log.uniques) == 2
    actions = [getattr(record, "action", None) for record in caplog.records]
    assert actions.count("cache_refresh_failed") == 1


def test_in_eager_mode_it_is_in_the_outbox(
    reports: type[BaseWorker],
    gearman_cache: None,
    gearman_eager: Callable[..., None],
    gearman_outbox: list[Sent],
    mongodb_uri: str,
    unique_name: str,
) -> None:
    gearman_eager(reports)
    with SimpleClient() as client:
        assert client.reports_plain(n=1) == 1
        with pymongo.MongoClient(mongodb_uri) as mongo:
            assert switch.database
            added = datetime.now(UTC) - timedelta(days=1.5)
            mongo[switch.database][unique_name].update_many({}, {"$set": {"added": added}})
        assert client.reports_plain(n=1) == 1
        until(lambda: client.reports_plain(n=1) == 2, "the next answer")
    assert [sent.function for sent in gearman_outbox] == ["reports_plain"]


def test_outside_of_a_job_a_thread_computes(mongodb_uri: str, unique_name: str) -> None:
    threads: list[str] = []
    cachewrap = cacheBuilder(mongodb_uri, "cachetests", f"{unique_name}b", timeout=10)

    class Plain(BaseWorker):
        name = "plain"

        @cachewrap("outside", stale_days=1)
        def task_run(self) -> int:
            threads.append(threading.current_thread().name)
            return len(threads)

    worker = Plain(["127.0.0.1:1"])
    worker.task_run()
    with pymongo.MongoClient(mongodb_uri) as client:
        added = datetime.now(UTC) - timedelta(days=1.5)
        client["cachetests"][f"{unique_name}b"].update_many({}, {"$set": {"added": added}})
    assert worker.task_run() == 1
    until(lambda: worker.task_run() == 2)
    assert "refresh" in threads[1]
