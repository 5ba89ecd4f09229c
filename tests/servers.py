"""Real servers and processes for tests: on free ports of loopback, ready when they answer."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
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
"""What `gearman_worker` is."""

Start = Callable[..., "subprocess.Popen[str]"]
"""What `start_runworkers` is."""


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
