"""`runworkers --embedded`: one command, and it works."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gearmanny.admin import JobServer as Admin
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.embedded import JobServer
from gearmanny.errors import GearmanException, JobServerLost, JobServerUnavailable
from gearmanny.net.loopback import free_port
from tests.support.servers import PATIENCE, ROOT, Gearmand, end, until
from tests.support.tls import Authority

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def host() -> str:
    """Where nobody listens yet."""
    return f"localhost:{free_port()}"


@pytest.fixture
def start(host: str) -> Iterator[Start]:
    """Starts `runworkers` in a process group of its own, as a shell does."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "django", "runworkers", *arguments],
                cwd=ROOT,
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "tests.django_settings",
                    "TEST_HOSTS": host,
                    **environment,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.callback(end, process)
            return process

        yield start


def printed_until_ready(process: subprocess.Popen[str]) -> str:
    """Returns what it printed, with spaces for line ends."""
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if line.startswith("Ready"):
            break
    return " ".join(printed.split())


def listens(host: str) -> bool:
    try:
        return bool(Admin(host).version())
    except (JobServerUnavailable, JobServerLost):  # also in the moment in which it ends
        return False


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def workers_at(host: str) -> int:
    try:
        return sum(row.workers for row in Admin(host).status() if row.function == "good_pid")
    except GearmanException:
        return 0


def test_it_starts_a_job_server_and_says_so(start: Start, host: str) -> None:
    process = start("--embedded")
    printed = printed_until_ready(process)
    assert f"Started an embedded job server at {host}. " in printed
    assert "production runs on gearmand" in printed
    with SimpleClient([host], timeout=PATIENCE) as client:
        assert client.good_pid()
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert not listens(host)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_whole_group_let_the_last_job_answer(
    start: Start, host: str, tmp_path: Path, number: int
) -> None:
    process = start("--embedded")
    printed_until_ready(process)
    path = tmp_path / "go"
    with AsyncClient([host]) as client:
        work = client.good_wait_for(path=str(path))
        until(Path(f"{path}.started").exists)
        os.killpg(process.pid, number)  # as a terminal does, and systemd
        path.touch()
        assert work.get_result(timeout=PATIENCE) == "done"
    assert process.wait(PATIENCE) == 0
    assert not listens(host)


def test_a_request_for_stacks_to_the_whole_group_ends_no_process(start: Start, host: str) -> None:
    port = free_port()
    process = start("--embedded", "--metrics-port", str(port))
    printed_until_ready(process)
    until(lambda: workers_at(host) == 1, "the worker")
    os.killpg(process.pid, signal.SIGUSR1)
    with SimpleClient([host], timeout=PATIENCE) as client:
        assert client.good_pid()
    until(lambda: accepts(port), "the port for metrics")
    process.terminate()
    _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "has ended" not in log


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which process it is")
def test_one_that_is_killed_is_replaced_and_so_are_its_metrics(start: Start, host: str) -> None:
    port = free_port()
    process = start("--embedded", "--metrics-port", str(port))
    printed_until_ready(process)
    until(lambda: workers_at(host) == 1, "the worker")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in sorted(map(int, children))[:2]:  # they were started before the worker
        os.kill(pid, signal.SIGKILL)
    until(lambda: listens(host) and workers_at(host) == 1, "the worker at another one")
    until(lambda: accepts(port), "the port for metrics")
    process.terminate()
    _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    for name in ("the embedded job server", "the process that serves metrics"):
        assert f"{name} has ended; another one was started" in log
    assert not listens(host)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it takes a moment longer")
def test_it_ends_with_runworkers_that_is_killed(start: Start, host: str) -> None:
    process = start("--embedded")
    printed_until_ready(process)
    process.kill()
    until(lambda: not listens(host), "the job server having ended")


@pytest.mark.parametrize("kind", [pytest.param(Gearmand, marks=pytest.mark.gearmand), JobServer])
def test_a_job_server_that_runs_is_left_alone(
    start: Start, kind: type[Gearmand | JobServer]
) -> None:
    with kind() as running:
        version = Admin(running.host).version()
        process = start("--embedded", "--hosts", running.host)
        said = f"Job server {version} runs at {running.host} already: none was started."
        assert said in printed_until_ready(process)
        with SimpleClient([running.host], timeout=PATIENCE) as client:
            assert client.good_pid()
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert listens(running.host)


def test_of_two_that_begin_together_one_starts_it(start: Start, host: str) -> None:
    both = [start("--embedded"), start("--embedded")]
    started = [
        f"Started an embedded job server at {host}" in printed_until_ready(it) for it in both
    ]
    assert sorted(started) == [False, True]
    until(lambda: workers_at(host) == 2, "both serving")


def test_the_setting_is_the_default_of_the_option(start: Start, host: str) -> None:
    assert "Started an embedded" in printed_until_ready(start(TEST_EMBEDDED="1"))
    elsewhere = f"localhost:{free_port()}"
    printed = printed_until_ready(start("--no-embedded", "--hosts", elsewhere, TEST_EMBEDDED="1"))
    assert "embedded" not in printed
    assert not listens(elsewhere)


def test_without_verbosity_nothing_is_said(start: Start, host: str) -> None:
    process = start("--embedded", "-v", "0")
    until(lambda: workers_at(host) == 1, "the worker serving")
    process.terminate()
    assert process.communicate(timeout=PATIENCE) == ("", "")


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [
        ("192.0.2.1:4730", r"192\.0\.2\.1:4730 is not a loopback address"),
        ("no-such-host.invalid", r"no-such-host\.invalid:4730 is not a loopback address"),
        ("0.0.0.0:4730", r"0\.0\.0\.0:4730 is not a loopback address"),
        ("localhost:4730,localhost:4731", "it replaces one job server, and 2 hosts are configured"),
        ("unix:/run/gearmand", "it has no Unix sockets"),
    ],
)
def test_where_it_cannot_be_is_told_in_one_line(start: Start, hosts: str, reason: str) -> None:
    process = start("--embedded", "--hosts", hosts)
    printed, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, printed) == (1, "")
    assert re.fullmatch(rf"CommandError: .*{reason}.*\n", told), told


def test_it_is_not_started_where_clients_expect_tls(start: Start, tmp_path: Path) -> None:
    process = start("--embedded", TEST_CA=Authority(tmp_path).file)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "CommandError: An embedded job server cannot be started: it has no TLS." in told


class NoJobServer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(100)
        self.request.sendall(b"220 mail.example.org\r\n")


def test_another_server_on_its_port_is_told(start: Start) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), NoJobServer) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        try:
            taken = f"127.0.0.1:{other.server_address[1]}"
            process = start("--embedded", "--hosts", taken)
            _, told = process.communicate(timeout=PATIENCE)
        finally:
            other.shutdown()
            thread.join()
    assert process.returncode == 1
    assert f"CommandError: Something other than a job server listens at {taken}: " in told
