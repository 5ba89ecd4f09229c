"""Deadlines are kept also where there is always something to do: to read, to send, to wait for."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gearmanny.admin import JobServer
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import (
    GearmanException,
    JobServerLost,
    JobServerUnavailable,
    TaskTimeout,
)
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host
from gearmanny.net.transport import Connection
from gearmanny.worker import BaseWorker
from tests.support.clients import Client, MakeClient
from tests.support.servers import Server, working

SOON = 8
"""Seconds. Without a deadline, what is tested here takes much longer, or for ever."""


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """Fails where the block takes long."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < SOON


class Ticking(BaseWorker):
    name = "ticking"

    def task_ticks(self) -> Iterator[int]:
        yield from range(20_000)


@pytest.fixture
def ticking(make: MakeClient, gearman_server: Server) -> Iterator[Client]:
    with working(Ticking([gearman_server.host])):
        client = make(gearman_server.host, timeout=1)
        yield client
        client.close()  # or the worker would wait for it until it gives up


def take_slowly(items: Iterable[object]) -> None:
    for _ in items:
        time.sleep(0.001)


class TestAConsumerThatIsSlowerThanItsWorker:
    def test_of_a_stream(self, ticking: Client) -> None:
        with soon(), pytest.raises(TaskTimeout, match="faster than they are taken"):
            take_slowly(ticking.stream("ticking_ticks"))

    def test_of_updates(self, ticking: Client) -> None:
        work: Any = ticking.submit("ticking_ticks")
        with soon(), pytest.raises(TaskTimeout, match="faster than they are taken"):
            take_slowly(work.updates(timeout=1))

    def test_of_a_call(self, ticking: Client) -> None:
        slow = ticking.using(on_update=lambda update: time.sleep(0.001))
        with soon(), pytest.raises(TaskTimeout, match="faster than they are taken"):
            slow.call("ticking_ticks")


def serve(serve_one: Callable[[socket.socket], None]) -> contextlib.AbstractContextManager[str]:
    """Runs a server that does the same for every connection; yields its host."""

    @contextlib.contextmanager
    def serving() -> Iterator[str]:
        with ThreadPoolExecutor() as pool, socket.create_server(("127.0.0.1", 0)) as server:
            connections: list[socket.socket] = []

            def one(connection: socket.socket) -> None:
                with contextlib.suppress(OSError), connection:
                    serve_one(connection)

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connections.append(server.accept()[0])
                        pool.submit(one, connections[-1])

            accepting = threading.Thread(target=accept)
            accepting.start()
            try:
                yield "127.0.0.1:%d" % server.getsockname()[1]
            finally:
                server.shutdown(socket.SHUT_RDWR)
                accepting.join()
                for connection in connections:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    return serving()


def flood(connection: socket.socket) -> None:
    """Sends updates of a job that nobody knows, for ever."""
    update = b"H:unknown:1\0x"
    packet = b"\0RES" + struct.pack(">II", 28, len(update)) + update
    while True:
        connection.sendall(packet * 1000)


class TestAServerThatFloods:
    def test_a_call(self, make: MakeClient) -> None:
        with serve(flood) as host, soon(), pytest.raises(TaskTimeout):
            make(host, timeout=0.5).call("nobody")

    def test_the_state_of_a_job(self, make: MakeClient) -> None:
        with serve(flood) as host, soon(), pytest.raises(JobServerUnavailable):
            make(host).status("nobody", timeout=0.5)

    def test_a_look(self) -> None:
        with serve(flood) as host, soon(), AsyncClient([host]) as client:
            assert not client.call("nobody").is_done()

    def test_a_thread_that_waits_beside_the_reader(self) -> None:
        with serve(flood) as host, soon(), AsyncClient([host]) as client:
            works = [client.call("nobody") for _ in range(4)]
            with ThreadPoolExecutor(4) as pool:
                ends = [pool.submit(work.get_result, timeout=0.5) for work in works]
            assert all(isinstance(end.exception(), TaskTimeout) for end in ends)

    def test_an_admin_command(self) -> None:
        with serve(flood) as host, soon(), pytest.raises(GearmanException):
            JobServer(host, timeout=0.5).version()

    def test_an_admin_command_that_is_answered_bit_by_bit(self) -> None:
        def trickle(connection: socket.socket) -> None:
            while True:
                connection.sendall(b"x")

        with serve(trickle) as host, soon(), pytest.raises(JobServerUnavailable, match="no answer"):
            JobServer(host, timeout=0.5).version()

    def test_leaving(self) -> None:
        ours, theirs = socket.socketpair()
        with ThreadPoolExecutor(1) as pool, theirs:
            ours.setblocking(False)
            pool.submit(flood, theirs)
            with soon():
                Connection(ours, Host("here", 0)).finish(0.5)


def test_a_call_waits_for_the_send_of_another_thread_until_its_deadline() -> None:
    with (
        serve(lambda connection: threading.Event().wait(SOON) and None) as host,
        SimpleClient([host], timeout=SOON) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        big = pool.submit(client.call, "f", text="x" * 50_000_000)
        sending = client._connections
        while not any(line._sending.taken for line in sending.pool._connections.values()):
            os.sched_yield()
        with soon(), pytest.raises(JobServerUnavailable, match="does not take what is sent"):
            client.using(timeout=0.5).call("f")
        assert not big.done()
        client.close()
        assert isinstance(big.exception(), GearmanException)


def test_a_send_to_a_peer_that_takes_little_at_a_time() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def take_a_little() -> None:
        with contextlib.suppress(OSError):
            while theirs.recv(4096):
                time.sleep(0.001)

    to = Connection(ours, Host("here", 0))
    with ThreadPoolExecutor(1) as pool, theirs, contextlib.closing(to):
        pool.submit(take_a_little)
        with soon(), pytest.raises(JobServerLost, match="does not take what is sent"):
            to.send(bytes(100_000_000), Deadline(0.5))
