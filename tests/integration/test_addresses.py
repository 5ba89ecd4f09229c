"""Names with several addresses, some of which lead nowhere; names that nobody knows in time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gearmanny.admin import JobServer as Admin
from gearmanny.aio import AioClient
from gearmanny.client import SimpleClient
from gearmanny.embedded import JobServer
from gearmanny.errors import JobServerUnavailable
from gearmanny.net import resolving
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, until, working

NAME = "several.example"
LIVE, DEAF, REFUSING = "127.0.0.31", "127.0.0.30", "127.0.0.32"
CONNECT_TIMEOUT = 1.5


class Named(BaseWorker):
    name = "named"

    def task_echo(self, value: int) -> int:
        return value


Look = Callable[[str], list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[[Look], None]:
    """Has a resolver of the test's own look up the name: real ones cannot be told to hang."""
    ask = socket.getaddrinfo

    def resolve_with(look: Look) -> None:
        def getaddrinfo(name: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
            if name != NAME or kwargs.get("flags"):
                return ask(name, port, *args, **kwargs)
            return [found for a in look(name) for found in ask(a, port, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return resolve_with


@pytest.fixture
def server() -> Iterator[JobServer]:
    """A job server; on the same port, there is an address that does not answer."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(JobServer(address=LIVE))
        stack.enter_context(socket.create_server((DEAF, server.port), backlog=0))
        for _ in range(3):  # its backlog is full
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((DEAF, server.port))
        yield server


def by_client(host: str) -> None:
    with SimpleClient([host], timeout=PATIENCE, connect_timeout=CONNECT_TIMEOUT) as client:
        assert client.named_echo(value=1) == 1


def by_aio_client(host: str) -> None:
    async def call() -> None:
        options: Any = {"timeout": PATIENCE, "connect_timeout": CONNECT_TIMEOUT}
        async with AioClient([host], **options) as client:
            assert await client.named_echo(value=1) == 1

    asyncio.run(call())


def by_admin(host: str) -> None:
    assert Admin(host, CONNECT_TIMEOUT).version()


every_way = pytest.mark.parametrize("way", [by_client, by_aio_client, by_admin])
Way = Callable[[str], None]


@every_way
@pytest.mark.parametrize("addresses", [[DEAF] * 4, [DEAF, REFUSING], [REFUSING, DEAF], [REFUSING]])
def test_a_live_address_is_found_behind_others(
    names: Callable[[Look], None], server: JobServer, addresses: list[str], way: Way
) -> None:
    names(lambda name: [*dict.fromkeys(addresses), LIVE])
    with working(Named([server.host])):
        way(f"{NAME}:{server.port}")


def test_a_worker_finds_it_too(names: Callable[[Look], None], server: JobServer) -> None:
    names(lambda name: [DEAF, LIVE])
    with working(Named([f"{NAME}:{server.port}"])):
        by_client(server.host)


@every_way
def test_all_addresses_have_one_connect_timeout(
    names: Callable[[Look], None], server: JobServer, way: Way
) -> None:
    with contextlib.ExitStack() as stack:
        deaf = [f"127.0.0.{number}" for number in range(40, 45)]
        for address in deaf:
            stack.enter_context(socket.create_server((address, server.port), backlog=0))
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex((address, server.port))
        names(lambda name: deaf)
        begun = time.monotonic()
        with pytest.raises(JobServerUnavailable, match="timed out"):
            way(f"{NAME}:{server.port}")
        assert time.monotonic() - begun < 5 * CONNECT_TIMEOUT


@every_way
def test_what_all_addresses_refuse_is_refused(names: Callable[[Look], None], way: Way) -> None:
    names(lambda name: [REFUSING, "127.0.0.33"])
    with pytest.raises(JobServerUnavailable, match="connection refused"):
        way(f"{NAME}:1")


@every_way
def test_a_resolver_that_hangs_costs_the_connect_timeout_and_one_thread(
    names: Callable[[Look], None], server: JobServer, way: Way
) -> None:
    answer, asked = threading.Event(), []

    def hang(name: str) -> list[str]:
        asked.append(name)
        answer.wait(10 * PATIENCE)
        return [LIVE]

    names(hang)
    before = threading.active_count()
    try:
        for _ in range(2):
            begun = time.monotonic()
            with pytest.raises(JobServerUnavailable, match="timed out"):
                way(f"{NAME}:{server.port}")
            assert time.monotonic() - begun < 5 * CONNECT_TIMEOUT
        assert asked == [NAME]
        assert threading.active_count() <= before + 1
    finally:
        answer.set()
    until(lambda: not resolving._lookups.receivers, "the end of the lookup")
    with working(Named([server.host])):  # and it answers again
        way(f"{NAME}:{server.port}")


@every_way
def test_a_name_that_nobody_knows(way: Way) -> None:
    with pytest.raises(JobServerUnavailable, match=r"name or service not known|name resolution"):
        way("nowhere.invalid:1")


def test_where_no_thread_can_be_started_a_name_is_looked_up_all_the_same(
    monkeypatch: pytest.MonkeyPatch, server: JobServer, names: Callable[[Look], None]
) -> None:
    names(lambda name: [LIVE])

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert Admin(f"{NAME}:{server.port}", PATIENCE).version()
