"""Peers that pause, and peers that have vanished: those in a network whose link goes down."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host
from gearmanny.net.transport import Connection, connect
from gearmanny.net.vanishing import Vigil, notice_vanishing
from tests.support.servers import ROOT

needs_linux = pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the options are those of Linux"
)

MUCH = bytes(1_000_000)


@contextlib.contextmanager
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """Yields a connection, and the socket of its peer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = connect(Host("127.0.0.1", listening.getsockname()[1]))
        peer, _ = listening.accept()
    try:
        with peer:
            yield connection, peer
    finally:
        connection.close()


def longest_silence(connection: Connection) -> int:
    """Returns the seconds for which what was sent may stay unacknowledged."""
    sock = socket.socket(fileno=connection.fileno())
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) // 1000
    finally:
        sock.detach()


@needs_linux
def test_a_peer_that_pauses_may_take_its_time() -> None:
    """The kernel counts a closed window as death, so it is not to count where one can be closed."""
    with pair() as (connection, peer):
        assert longest_silence(connection) == 30
        for _ in range(100):
            connection.send(b"small", Deadline(5))
        assert longest_silence(connection) == 30
        connection.send(MUCH, Deadline(5))
        assert longest_silence(connection) == 0
        assert not connection.wait(0.2)
        taken = 0
        while taken < 500 + len(MUCH):
            taken += len(peer.recv(2**20))
        peer.sendall(b"heard")
        assert connection.wait(5)
        assert bytes(connection.receive()) == b"heard"
        assert longest_silence(connection) == 30


@needs_linux
def test_a_peer_that_pauses_has_not_vanished() -> None:
    vigil = Vigil()
    with pair() as (connection, _):
        assert not vigil.has_vanished(connection.fileno())
        vigil.sending(connection.fileno(), len(MUCH))
        connection.send(MUCH, Deadline(5))
        assert not vigil.has_vanished(connection.fileno())
        vigil.heard(connection.fileno())
        assert not vigil.has_vanished(connection.fileno())


def test_a_closed_descriptor_is_an_error_of_the_system() -> None:
    vigil = Vigil()
    with pytest.raises(OSError, match="Bad file descriptor"):
        vigil.sending(-1, len(MUCH))


@needs_linux
def test_a_connection_notices_at_once_when_it_is_set_up() -> None:
    with socket.socket() as sock:
        notice_vanishing(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


VANISHING = """
import socket, subprocess, sys

from gearmanny.errors import JobServerLost
from gearmanny.net import transport, vanishing
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host

vanishing._GONE_AFTER, transport.LOOK_EVERY = 2, 0.5  # seconds, for a test that does not take long

def link(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)

link("up")
listening = socket.create_server(("127.0.0.1", 4730))
connection = transport.connect(Host("127.0.0.1", 4730))
peer, _ = listening.accept()
peer.sendall(b"heard")
connection.wait(5)
connection.receive()
connection.send(bytes(1_000_000), Deadline(5))
assert not connection.wait(2.5), "a pause was taken for an end"
link("down")
assert connection.wait(None)
try:
    connection.receive()
except JobServerLost as error:
    assert "the peer has vanished" in str(error), error
else:
    raise AssertionError("it was not noticed")
print("noticed")
"""


AIO_VANISHING = """
import asyncio, socket, subprocess

from gearmanny.aio import AioClient, connection
from gearmanny.errors import JobServerLost
from gearmanny.net import vanishing

vanishing._GONE_AFTER, connection.LOOK_EVERY = 2, 0.5  # seconds

def link(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)

async def main():
    link("up")
    with socket.create_server(("127.0.0.1", 4730)) as listening:
        client = AioClient(["127.0.0.1:4730"])
        call = asyncio.ensure_future(client.nobody_home(much="x" * 50_000_000))
        peer, _ = await asyncio.to_thread(listening.accept)
        with peer:
            await asyncio.wait([call], timeout=3)
            assert not call.done(), "a pause was taken for an end"
            link("down")
            try:
                await asyncio.wait_for(call, 30)
            except JobServerLost as error:
                assert "the peer has vanished" in str(error), error
            else:
                raise AssertionError("it was not noticed")
            await client.close()
    print("noticed")

asyncio.run(main())
"""


@needs_linux
@pytest.mark.parametrize("script", [VANISHING, AIO_VANISHING], ids=["blocking", "asyncio"])
def test_a_peer_that_has_vanished_is_noticed_while_its_window_is_closed(script: str) -> None:
    unshare = shutil.which("unshare")
    command = [unshare or "unshare", "--map-root-user", "--net"]
    possible = unshare and shutil.which("ip")
    if not possible or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("no network of its own can be made here")
    done = subprocess.run(
        [*command, sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout == "noticed\n", done.stderr
