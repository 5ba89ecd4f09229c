"""Processes and workers, started and ended: what `tests/`, `chaos/` and `benchmarks/` share."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gearmanny.admin import JobServer as Admin
from gearmanny.embedded import JobServer
from gearmanny.net.loopback import free_port
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker

PATIENCE = 60.0
"""Seconds that anything may take on a busy machine before it counts as broken."""

ROOT = Path(__file__).parent.parent
"""The checkout."""

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
    """Returns the path of a program.

    Raises:
        FileNotFoundError: it is not installed; the message names the package that has it.
    """
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *_FURTHER_PATHS]))
    if path is None:
        raise FileNotFoundError(f"{name} is missing: apt-get install {package}")
    return path


def with_clock(offset: str) -> dict[str, str]:
    """Returns the environment of a process whose clock is wrong, by libfaketime.

    Args:
        offset: such as "+5s". Times that pass are right.

    Raises:
        FileNotFoundError: it is not installed.
    """
    found = sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))
    if not found:
        raise FileNotFoundError("libfaketime is missing: apt-get install faketime")
    faked = {"LD_PRELOAD": str(found[0]), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return os.environ | faked


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
"""Either kind of job server, as the fixture `gearman_server` yields them."""


def workers_of(server: Server, function: str) -> int:
    """Returns how many workers offer a function."""
    return sum(row.workers for row in Admin(server.host).status() if row.function == function)


@contextlib.contextmanager
def working(*workers: BaseWorker) -> Iterator[None]:
    """Runs workers, each in a thread of its own, until the block ends.

    Unlike `gearmanny.testing.running`, it does not wait for a job server that knows them: some
    tests have workers without one.
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


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Runs a Redis; yields its port."""
    port = str(free_port())
    program = find_program("redis-server", "redis-server")
    options = ["--bind", "127.0.0.1", "--port", port, "--save", "", "--loglevel", "warning"]
    process = subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True)
    try:
        ping = [program.replace("-server", "-cli"), "-p", port, "ping"]
        until(lambda: subprocess.run(ping, check=False, capture_output=True).stdout == b"PONG\n")
        yield port
    finally:
        end(process)
