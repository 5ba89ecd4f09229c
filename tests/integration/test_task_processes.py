"""Tasks whose process dies: killed between two attempts, or ended because they do not end."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing.context import ForkProcess

import pytest

from gearmanny.client import AsyncClient, Progress, SimpleClient
from gearmanny.errors import TaskError
from gearmanny.worker import BaseWorker, task
from tests.servers import PATIENCE, Gearmand, until


class Trying(BaseWorker):
    name = "trying"
    fails = True

    @task(retries=1, backoff=lambda attempt: PATIENCE)
    def task_later(self) -> str:
        self.progress(1, 2)
        if self.fails:
            raise OSError("not yet")
        return "done"

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
        self, own_job_server: Gearmand
    ) -> None:
        call = SimpleClient([own_job_server.host], timeout=PATIENCE)
        with call, running(Doomed, own_job_server) as process:
            with pytest.raises(TaskError) as raised:
                call.trying_endless()
            assert raised.value.type == "gearmanny.errors.TaskTimeLimitExceeded"
            process.join(PATIENCE)
            assert process.exitcode
            assert process.exitcode > 0
