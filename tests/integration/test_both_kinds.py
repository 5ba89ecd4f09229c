"""The behaviour that jobs of plain and of `async def` tasks have in common."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import JobServerLost, TaskError, TaskTimeLimitExceeded
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker, JsonWorker, task
from tests.support.servers import PATIENCE, RunWorker, Server, until, working

LIMIT = 0.2
"""Seconds."""

both = pytest.mark.parametrize("kind", ["plain", "coroutine"])


class Observed(JsonWorker):
    """A work class that overrides what gearman3 lets it override."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls: list[str] = []

    def on_job_execute(self, current_job: GearmanJob) -> Any:
        self.calls.append("execute")
        return super().on_job_execute(current_job)

    def on_job_complete(self, current_job: GearmanJob, job_result: Any) -> Any:
        self.calls.append(f"complete {job_result}")
        if job_result != "unanswered":
            return super().on_job_complete(current_job, job_result)
        return True

    def on_job_exception(self, current_job: GearmanJob, exc_info: Any) -> Any:
        self.calls.append(f"exception {exc_info[0].__name__}")
        return super().on_job_exception(current_job, exc_info)

    def after_job(self) -> bool:
        self.calls.append("after")
        return True


class Both(BaseWorker):
    """Each of its tasks is there twice."""

    name = "both"
    work_class = Observed

    def setUp(self) -> None:
        self.attempts: list[int] = []
        self.interrupted: list[tuple[int, bool]] = []
        self.hooks = (*self.hooks, self.note_interruption)

    @contextlib.contextmanager
    def note_interruption(self, job: GearmanJob) -> Iterator[None]:
        try:
            yield
        finally:
            self.interrupted.append((job.attempt, job.interrupted))

    def fail(self) -> None:
        self.attempts.append(self.job.attempt)
        raise OSError("not now")

    @task(retries=3, backoff=1000)
    def task_fail_plain(self) -> None:
        self.fail()

    @task(retries=3, backoff=1000)
    async def task_fail_coroutine(self) -> None:
        self.fail()

    def task_return_plain(self, value: Any) -> Any:
        return value

    async def task_return_coroutine(self, value: Any) -> Any:
        return value

    def task_raise_plain(self) -> None:
        raise LookupError

    async def task_raise_coroutine(self) -> None:
        raise LookupError

    @task(retries=1, backoff=0, timeout=LIMIT, retry_on=(OSError, TaskTimeLimitExceeded))
    def task_slow_plain(self) -> str:
        if self.job.attempt == 1:
            with contextlib.suppress(TaskTimeLimitExceeded):
                while True:
                    pass
            raise OSError
        return "in time"

    @task(retries=1, backoff=0, timeout=LIMIT, retry_on=(OSError, TaskTimeLimitExceeded))
    async def task_slow_coroutine(self) -> str:
        if self.job.attempt == 1:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(PATIENCE)
            raise OSError
        return "in time"

    def task_stream_plain(self) -> Iterator[int]:
        yield from range(3)

    async def task_stream_coroutine(self) -> AsyncIterator[int]:
        for number in range(3):
            yield number


def calls_of(worker: BaseWorker) -> list[str]:
    calls: list[str] = worker.gearman_worker.calls
    return calls


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.action for r in caplog.records if r.action.startswith("job_")]


