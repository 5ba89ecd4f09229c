"""Real servers and processes for tests: on free ports of loopback, ready when they answer."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pymemcache
import pymongo
import pymongo.errors
import pytest

from gearmanny.net.loopback import free_port
from gearmanny.testing import Gearmand
from tools import processes
from tools.processes import PATIENCE, ROOT, Server, end, until, workers_of, working

__all__ = [
    "PATIENCE",
    "ROOT",
    "Gearmand",
    "RunWorker",
    "Server",
    "Start",
    "answering",
    "black_hole",
    "end",
    "find_program",
    "free_port",
    "memcached",
    "mongodb",
    "until",
    "workers_of",
    "working",
]


def find_program(name: str, package: str) -> str:
    """Returns the path of a program. Without it, a test is skipped at home and fails in CI."""
    try:
        return processes.find_program(name, package)
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


RunWorker = Callable[..., Any]
"""The type of the fixture `gearman_worker`."""

Start = Callable[..., "subprocess.Popen[str]"]
"""The type of the fixture `start_runworkers`."""


@contextlib.contextmanager
def mongodb(*options: str, own: bool = False, port: int | None = None) -> Iterator[str]:
    """Runs a server that speaks MongoDB's wire protocol; yields its URI.

    GEARMANNY_TEST_MONGODB may name a real one, to be used instead unless it must be our own.

    Args:
        options: more of the command line of our own.
        own: whether it must be.
        port: of our own; one that is free by default.
    """
    given = os.environ.get("GEARMANNY_TEST_MONGODB")
    if given and not own:
        yield given
        return
    port = port or free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "secantus", "--port", str(port)),
            *("--storage-path", ":memory:", "--log-level", "ERROR", *options),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    uri = f"mongodb://127.0.0.1:{port}/"

    def answers() -> bool:
        with pymongo.MongoClient(uri, serverSelectionTimeoutMS=200) as client:
            try:
                return bool(client.admin.command("ping"))
            except pymongo.errors.PyMongoError:
                return False

    try:
        until(answers, "MongoDB answering")
        yield uri
    finally:
        end(process)


@contextlib.contextmanager
def memcached() -> Iterator[str]:
    """Runs a memcached; yields its address, `"127.0.0.1:PORT"`."""
    program = find_program("memcached", "memcached")
    port = free_port()
    command = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0"]
    if os.geteuid() == 0:
        command += ["-u", "nobody"]  # it refuses to be run by root otherwise
    process = subprocess.Popen(command, text=True)

    def answers() -> bool:
        assert process.poll() is None, "memcached ended"
        try:
            with contextlib.closing(pymemcache.Client(("127.0.0.1", port), timeout=1)) as client:
                return bool(client.version())
        except OSError:
            return False

    try:
        until(answers, "memcached answering")
        yield f"127.0.0.1:{port}"
    finally:
        end(process)


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Yields a host that neither accepts nor refuses connections: its backlog is full."""
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        stack.enter_context(socket.socket()).connect(hole.getsockname())
        # A busy kernel may take one or two more than the backlog has room for.
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        yield "127.0.0.1:%d" % hole.getsockname()[1]


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[int]]]:
    """Runs what is no job server: it ends each connection once something came, after an answer.

    Yields:
        Its host, and a list that grows with every connection.
    """
    accepted: list[int] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                accepted.append(1)
                connection.recv(65536)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "127.0.0.1:%d" % server.getsockname()[1], accepted
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
