"""Clients on a real gearmand: waiting, timing out, losing the server, threads and forks."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gearmanny.client import AsyncClient, SimpleClient, WorkResult
from gearmanny.errors import (
    EncodingError,
    InvalidOption,
    InvalidTask,
    JobServerError,
    JobServerLost,
    JobServerUnavailable,
    ProtocolError,
    TaskError,
    TaskTimeout,
)
from gearmanny.testing import running
from gearmanny.worker import BaseWorker
from tests.servers import PATIENCE, RunWorker, Server, free_port, until


class Slow(BaseWorker):
    name = "slow"
    gate = threading.Event()

    def task_pass(self, value: Any = None) -> Any:
        assert self.gate.wait(PATIENCE)
        return value

    def task_echo(self, value: Any) -> Any:
        return value


@pytest.fixture
def workers(gearman_worker: RunWorker) -> None:
    for _ in range(2):
        gearman_worker(Slow)


@pytest.fixture
def gate(workers: None) -> Iterator[threading.Event]:
    """What slow_pass() waits for."""
    Slow.gate.clear()
    yield Slow.gate
    Slow.gate.set()


@pytest.mark.usefixtures("workers")
class TestWorkObjects:
    def test_is_done_turns_true_without_anybody_waiting(
        self, gearman_async_client: AsyncClient, gate: threading.Event
    ) -> None:
        work = gearman_async_client.slow_pass(value=1)

        assert not work.is_done()
        gate.set()
        until(work.is_done, "is_done()")
        assert work.get_result(timeout=0) == 1

    def test_a_result_can_be_had_twice(self, gearman_async_client: AsyncClient) -> None:
        work = gearman_async_client.slow_echo(value={"a": [1]})
        assert work.get_result() == work.get_result() == {"a": [1]}

    def test_results_can_be_had_in_any_order(self, gearman_async_client: AsyncClient) -> None:
        works = [gearman_async_client.slow_echo(value=number) for number in range(50)]
        assert [work.get_result(timeout=20) for work in reversed(works)] == [*range(50)][::-1]

    def test_a_timeout_leaves_the_job_to_be_waited_for_again(
        self, gearman_async_client: AsyncClient, gate: threading.Event
    ) -> None:
        work = gearman_async_client.slow_pass(value="late")

        with pytest.raises(TaskTimeout) as caught:
            work.get_result(timeout=0.05)
        assert isinstance(caught.value, TimeoutError)
        assert "2 worker(s) offer it; 1 of its jobs run" in str(caught.value)
        gate.set()
        assert work.get_result(timeout=20) == "late"

    def test_another_job_is_answered_while_one_is_waited_for(
        self, gearman_async_client: AsyncClient, gate: threading.Event
    ) -> None:
        held = gearman_async_client.slow_pass()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(held.get_result, 20)
            assert gearman_async_client.slow_echo(value=5).get_result(timeout=20) == 5
            gate.set()
            assert waiting.result(PATIENCE) is None

    def test_a_bad_timeout_is_refused(self, gearman_async_client: AsyncClient) -> None:
        work = gearman_async_client.slow_echo(value=1)
        for bad in (-1, "5", float("nan")):
            with pytest.raises(InvalidOption, match="number of seconds"):
                work.get_result(timeout=bad)


class TestNames:
    def test_underscored_names_never_call_the_server(self) -> None:
        nobody = SimpleClient([f"127.0.0.1:{free_port()}"])
        with pytest.raises(AttributeError, match="'SimpleClient' object has no attribute '_repr"):
            nobody._repr_html_  # noqa: B018
        for twin in (copy.copy(nobody), copy.deepcopy(nobody), pickle.loads(pickle.dumps(nobody))):
            assert repr(twin) == repr(nobody)

    def test_positional_arguments_are_told_to_be_keywords(
        self, gearman_client: SimpleClient
    ) -> None:
        with pytest.raises(TypeError, match=r"slow_echo\(\) takes keyword arguments only"):
            gearman_client.slow_echo(5)

    @pytest.mark.usefixtures("workers")
    def test_arguments_may_have_any_name(self, gearman_client: SimpleClient) -> None:
        with pytest.raises(TaskError, match="unexpected arguments: 'self', 'function'"):
            gearman_client.call("slow_echo", value=1, self=2, function=3)

    @pytest.mark.parametrize("name", ["", "a b", "a\0b", "x" * 513])
    def test_a_name_that_cannot_travel_is_refused_before_sending(self, name: str) -> None:
        with pytest.raises(InvalidTask):
            SimpleClient([f"127.0.0.1:{free_port()}"]).call(name)

    def test_arguments_that_cannot_be_encoded_are_refused_before_sending(self) -> None:
        with pytest.raises(EncodingError, match=r"echo\(\): .* cannot encode the argument 'value'"):
            SimpleClient([f"127.0.0.1:{free_port()}"]).slow_echo(value=object())


class TestServers:
    def test_a_function_without_workers_is_told_from_a_slow_one(
        self, gearman_server: Server, gearman_client: SimpleClient
    ) -> None:
        with pytest.raises(TaskTimeout) as caught:
            gearman_client.using(timeout=0.1).nobody_home()
        assert str(caught.value) == (
            f"No answer from nobody_home() within 0.1 s. No worker offers it on "
            f"{gearman_server.host}. Start one that does, or look whether the name and the host "
            "are right."
        )

    def test_no_server_is_told_by_host(self) -> None:
        hosts = [f"127.0.0.1:{free_port()}", f"localhost:{free_port()}"]
        with pytest.raises(JobServerUnavailable) as caught:
            SimpleClient(hosts).slow_echo(value=1)
        assert isinstance(caught.value, ConnectionError)
        assert set(caught.value.failures) == set(hosts)
        for host in hosts:
            assert f"{host} (connection refused)" in str(caught.value)

    def test_a_host_that_does_not_answer_costs_the_connect_timeout(self) -> None:
        # A full backlog is a black hole: further connections are neither accepted nor refused.
        with socket.socket() as hole, socket.socket() as filler:
            hole.bind(("127.0.0.1", 0))
            hole.listen(0)
            filler.connect(hole.getsockname())
            host = "127.0.0.1:%d" % hole.getsockname()[1]
            started = time.monotonic()
            with pytest.raises(JobServerUnavailable, match=r"127\.0\.0\.1:\d+ \(timed out\)"):
                SimpleClient([host], connect_timeout=0.2).slow_echo(value=1)
            assert time.monotonic() - started < PATIENCE / 2

    @pytest.mark.usefixtures("workers")
    def test_calls_go_to_a_server_that_is_up(self, gearman_server: Server) -> None:
        hosts = [f"127.0.0.1:{free_port()}", gearman_server.host]
        with SimpleClient(hosts, timeout=20) as client:
            assert [client.slow_echo(value=n) for n in range(4)] == [0, 1, 2, 3]

    def test_calls_rotate_over_the_servers(
        self, gearman_server: Server, second_server: Server
    ) -> None:
        hosts = [gearman_server.host, second_server.host]
        with running(Slow(hosts)), AsyncClient(hosts) as client:
            works = [client.slow_echo(value=n) for n in range(4)]
            assert [work.get_result(timeout=20) for work in works] == [0, 1, 2, 3]
            assert [str(work._call.line.host) for work in works] == hosts * 2

    def test_the_first_call_after_a_restart_works(
        self, gearman_server: Server, gearman_client: SimpleClient, gearman_worker: RunWorker
    ) -> None:
        gearman_worker(Slow)
        assert gearman_client.slow_echo(value=1) == 1
        gearman_server.stop()
        gearman_server.start()
        assert gearman_client.slow_echo(value=2) == 2

    def test_a_job_that_nobody_waits_for_does_not_hide_a_restart(
        self,
        gearman_server: Server,
        gearman_async_client: AsyncClient,
        gearman_worker: RunWorker,
    ) -> None:
        forgotten = gearman_async_client.call("nobody")
        gearman_server.stop()
        gearman_server.start()
        gearman_worker(Slow)
        assert gearman_async_client.slow_echo(value=1).get_result(timeout=20) == 1
        assert forgotten.is_done()

    def test_a_call_under_way_is_told_that_the_server_went(
        self, gearman_server: Server, gearman_async_client: AsyncClient
    ) -> None:
        works = [gearman_async_client.call("nobody") for _ in range(2)]
        gearman_server.stop()
        for work in works:
            with pytest.raises(JobServerLost, match="may or may not have run"):
                work.get_result(timeout=20)
            assert work.is_done()

    def test_a_refused_job_ends_alone(
        self,
        gearman_server: Server,
        gearman_async_client: AsyncClient,
        gearman_worker: RunWorker,
    ) -> None:
        with socket.create_connection(("127.0.0.1", gearman_server.port)) as admin:
            admin.sendall(b"create function full\r\n")
            admin.recv(100)
            admin.sendall(b"maxqueue full 1\r\n")
            assert admin.recv(100).startswith(b"OK")
        gearman_worker(Slow)
        gearman_async_client.call("full")
        refused = gearman_async_client.call("full")
        assert gearman_async_client.slow_echo(value="good").get_result(timeout=20) == "good"
        with pytest.raises(JobServerError, match=r"QUEUE_ERROR \(Job queue is full\)"):
            refused.get_result(timeout=20)

    def test_what_is_no_job_server_is_refused(self) -> None:
        def serve(server: socket.socket) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1000)

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=serve, args=(server,))
            thread.start()
            client = SimpleClient(["127.0.0.1:%d" % server.getsockname()[1]], timeout=20)
            with pytest.raises(ProtocolError, match="not a Gearman job server"):
                client.slow_echo(value=1)
            client.close()
            thread.join()


def test_a_closed_client_ends_its_jobs_and_can_be_used_again(
    gearman_async_client: AsyncClient, gate: threading.Event
) -> None:
    with ThreadPoolExecutor(1) as pool:
        held = gearman_async_client.slow_pass()
        waiting = pool.submit(held.get_result, 20)
        gearman_async_client.close()
        with pytest.raises(JobServerLost, match="closed by this client"):
            waiting.result(PATIENCE)
    assert gearman_async_client.slow_echo(value=1).get_result(timeout=20) == 1


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("kind", [SimpleClient, AsyncClient])
def test_one_client_serves_many_threads(gearman_server: Server, kind: Any) -> None:
    def calls(thread: int) -> bool:
        for number in range(500):
            value = [thread, number]
            answer = client.slow_echo(value=value)
            if isinstance(answer, WorkResult):
                answer = answer.get_result(timeout=20)
            if answer != value:
                return False
        return True

    with kind([gearman_server.host], timeout=20) as client, ThreadPoolExecutor(16) as pool:
        assert all(pool.map(calls, range(16)))


@pytest.mark.usefixtures("workers")
def test_work_objects_may_be_waited_for_by_other_threads(gearman_async_client: AsyncClient) -> None:
    works = [gearman_async_client.slow_echo(value=number) for number in range(64)]
    with ThreadPoolExecutor(16) as pool:
        twice = list(pool.map(lambda work: work.get_result(timeout=20), works * 2))
    assert twice == [*range(64)] * 2


def call_often(client: SimpleClient, name: str, answers: Any) -> None:
    """Runs in a child."""
    answers.put((name, [client.slow_echo(value=[name, n])[1] for n in range(50)]))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_client_serves_children_of_multiprocessing(
    gearman_client: SimpleClient, method: str
) -> None:
    assert gearman_client.slow_echo(value="a connection") == "a connection"
    context = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    children = [
        context.Process(target=call_often, args=(gearman_client, name, answers)) for name in "ab"
    ]
    for child in children:
        child.start()
    try:
        assert [gearman_client.slow_echo(value=n) for n in range(50)] == [*range(50)]
        assert dict(answers.get() for _ in children) == {"a": [*range(50)], "b": [*range(50)]}
    finally:
        for child in children:
            child.join(PATIENCE)
            assert child.exitcode == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_client_made_before_a_fork_works_in_both_processes(
    gearman_async_client: AsyncClient, gate: threading.Event
) -> None:
    with gearman_async_client as client:
        held = client.slow_pass(value="parent")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                own = client.slow_echo(value="child").get_result(timeout=20)
                try:
                    held.get_result(timeout=20)
                except JobServerLost as error:
                    own += f" {error.reason}"
                os.write(writer, own.encode())
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader) as answers:
            assert answers.read() == "child it belongs to the process before the fork"
        os.waitpid(child, 0)
        gate.set()
        assert held.get_result(timeout=20) == "parent"
