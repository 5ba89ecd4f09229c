"""Tasks that are tried again, and tasks that do not end."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Iterator
from multiprocessing.context import ForkProcess
from typing import Any

import pytest

from gearmanny.client import AsyncClient, Progress, SimpleClient
from gearmanny.errors import TaskError
from gearmanny.worker import BaseWorker, task
from tests.servers import PATIENCE, Gearmand, until, working


class Trying(BaseWorker):
    name = "trying"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.attempts: list[int] = []
        self.failed = threading.Event()

    @task(retries=2, backoff=0)
    def task_until(self, attempt: int) -> int:
        self.attempts.append(self.job.attempt)
        if self.job.attempt < attempt:
            raise OSError(f"attempt {self.job.attempt}")
        return self.job.attempt

    @task(retries=2, retry_on=OSError, backoff=0)
    def task_picky(self) -> None:
        self.attempts.append(self.job.attempt)
        raise LookupError("not worth another attempt")

    @task(retries=2, backoff=0)
    def task_stream(self) -> Iterator[int]:
        self.attempts.append(self.job.attempt)
        yield 1
        raise OSError("after data")

    @task(retries=1, backoff=lambda attempt: PATIENCE)
    def task_later(self) -> str:
        self.failed.set()
        self.progress(self.job.attempt, 2)
        if self.job.attempt == 1 and self.fails:
            raise OSError("not yet")
        return "done"

    fails = True

    @task(timeout=0.1)
    def task_endless(self) -> None:
        while True:
            with contextlib.suppress(BaseException):
                while True:
                    pass


class Healthy(Trying):
    """Another process, where nothing fails."""

    fails = False


class Doomed(Trying):
    timeout_grace = 0.1


@pytest.fixture
def worker(own_job_server: Gearmand) -> Iterator[Trying]:
    worker = Trying([own_job_server.host])
    with working(worker):
        yield worker


@pytest.fixture
def call(own_job_server: Gearmand) -> Iterator[SimpleClient]:
    with SimpleClient([own_job_server.host], timeout=PATIENCE) as client:
        yield client


def test_a_task_is_tried_until_it_succeeds(worker: Trying, call: SimpleClient) -> None:
    assert call.trying_until(attempt=3) == 3
    assert worker.attempts == [1, 2, 3]
    assert call.trying_until(attempt=1) == 1  # the next job begins anew


def test_the_last_failure_is_told(worker: Trying, call: SimpleClient) -> None:
    with pytest.raises(TaskError, match="attempt 3"):
        call.trying_until(attempt=9)
    assert worker.attempts == [1, 2, 3]


@pytest.mark.parametrize("function", ["trying_picky", "trying_stream"])
def test_what_is_not_to_be_tried_again_is_not(
    worker: Trying, call: SimpleClient, function: str
) -> None:
    with pytest.raises(TaskError):
        call.call(function)
    assert worker.attempts == [1]


def test_wrong_arguments_are_not_tried_again(worker: Trying, call: SimpleClient) -> None:
    with pytest.raises(TaskError, match="missing required argument"):
        call.trying_until()
    assert worker.attempts == []


def test_a_worker_that_stops_while_it_waits_gives_the_job_back(own_job_server: Gearmand) -> None:
    worker = Trying([own_job_server.host])
    with AsyncClient([own_job_server.host]) as client:
        with working(worker):
            work = client.trying_later()
            assert worker.failed.wait(PATIENCE)
        assert not work.is_done()
        with working(Healthy([own_job_server.host])):
            assert work.get_result(timeout=PATIENCE) == "done"


@contextlib.contextmanager
def running(worker: type[BaseWorker], server: Gearmand) -> Iterator[ForkProcess]:
    """Runs a worker in a process, until the block ends."""
    process = multiprocessing.get_context("fork").Process(
        target=lambda: worker([server.host]).start()
    )
    process.start()
    try:
        until(lambda: server.workers_of(f"{worker.name}_later"), "the worker")
        yield process
    finally:
        process.kill()
        process.join()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestProcesses:
    def test_a_worker_that_is_killed_while_it_waits_loses_nothing(
        self, own_job_server: Gearmand
    ) -> None:
        with AsyncClient([own_job_server.host]) as client:
            with running(Trying, own_job_server) as process:
                work = client.trying_later()
                assert next(work.updates(timeout=PATIENCE)) == Progress(1, 2)
                process.kill()
            with running(Healthy, own_job_server):
                assert work.get_result(timeout=PATIENCE) == "done"

    def test_a_task_that_does_not_end_is_ended_with_its_process_and_told(
        self, own_job_server: Gearmand, call: SimpleClient
    ) -> None:
        with running(Doomed, own_job_server) as process:
            with pytest.raises(TaskError) as raised:
                call.trying_endless()
            assert raised.value.type == "gearmanny.errors.TaskTimeLimitExceeded"
            process.join(PATIENCE)
            assert process.exitcode
            assert process.exitcode > 0
