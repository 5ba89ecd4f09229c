"""Connections of a process that was killed end, though a process that it forked lives on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gearmanny.admin import JobServer
from gearmanny.net.loopback import free_port
from tests.support.servers import ROOT, Server, until
from tests.support.tls import Authority
from tools.proxies import proxy

FORKING = """
import os, sys, threading
host = sys.argv[1]
{connect}
helper = os.fork()
if not helper:
    threading.Event().wait(60)
    os._exit(0)
print(helper, flush=True)
threading.Event().wait(60)
"""

CLIENT = """
from gearmanny.client import SimpleClient
client = SimpleClient([host])
client.status(unique="none")
"""

TLS_CLIENT = """
from gearmanny.client import SimpleClient
client = SimpleClient([host], tls={"ca": sys.argv[2]})
client.status(unique="none")
"""

AIO_CLIENT = """
import asyncio
from gearmanny.aio import AioClient
client = AioClient([host])
loop = asyncio.new_event_loop()
loop.run_until_complete(client.status(unique="none"))
"""

WORKER = """
from gearmanny.worker import BaseWorker
from gearmanny.working.ledger import Ledger
class Worker(BaseWorker):
    name = "forked"
    def task_run(self): ...
worker = Worker([host])
ready = threading.Event()
class Observer:
    ledger = Ledger()
    def ready(self): ready.set()
    def interrupted(self): ...
    def job_done(self): ...
worker.observer = Observer()
threading.Thread(target=worker.start, daemon=True).start()
assert ready.wait(60)
"""

JOB_SERVER = """
from gearmanny.embedded import JobServer
from gearmanny.client import SimpleClient
server = JobServer(int(host.rpartition(":")[2]))
server.start()
client = SimpleClient([host])
client.status(unique="none")
"""


@contextlib.contextmanager
def killed(connect: str, *arguments: str) -> Iterator[int]:
    """Connects, forks a helper, and kills the process that did so; yields the pid of the helper."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORKING.format(connect=connect), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        helper = int(process.stdout.readline())
        process.kill()
        process.wait()
        yield helper
        os.kill(helper, 0)  # it lives
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def connections_to(server: Server) -> int:
    """How many there are, beside the one that asks."""
    return len(JobServer(server.host).workers()) - 1


@pytest.mark.parametrize("connect", [CLIENT, AIO_CLIENT, WORKER], ids=["client", "aio", "worker"])
def test_a_connection_ends_with_its_process(gearman_server: Server, connect: str) -> None:
    with killed(connect, gearman_server.host):
        until(lambda: connections_to(gearman_server) == 0, "the connection ending")


def test_a_connection_over_tls_ends_with_its_process(
    gearman_server: Server, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    with (
        proxy(gearman_server.port, authority.context("127.0.0.1")) as running,
        killed(TLS_CLIENT, running.host, authority.file),
    ):
        until(lambda: connections_to(gearman_server) == 0, "the connection ending")


def test_a_job_server_ends_with_its_process() -> None:
    port = free_port()

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it is just about to end
            return False
        return False

    with killed(JOB_SERVER, f"127.0.0.1:{port}"):
        until(refused, "nobody listening")


AT_ONCE = """
import os, signal, sys
number = signal.Signals[sys.argv[1]]
# Runs before what gearmanny does in children: the first moment of one.
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), number))

from gearmanny.net.forks import handle_signals, ignore
from gearmanny.running.stacks import Stacks

handle_signals({signal.SIGTERM: ignore})
Stacks().write_on_signal()
child = os.fork()
if not child:
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_signal_in_the_first_moment_of_a_child_ends_it(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, number.name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(done.stdout) == -number
