"""Where job servers are: IPv6, unix sockets, black holes, and peers that vanish."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gearmanny.admin import JobServer
from gearmanny.client import SimpleClient
from gearmanny.errors import JobServerUnavailable
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, Gearmand, Server, until, working
from tests.support.tls import Authority
from tools.proxies import Proxy, proxy

VANISHED = 30
"""Seconds in which a peer that vanished has to be noticed."""


class Near(BaseWorker):
    name = "near"

    def task_echo(self, value: Any) -> Any:
        return value


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


def meet(host: str, tls: Any = None) -> None:
    """Lets a client, a worker and a question meet at a job server."""
    with (
        working(Near([host], tls=tls)),
        SimpleClient([host], timeout=PATIENCE, tls=tls) as client,
    ):
        assert client.near_echo(value="hé") == "hé"
        assert JobServer(host, tls=tls).version()


@pytest.mark.skipif(not has_ipv6(), reason="there is no ::1 here")
class TestIPv6:
    def test_clients_and_workers_meet(self) -> None:
        with Gearmand(address="::1") as server:
            assert server.host == f"[::1]:{server.port}"
            meet(server.host)

    def test_a_certificate_may_name_the_address(
        self, gearman_server: Server, authority: Authority
    ) -> None:
        with proxy(gearman_server.port, authority.context("::1"), address=("::1", 0)) as running:
            meet(running.host, {"ca": authority.file})
        with (
            proxy(gearman_server.port, authority.context("::2"), address=("::1", 0)) as running,
            pytest.raises(JobServerUnavailable, match="not trusted: IP address mismatch"),
        ):
            JobServer(running.host, tls={"ca": authority.file}).version()


class TestUnixSockets:
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        return str(tmp_path / "job server.sock")

    def test_clients_and_workers_meet(self, gearman_server: Server, path: str) -> None:
        with proxy(gearman_server.port, address=path) as running:
            assert running.host == f"unix:{path}"
            meet(running.host)

    def test_under_tls_the_authority_counts_and_not_the_name(
        self, gearman_server: Server, authority: Authority, path: str
    ) -> None:
        with proxy(
            gearman_server.port, authority.context("whoever.example"), address=path
        ) as running:
            meet(running.host, {"ca": authority.file})
            with pytest.raises(JobServerUnavailable, match="its certificate is not trusted"):
                JobServer(running.host, tls=True).version()

    def test_a_context_that_wants_a_name_is_told(
        self, gearman_server: Server, authority: Authority, path: str
    ) -> None:
        context = ssl.create_default_context(cafile=authority.file)
        with proxy(
            gearman_server.port, authority.context("whoever.example"), address=path
        ) as running:
            with pytest.raises(JobServerUnavailable, match="set its check_hostname to False"):
                JobServer(running.host, tls=context).version()
            context.check_hostname = False
            meet(running.host, context)

    def test_a_path_that_leads_nowhere_is_told(self, path: str) -> None:
        with pytest.raises(JobServerUnavailable, match=r"unix:.* \(no such file or directory\)"):
            SimpleClient([f"unix:{path}"]).call("nobody")


def test_a_name_that_cannot_be_one_is_unreachable_and_keeps_a_worker_from_nothing(
    gearman_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    impossible = f"{'x' * 64}.example"
    with pytest.raises(JobServerUnavailable, match="too long"):
        SimpleClient([impossible]).call("nobody")
    with (
        working(Near([impossible, gearman_server.host])),
        SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
    ):
        assert client.near_echo(value=1) == 1
        until(lambda: f"{impossible}:4730 is away" in caplog.text, "the warning")


def test_a_black_hole_costs_one_connect_timeout_and_not_one_a_call(gearman_server: Server) -> None:
    with socket.socket() as hole, socket.socket() as filler:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        filler.connect(hole.getsockname())
        hosts = ["127.0.0.1:%d" % hole.getsockname()[1], gearman_server.host]
        with (
            working(Near([gearman_server.host])),
            SimpleClient(hosts, timeout=PATIENCE, connect_timeout=4) as client,
        ):
            started = time.monotonic()
            assert [client.near_echo(value=n) for n in range(20)] == [*range(20)]
            # Half of the time belongs to each host; ten of the calls were the black hole's turn.
            assert 2 <= time.monotonic() - started < 2 * 5


@pytest.fixture(params=["plain", "TLS"])
def listening(
    request: pytest.FixtureRequest, gearman_server: Server, authority: Authority
) -> Iterator[tuple[Proxy, Any]]:
    context = authority.context("127.0.0.1") if request.param == "TLS" else None
    with proxy(gearman_server.port, context) as running:
        yield running, {"ca": authority.file} if context else None


def sockets_to(port: int) -> Iterator[socket.socket]:
    """The sockets of this process that are connected to a port."""
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(descriptor))) as sock:
            if sock.getpeername()[1:2] == (port,):
                yield sock


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="asks Linux")
@pytest.mark.parametrize("who", ["worker", "client"])
def test_a_peer_that_vanished_is_noticed_within_half_a_minute(
    listening: tuple[Proxy, Any], who: str
) -> None:
    running, tls = listening
    client = SimpleClient([running.host], timeout=PATIENCE, tls=tls)
    with working(Near([running.host], tls=tls)), client:
        assert client.near_echo(value=1) == 1
        if who == "worker":
            client.close()
        found = 0
        for sock in sockets_to(int(running.named("").removeprefix(":"))):
            found += 1
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle, interval, probes = (
                sock.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert idle + interval * probes <= VANISHED
            unacknowledged = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert 0 < unacknowledged <= VANISHED * 1000
        assert found == (1 if who == "worker" else 2)
