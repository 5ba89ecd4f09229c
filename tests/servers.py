"""Real servers and processes for tests: on free ports of loopback, ready when they answer."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymemcache
import pymongo
import pymongo.errors
import pytest

from gearmanny.admin import JobServer as Admin
from gearmanny.embedded import JobServer
from gearmanny.net.loopback import free_port
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker

PATIENCE = 20.0
"""Seconds that anything may take on a busy machine before it counts as broken."""

ROOT = Path(__file__).parent.parent

_FURTHER_PATHS = [
    "/usr/sbin",
    # Debian has each version of PostgreSQL in a folder of its own: the newest first.
    *sorted(
        map(str, Path("/usr/lib/postgresql").glob("*/bin")),
        key=lambda folder: [int(digits) for digits in re.findall(r"\d+", folder)],
        reverse=True,
    ),
]


def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Waits until a condition holds; fails loudly when it never does."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {PATIENCE:g} s"
        pause.wait(0.01)


def find_program(name: str, package: str) -> str:
    """Returns the path of a program. Without it, a test is skipped at home and fails in CI."""
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *_FURTHER_PATHS]))
    if path is None:
        message = f"{name} is missing: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def end(process: subprocess.Popen[str]) -> None:
    """Ends a process, politely first."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr, process.stdin):
        if pipe is not None:
            pipe.close()


Server = Gearmand | JobServer
"""What `gearman_server` is."""

RunWorker = Callable[..., Any]
"""What `gearman_worker` is."""

Start = Callable[..., "subprocess.Popen[str]"]
"""What `start_runworkers` is."""


def workers_of(server: Server, function: str) -> int:
    """Returns how many workers offer a function."""
    return sum(row.workers for row in Admin(server.host).status() if row.function == function)


@contextlib.contextmanager
def mongodb(*, own: bool = False) -> Iterator[str]:
    """Runs a server that speaks MongoDB's wire protocol; yields its URI.

    GEARMANNY_TEST_MONGODB may name a real one, to be used instead unless it must be our own.
    """
    given = os.environ.get("GEARMANNY_TEST_MONGODB")
    if given and not own:
        yield given
        return
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "secantus", "--port", str(port)),
            *("--storage-path", ":memory:", "--log-level", "ERROR"),
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
def working(*workers: BaseWorker) -> Iterator[None]:
    """Runs workers, each in a thread of its own, until the block ends.

    Other than `gearmanny.testing.running`, it does not wait for a job server that knows them: here
    are tests of workers without one.
    """
    threads = [threading.Thread(target=worker.start) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a worker did not stop"
