"""The memory that calls and waits leave behind, and the cost of waiting."""

from __future__ import annotations

import gc
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from gearmanny.client import SimpleClient
from gearmanny.net.polling import Poller
from tests.support.servers import Server, working
from tests.support.workers import Called

SIZE = 4 * 1024 * 1024


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_an_answer_is_freed_with_the_last_reference_to_it(
    gearman_server: Server, no_collector: None
) -> None:
    with working(Called([gearman_server.host])), SimpleClient([gearman_server.host]) as client:
        text = "x" * SIZE
        assert client.called_echo(value=text) == text
        tracemalloc.start()
        try:
            for _ in range(3):
                assert client.called_echo(value=text) == text
            # The worker may still hold what it sent last, but nothing piles up.
            assert tracemalloc.get_traced_memory()[0] < 3 * SIZE
        finally:
            tracemalloc.stop()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    mine, other = socket.socketpair()
    with mine, other:
        yield mine, other


def test_a_long_wait_sleeps_also_after_a_short_one(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    mine, other = pair
    poller = Poller()
    descriptor = poller.add(mine)
    other.send(b"!")
    assert poller.wait(60) == [descriptor]  # short: the next wait begins with a look
    mine.recv(1)
    for seconds in (0.2, 0.2):
        before = time.thread_time()
        assert poller.wait(seconds) == []
        assert time.thread_time() - before < seconds / 4


def test_what_comes_during_a_wait_ends_it(pair: tuple[socket.socket, socket.socket]) -> None:
    mine, other = pair
    poller = Poller()
    descriptor = poller.add(mine)
    for seconds in (0, 0.0001, 0.01):  # while it looks, and while it sleeps
        threading.Timer(seconds, other.send, [b"!"]).start()
        assert poller.wait(60) == [descriptor]
        mine.recv(1)


def test_a_removed_socket_is_waited_for_no_longer(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    mine, other = pair
    poller = Poller()
    poller.remove(poller.add(mine))
    other.send(b"!")
    assert poller.wait(0) == []
