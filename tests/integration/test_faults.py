"""Connections that break, in each way that a network knows."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import JobServerLost, JobServerUnavailable
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, Gearmand, Server, until, workers_of, working
from tools.proxies import Proxy, proxy


class Counting(BaseWorker):
    """Its task runs until it is let go, and counts its runs."""

    name = "counting"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.runs = itertools.count(1)
        self.running = threading.Semaphore(0)
        self.go_on = threading.Event()

    def task_run(self) -> int:
        run = next(self.runs)
        self.running.release()
        assert self.go_on.wait(PATIENCE)
        return run

    def task_echo(self, value: Any) -> Any:
        return value


@pytest.fixture
def worker(gearman_server: Server) -> Iterator[Counting]:
    worker = Counting([gearman_server.host])
    with working(worker):
        yield worker
        worker.go_on.set()


@pytest.fixture
def network(gearman_server: Server) -> Iterator[Proxy]:
    with proxy(gearman_server.port) as made:
        yield made


class TestACallUnderWay:
    @pytest.mark.parametrize("harm", [Proxy.drop, Proxy.half_close], ids=["drop", "half_close"])
    def test_is_told_at_once_and_not_sent_again(
        self, worker: Counting, network: Proxy, harm: Callable[[Proxy], None]
    ) -> None:
        with AsyncClient([network.host]) as client:
            work = client.counting_run()
            assert worker.running.acquire(timeout=PATIENCE)
            harm(network)
            with pytest.raises(JobServerLost, match="may or may not have run"):
                work.get_result(timeout=PATIENCE)
            worker.go_on.set()
            assert client.counting_run().get_result(timeout=PATIENCE) == 2

    @pytest.mark.parametrize("harm", [Proxy.drop, Proxy.half_close], ids=["drop", "half_close"])
    @pytest.mark.parametrize("threads", [1, 5])
    def test_is_sent_again_once_where_that_is_allowed(
        self, worker: Counting, network: Proxy, harm: Callable[[Proxy], None], threads: int
    ) -> None:
        with AsyncClient([network.host]).using(idempotent=True) as client:
            work = client.counting_run()
            assert worker.running.acquire(timeout=PATIENCE)
            with ThreadPoolExecutor(threads) as pool:
                waiting = [pool.submit(work.get_result, PATIENCE) for _ in range(threads)]
                harm(network)
                until(lambda: network.accepted == 2, "the second connection")
                worker.go_on.set()
                assert [future.result() for future in waiting] == [2] * threads
            assert client.counting_run().get_result(timeout=PATIENCE) == 3

    def test_survives_a_restart_of_the_only_server(
        self, worker: Counting, gearman_server: Server
    ) -> None:
        client = SimpleClient([gearman_server.host], timeout=PATIENCE).using(idempotent=True)
        with client, ThreadPoolExecutor(1) as pool:
            call = pool.submit(client.counting_run)
            assert worker.running.acquire(timeout=PATIENCE)
            gearman_server.kill()
            worker.go_on.set()
            gearman_server.start()
            assert call.result() == 2

    def test_goes_to_another_server(self, gearman_server: Server) -> None:
        with Gearmand() as other:
            hosts = [gearman_server.host, other.host]
            worker = Counting(hosts)
            with working(worker), AsyncClient(hosts).using(idempotent=True) as client:
                work = client.counting_run()
                assert worker.running.acquire(timeout=PATIENCE)
                gearman_server.kill()
                worker.go_on.set()
                assert list(client.as_completed([work], timeout=PATIENCE)) == [work]
                assert work.get_result(timeout=0) == 2
                assert str(work._call.line.host) == other.host

    def test_is_found_by_whoever_only_looks(self, worker: Counting, network: Proxy) -> None:
        with AsyncClient([network.host]).using(idempotent=True) as client:
            work = client.counting_run()
            assert worker.running.acquire(timeout=PATIENCE)
            worker.go_on.set()
            network.drop()
            until(work.is_done, "the second run")
            assert client.wait([work], timeout=0) == ({work}, set())
            assert work.get_result() in (1, 2)

    def test_is_told_when_no_server_comes_back(self, gearman_server: Server) -> None:
        client = AsyncClient([gearman_server.host], connect_timeout=0.3)
        with client.using(idempotent=True) as client:
            work = client.counting_run()
            gearman_server.kill()
            with pytest.raises(JobServerUnavailable, match="connection refused"):
                work.get_result(timeout=PATIENCE)
            assert work.is_done()

    def test_ends_with_its_client(self, worker: Counting, network: Proxy) -> None:
        client = AsyncClient([network.host]).using(idempotent=True)
        work = client.counting_run()
        assert worker.running.acquire(timeout=PATIENCE)
        client.close()
        with pytest.raises(JobServerLost, match="closed by this client"):
            work.get_result(timeout=PATIENCE)
        assert network.accepted == 1

    def test_map_goes_on(self, worker: Counting, network: Proxy) -> None:
        with SimpleClient([network.host], timeout=PATIENCE).using(idempotent=True) as client:
            inputs = ({"value": n} for n in range(600))
            for n, result in enumerate(client.map("counting_echo", inputs, window=100)):
                assert result == n
                if n in (150, 400):
                    network.drop()
            assert network.accepted == 3


class TestAWorker:
    @pytest.mark.parametrize("harm", [Proxy.drop, Proxy.half_close], ids=["drop", "half_close"])
    def test_connects_again(
        self, gearman_server: Server, network: Proxy, harm: Callable[[Proxy], None]
    ) -> None:
        with (
            working(Counting([network.host])),
            SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
        ):
            for n in range(3):
                assert client.counting_echo(value=n) == n
                harm(network)
            assert client.counting_echo(value="last") == "last"
            assert workers_of(gearman_server, "counting_echo") == 1

    def test_serves_over_a_slow_network(self, gearman_server: Server, network: Proxy) -> None:
        network.delay = 0.05
        with (
            working(Counting([network.host])),
            SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
        ):
            assert [client.counting_echo(value=n) for n in range(5)] == [0, 1, 2, 3, 4]

    def test_works_within_seconds_when_two_of_three_servers_are_down(self) -> None:
        with Gearmand() as first, Gearmand() as second, Gearmand() as third:
            worker = Counting([first.host, second.host, third.host])
            with working(worker), SimpleClient([third.host], timeout=PATIENCE) as client:
                assert client.counting_echo(value=1) == 1
                for server in (first, second, third):
                    server.kill()
                third.start()
                assert client.counting_echo(value=2) == 2

    def test_leaves_a_connection_that_swallows_its_questions(
        self, gearman_server: Server, network: Proxy
    ) -> None:
        with (
            working(Counting([network.host])),
            SimpleClient([gearman_server.host], timeout=2 * PATIENCE) as client,
        ):
            assert client.counting_echo(value=1) == 1
            network.swallow()
            assert client.counting_echo(value=2) == 2  # although its NOOP is lost
