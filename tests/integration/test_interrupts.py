"""Interrupts, forks and hosts that do not answer: what must not hang, and what must not mix."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import EncodingError, GearmanException, JobServerUnavailable, TaskError
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker, JsonWorker
from tests.support.servers import PATIENCE, Server, until, workers_of, working
from tests.support.workers import Called


# An interrupt may come while a socket is made, or inside a callback of the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["get_result", "is_done"])
def test_an_interrupt_at_any_moment_leaves_a_client_that_works(
    gearman_server: Server, how: str
) -> None:
    class Interrupt(Exception):
        pass

    def interrupt(*_: Any) -> None:
        raise Interrupt

    random_ = random.Random(7)
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with working(Called([gearman_server.host])), AsyncClient([gearman_server.host]) as client:
            assert client.called_echo(value=0).get_result(timeout=PATIENCE) == 0

            # A function of its own: what a signal raises between two turns of a loop, Python 3.13
            # passes by the handlers of the function that the loop is in.
            def call() -> None:
                signal.setitimer(signal.ITIMER_REAL, random_.uniform(5e-6, 8e-4))
                work = client.called_echo(value=-1)
                while how == "is_done" and not work.is_done():
                    pass
                work.get_result(timeout=PATIENCE)
                time.sleep(0.001)  # for an interrupt now: a Condition would not survive it

            for number in range(200):
                with contextlib.suppress(Interrupt, GearmanException):
                    call()
                assert client.called_echo(value=number).get_result(timeout=PATIENCE) == number
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        gc.collect()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_take_the_answer_of_a_client_that_is_gone(
    gearman_server: Server,
) -> None:
    work = AsyncClient([gearman_server.host]).called_echo(value="for the parent")
    child = os.fork()
    if child == 0:
        try:
            work.get_result(timeout=5)
        except GearmanException:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    with working(Called([gearman_server.host])):
        assert work.get_result(timeout=PATIENCE) == "for the parent"
    work._call.line.close()


def test_a_host_that_does_not_answer_keeps_a_worker_from_nothing(
    gearman_server: Server, black_hole: str
) -> None:
    worker = Called([black_hole, gearman_server.host])
    started = time.monotonic()
    with working(worker), SimpleClient([gearman_server.host], timeout=PATIENCE) as client:
        for number in range(20):
            assert client.called_echo(value=number) == number
    # A connect timeout is 5 s: none was waited for, neither at the start nor to stop.
    assert time.monotonic() - started < 4


def test_all_threads_learn_together_that_no_server_answers(black_hole: str) -> None:
    client = SimpleClient([black_hole], connect_timeout=0.5)

    def call(_: int) -> None:
        with pytest.raises(JobServerUnavailable, match="timed out"):
            client.called_echo(value=1)

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(8)))
    assert time.monotonic() - started < 8 * 0.5


def test_several_hosts_share_the_connect_timeout(black_hole: str, gearman_server: Server) -> None:
    hosts = [black_hole, gearman_server.host]
    with (
        working(Called([gearman_server.host])),
        SimpleClient(hosts, timeout=PATIENCE, connect_timeout=0.4) as client,
    ):
        assert client.called_echo(value=1) == 1


def test_a_call_with_a_timeout_ends_when_the_server_takes_nothing(
    gearman_server: Server,
) -> None:
    with AsyncClient([gearman_server.host]) as client:
        assert not client.using(timeout=1).call("nobody").is_done()
        assert gearman_server._process is not None
        os.kill(gearman_server._process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(GearmanException, match="does not take what is sent"):
                client.using(timeout=0.2).call("nobody", text="x" * 30_000_000).get_result()
        finally:
            gearman_server.kill()  # asked to stop with half a packet read, gearmand takes long


def test_a_cancelled_task_is_a_failure_and_kills_no_worker(
    gearman_server: Server, gearman_client: SimpleClient
) -> None:
    class Leaving(BaseWorker):
        name = "leaving"

        def task_loop(self) -> None:
            raise asyncio.CancelledError("left a loop")

    with working(Leaving([gearman_server.host])):
        with pytest.raises(TaskError, match="CancelledError: left a loop"):
            gearman_client.leaving_loop()
        assert "leaving_loop" in gearman_client.leaving_help()


def test_a_job_that_a_hook_left_unanswered_is_a_failure(
    gearman_server: Server, gearman_client: SimpleClient, unique_name: str
) -> None:
    class Silent(JsonWorker):
        def on_job_exception(self, current_job: GearmanJob, exc_info: Any) -> bool:
            return False

    class Worker(BaseWorker):
        name = unique_name
        work_class = Silent

        def task_fail(self) -> None:
            raise ValueError

    with working(Worker([gearman_server.host])):
        for _ in range(2):
            with pytest.raises(TaskError, match="ended the job without an answer"):
                gearman_client.call(f"{unique_name}_fail")


def test_any_of_the_workers_that_share_a_loop_can_stop_it(gearman_server: Server) -> None:
    class Other(Called):
        name = "other"

    shared = JsonWorker([gearman_server.host])
    first, other = Called(gearman_worker=shared), Other(gearman_worker=shared)
    for _ in range(2):  # and it can be started again
        thread = threading.Thread(target=first.start)
        thread.start()
        until(lambda: workers_of(gearman_server, "other_echo") == 1, "the worker being there")
        other.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_payload_that_no_worker_would_accept_is_refused_before_sending() -> None:
    with pytest.raises(EncodingError, match="exceed 268431360"):
        SimpleClient().called_echo(value="x" * (256 * 1024 * 1024))
