"""Where job servers are: IPv6, unix sockets, black holes, and peers that vanish."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gearmanny.admin import JobServer
from gearmanny.client import SimpleClient
from gearmanny.errors import JobServerUnavailable
from tests.support.clients import MakeClient
from tests.support.servers import PATIENCE, Gearmand, Server, free_port, until, working
from tests.support.tls import Authority
from tests.support.workers import Called
from tools.proxies import Proxy, proxy

VANISHED = 30
"""Seconds in which a peer that vanished has to be noticed."""


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


Meet = Callable[..., None]


@pytest.fixture
def meet(make: MakeClient) -> Meet:
    """Lets a client of each kind, a worker and a question meet at a job server."""

    def meet(host: str, tls: Any = None) -> None:
        with working(Called([host], tls=tls)):
            client = make(host, timeout=PATIENCE, tls=tls)
            assert client.called_echo(value="hé") == "hé"
            assert client.submit("nobody").cancel()
            assert JobServer(host, tls=tls).version()

    return meet


@pytest.mark.skipif(not has_ipv6(), reason="there is no ::1 here")
class TestIPv6:
    def test_clients_and_workers_meet(self, meet: Meet) -> None:
        with Gearmand(address="::1") as server:
            assert server.host == f"[::1]:{server.port}"
            meet(server.host)

    def test_a_certificate_may_name_the_address(
        self, gearman_server: Server, authority: Authority, meet: Meet
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

    def test_clients_and_workers_meet(self, gearman_server: Server, path: str, meet: Meet) -> None:
        with proxy(gearman_server.port, address=path) as running:
            assert running.host == f"unix:{path}"
            meet(running.host)

    def test_under_tls_the_authority_counts_and_not_the_name(
        self, gearman_server: Server, authority: Authority, path: str, meet: Meet
    ) -> None:
        with proxy(
            gearman_server.port, authority.context("whoever.example"), address=path
        ) as running:
            meet(running.host, {"ca": authority.file})
            with pytest.raises(JobServerUnavailable, match="its certificate is not trusted"):
                JobServer(running.host, tls=True).version()

    def test_a_context_that_wants_a_name_is_told(
        self, gearman_server: Server, authority: Authority, path: str, meet: Meet
    ) -> None:
        context = ssl.create_default_context(cafile=authority.file)
        with proxy(
            gearman_server.port, authority.context("whoever.example"), address=path
        ) as running:
            with pytest.raises(JobServerUnavailable, match="set its check_hostname to False"):
                JobServer(running.host, tls=context).version()
            context.check_hostname = False
            meet(running.host, context)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (f"localhost:{free_port()}", "connection refused"),
        (f"[::1]:{free_port()}", "connection refused|address"),
        (f"{'x' * 64}.example", "too long"),
        ("unix:/no/such/socket", "no such file or directory"),
    ],
    ids=["IPv4", "IPv6", "too long", "unix"],
)
def test_why_there_is_no_connection_is_told(make: MakeClient, host: str, reason: str) -> None:
    with pytest.raises(JobServerUnavailable, match=rf"\(.*({reason})"):
        make(host).call("nobody")


def test_a_host_that_does_not_answer_costs_the_connect_timeout(
    make: MakeClient, black_hole: str
) -> None:
    started = time.monotonic()
    with pytest.raises(JobServerUnavailable, match=r"127\.0\.0\.1:\d+ \(timed out\)"):
        make(black_hole, connect_timeout=0.2).call("nobody")
    assert time.monotonic() - started < PATIENCE / 2


def test_a_name_that_cannot_be_one_keeps_a_worker_from_nothing(
    gearman_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    impossible = f"{'x' * 64}.example"
    with (
        working(Called([impossible, gearman_server.host])),
        SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
    ):
        assert client.called_echo(value=1) == 1
        until(lambda: f"{impossible}:4730 is away" in caplog.text, "the warning")


def test_a_black_hole_costs_one_connect_timeout_and_not_one_a_call(
    make: MakeClient, gearman_server: Server, black_hole: str
) -> None:
    with working(Called([gearman_server.host])):
        client = make(black_hole, gearman_server.host, timeout=PATIENCE, connect_timeout=4)
        started = time.monotonic()
        assert [client.called_echo(value=n) for n in range(20)] == [*range(20)]
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
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as sock:
                    if sock.getpeername()[1:2] == (port,):
                        yield sock


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="asks Linux")
@pytest.mark.parametrize("who", ["worker", "client"])
def test_a_peer_that_vanished_is_noticed_within_half_a_minute(
    listening: tuple[Proxy, Any], who: str
) -> None:
    running, tls = listening
    client = SimpleClient([running.host], timeout=PATIENCE, tls=tls)
    with working(Called([running.host], tls=tls)), client:
        assert client.called_echo(value=1) == 1
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