@both
def test_a_job_whose_server_was_killed_between_two_attempts_is_given_up_at_once(
    gearman_server: Server,
    gearman_async_client: AsyncClient,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    caplog.set_level(logging.INFO, "gearmanny.worker")
    worker = Both([gearman_server.host])
    with working(worker):
        work = gearman_async_client.submit(f"both_fail_{kind}")
        until(lambda: "job_retried" in actions(caplog), "the first attempt")
        gearman_server.kill()
        with pytest.raises(JobServerLost):
            work.get_result(timeout=PATIENCE)
        until(lambda: "job_given_back" in actions(caplog), "the job given up")
        gearman_server.start()
        returned = gearman_async_client.submit(f"both_return_{kind}", value=1)
        assert returned.get_result(timeout=PATIENCE) == 1
    assert worker.attempts == [1]
    assert actions(caplog) == ["job_retried", "job_given_back", "job_answered"]
    assert calls_of(worker) == ["execute", "execute", "complete 1", "after"]


@both
def test_a_worker_that_stops_says_of_no_job_that_it_is_tried_again(
    gearman_server: Server, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.INFO, "gearmanny.worker")

    class Stopping(Both):
        def fail(self) -> None:
            self.stop()
            super().fail()

    worker = Stopping([gearman_server.host])
    with working(worker), AsyncClient([gearman_server.host]) as client:
        client.using(background=True).submit(f"both_fail_{kind}")
        until(lambda: actions(caplog), "the end of the job")
    assert actions(caplog) == ["job_given_back"]
    assert calls_of(worker) == ["execute"]


@both
def test_a_work_class_is_asked_about_every_job(
    gearman_worker: RunWorker, gearman_client: SimpleClient, kind: str
) -> None:
    worker = gearman_worker(Both)
    assert gearman_client.call(f"both_return_{kind}", value=7) == 7
    with pytest.raises(TaskError, match="LookupError"):
        gearman_client.call(f"both_raise_{kind}")
    until(lambda: len(calls_of(worker)) == 6, "what is done after the last job")
    assert calls_of(worker) == [
        *("execute", "complete 7", "after"),
        *("execute", "exception LookupError", "after"),
    ]


@both
def test_a_job_that_its_worker_does_not_answer_has_failed(
    gearman_worker: RunWorker, gearman_client: SimpleClient, kind: str
) -> None:
    gearman_worker(Both)
    with pytest.raises(TaskError, match="its worker ended the job without an answer"):
        gearman_client.call(f"both_return_{kind}", value="unanswered")


@both
def test_a_job_knows_that_its_time_limit_struck_until_the_next_attempt(
    gearman_worker: RunWorker, gearman_client: SimpleClient, kind: str
) -> None:
    worker = gearman_worker(Both)
    assert gearman_client.call(f"both_slow_{kind}") == "in time"
    assert worker.interrupted == [(1, True), (2, False)]


@both
def test_nothing_is_kept_of_a_job_that_was_answered(
    gearman_worker: RunWorker, gearman_client: SimpleClient, kind: str
) -> None:
    worker = gearman_worker(Both)
    assert gearman_client.call(f"both_stream_{kind}") == [0, 1, 2]
    (handler,) = worker.gearman_worker.handler_to_connection_map
    assert handler.link.data_sent == {}


@both
def test_a_job_class_without_a_place_for_the_attempt_has_the_others(
    gearman_worker: RunWorker, gearman_client: SimpleClient, kind: str
) -> None:
    class Counted(GearmanJob):  # type: ignore[misc]
        attempt = property(lambda self: 0)

    class CountedWorker(JsonWorker):
        job_class = Counted

    class Worker(BaseWorker):
        name = "counted"
        work_class = CountedWorker

        def task_function_plain(self) -> list[object]:
            return [self.job.function, self.job.attempt, self.job.interrupted]

        async def task_function_coroutine(self) -> list[object]:
            return self.task_function_plain()

    gearman_worker(Worker)
    function = f"counted_function_{kind}"
    assert gearman_client.call(function) == [function, 0, False]


def test_a_failure_is_not_logged_as_an_answer_while_others_fail(
    gearman_worker: RunWorker,
    gearman_async_client: AsyncClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gearmanny.worker")
    began, go_on, failed = threading.Event(), threading.Event(), threading.Event()

    class Waits(JsonWorker):
        def on_job_exception(self, current_job: GearmanJob, exc_info: Any) -> Any:
            super().on_job_exception(current_job, exc_info)
            go_on.set()
            assert failed.wait(PATIENCE)

    class Worker(BaseWorker):
        name = "two"
        work_class = Waits
        concurrency = 2

        async def task_first(self) -> None:
            began.set()
            while not go_on.is_set():
                await asyncio.sleep(0.01)
            raise SystemExit

        def task_second(self) -> None:
            raise ValueError

    gearman_worker(Worker)
    first = gearman_async_client.submit("two_first")
    assert began.wait(PATIENCE)
    second = gearman_async_client.submit("two_second")
    for work in (first, second):
        with pytest.raises(TaskError):
            work.get_result(timeout=PATIENCE)
        failed.set()
    assert gearman_async_client.two_help().get_result(timeout=PATIENCE)
    assert sorted(actions(caplog)) == ["job_answered", "job_failed", "job_failed"]


def test_an_interrupt_of_a_coroutine_is_not_kept_waiting_by_a_task_that_waits(
    gearman_server: Server, gearman_async_client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Worker(Both):
        concurrency = 2

        def setUp(self) -> None:
            super().setUp()
            self.go_on = threading.Event()

        async def task_interrupt(self) -> None:
            while not self.go_on.is_set():
                await asyncio.sleep(0.01)
            raise KeyboardInterrupt

    worker = Worker([gearman_server.host])
    interrupted = threading.Event()

    def start() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            worker.start()
            return
        interrupted.set()

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    background = gearman_async_client.using(background=True)
    background.submit("both_interrupt")
    background.submit("both_fail_plain")
    until(lambda: "job_retried" in actions(caplog), "the first attempt")
    worker.go_on.set()
    assert interrupted.wait(PATIENCE)
    thread.join(PATIENCE)
