"""Connections that break, in each way that a network knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import JobServerLost
from tests.support.clients import MakeClient
from tests.support.servers import PATIENCE, Gearmand, Server, until, workers_of, working
from tests.support.workers import Called, Gate
from tools.proxies import Proxy


@pytest.fixture
def worker(gearman_server: Server) -> Iterator[None]:
    """One that goes on while its job server is away."""
    with working(Called([gearman_server.host])):
        yield


HARMS = pytest.mark.parametrize("harm", [Proxy.drop, Proxy.half_close], ids=["drop", "half_close"])


class TestACallUnderWay:
    @HARMS
    def test_is_told_at_once_and_not_sent_again(
        self, make: MakeClient, gate: Gate, network: Proxy, harm: Callable[[Proxy], None]
    ) -> None:
        client = make(network.host, timeout=PATIENCE)
        work = client.submit("called_pass")
        gate.wait_for_entry()
        harm(network)
        with pytest.raises(JobServerLost, match="may or may not have run"):
            work.get_result(timeout=PATIENCE)
        gate.opened.set()
        assert client.called_pass() == 2

    @HARMS
    @pytest.mark.parametrize("threads", [1, 5])
    @pytest.mark.usefixtures("worker")
    def test_is_sent_again_once_where_that_is_allowed(
        self, closed_gate: Gate, network: Proxy, harm: Callable[[Proxy], None], threads: int
    ) -> None:
        with AsyncClient([network.host]).using(idempotent=True) as client:
            work = client.called_pass()
            closed_gate.wait_for_entry()
            with ThreadPoolExecutor(threads) as pool:
                waiting = [pool.submit(work.get_result, PATIENCE) for _ in range(threads)]
                harm(network)
                until(lambda: network.accepted == 2, "the second connection")
                closed_gate.opened.set()
                assert [future.result() for future in waiting] == [2] * threads
            assert client.called_pass().get_result(timeout=PATIENCE) == 3

    @pytest.mark.usefixtures("worker")
    def test_survives_a_restart_of_the_only_server(
        self, make: MakeClient, closed_gate: Gate, gearman_server: Server
    ) -> None:
        client = make(gearman_server.host, connect_timeout=PATIENCE).using(idempotent=True)
        work = client.submit("called_pass")
        closed_gate.wait_for_entry()
        gearman_server.kill()
        closed_gate.opened.set()
        gearman_server.start()
        assert work.get_result(timeout=PATIENCE) == 2

    def test_goes_to_another_server(
        self, make: MakeClient, closed_gate: Gate, gearman_server: Server
    ) -> None:
        with Gearmand() as other:
            hosts = [gearman_server.host, other.host]
            with working(Called(hosts)):
                work = make(*hosts).using(idempotent=True).submit("called_pass")
                closed_gate.wait_for_entry()
                gearman_server.kill()
                closed_gate.opened.set()
                assert work.get_result(timeout=PATIENCE) == 2

    @pytest.mark.usefixtures("worker")
    def test_is_found_by_whoever_only_looks(self, closed_gate: Gate, network: Proxy) -> None:
        with AsyncClient([network.host]).using(idempotent=True) as client:
            works = [client.called_pass() for _ in range(2)]
            closed_gate.wait_for_entry()
            closed_gate.opened.set()
            network.drop()
            assert {*client.as_completed(works, timeout=PATIENCE)} == {*works}
            until(works[0].is_done, "the second run")
            assert client.wait(works, timeout=0) == ({*works}, set())
            assert {work.get_result() for work in works} <= {1, 2, 3, 4}

    @pytest.mark.usefixtures("worker")
    def test_ends_with_its_client(
        self, make: MakeClient, closed_gate: Gate, network: Proxy
    ) -> None:
        client = make(network.host).using(idempotent=True)
        work = client.submit("called_pass")
        closed_gate.wait_for_entry()
        client.close()
        with pytest.raises(JobServerLost, match="closed by this client"):
            work.get_result(timeout=PATIENCE)
        assert network.accepted == 1

    @pytest.mark.usefixtures("workers")
    def test_map_goes_on(self, make: MakeClient, network: Proxy) -> None:
        client = make(network.host, timeout=PATIENCE).using(idempotent=True)
        inputs = ({"value": n} for n in range(600))
        for n, result in enumerate(client.map("called_echo", inputs, window=100)):
            assert result == n
            if n in (150, 400):
                network.drop()
        assert network.accepted == 3


class TestAWorker:
    @HARMS
    def test_connects_again(
        self, gearman_server: Server, network: Proxy, harm: Callable[[Proxy], None]
    ) -> None:
        with (
            working(Called([network.host])),
            SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
        ):
            for n in range(3):
                assert client.called_echo(value=n) == n
                harm(network)
            assert client.called_echo(value="last") == "last"
            assert workers_of(gearman_server, "called_echo") == 1

    def test_serves_over_a_slow_network(self, gearman_server: Server, network: Proxy) -> None:
        network.delay = 0.05
        with (
            working(Called([network.host])),
            SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
        ):
            assert [client.called_echo(value=n) for n in range(5)] == [0, 1, 2, 3, 4]

    def test_works_within_seconds_when_two_of_three_servers_are_down(self) -> None:
        with Gearmand() as first, Gearmand() as second, Gearmand() as third:
            worker = Called([first.host, second.host, third.host])
            with working(worker), SimpleClient([third.host], timeout=PATIENCE) as client:
                assert client.called_echo(value=1) == 1
                for server in (first, second, third):
                    server.kill()
                third.start()
                assert client.called_echo(value=2) == 2

    def test_leaves_a_connection_that_swallows_its_questions(
        self, gearman_server: Server, network: Proxy
    ) -> None:
        with (
            working(Called([network.host])),
            SimpleClient([gearman_server.host], timeout=2 * PATIENCE) as client,
        ):
            assert client.called_echo(value=1) == 1
            network.swallow()
            assert client.called_echo(value=2) == 2  # although its NOOP is lost
