"""Our clients and workers, and the commands that Debian has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gearmanny.admin import JobServer as Admin
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.embedded import JobServer
from gearmanny.errors import TaskError, TaskTimeout
from gearmanny.results import Data, Progress, Warning
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, Gearmand, end, find_program, until, working


class Example(BaseWorker):
    name = "example"

    def task_add(self, a: int, b: int) -> int:
        return a + b

    def task_echo(self, text: str) -> str:
        return text

    def task_raise(self) -> None:
        raise ValueError("boom", 7)

    def task_tell(self) -> list[str]:
        self.progress(1, 2)
        self.send_job_data("part")
        self.send_job_warning("careful")
        return ["whole"]


class Raising(Example):
    name = "raising"
    send_exceptions = True


@pytest.fixture(autouse=True)
def workers(server: Gearmand | JobServer):
    with working(Example([server.host], prefetch=8), Raising([server.host])):
        yield


def test_results(client: SimpleClient) -> None:
    assert client.example_add(a=1, b=2) == 3
    assert list(client.map("example_add", ({"a": 1, "b": i} for i in range(500)))) == [
        *range(1, 501)
    ]
    assert client.example_help()["example_add"]["input"].keys() == {"a", "b"}


def test_a_text_of_megabytes(client: SimpleClient) -> None:
    text = "x" * 5_000_000
    assert client.example_echo(text=text) == text


@pytest.mark.parametrize("name", ["example", "raising"])
def test_failures(client: SimpleClient, name: str) -> None:
    with pytest.raises(TaskError) as caught:
        client.call(f"{name}_raise")
    assert (caught.value.type, caught.value.remote_args) == ("builtins.ValueError", ["boom", 7])
    assert client.call(f"{name}_add", a=1, b=2) == 3


def test_updates(server: Gearmand | JobServer) -> None:
    with AsyncClient([server.host]) as client:
        work = client.example_tell()
        assert list(work.updates(timeout=PATIENCE)) == [
            Progress(1, 2), Data("part"), Warning("careful"),
        ]  # fmt: skip
        assert work.get_result(timeout=PATIENCE) == ["whole"]


def test_silence_is_explained(client: SimpleClient) -> None:
    with pytest.raises(TaskTimeout, match="No worker offers it"):
        client.using(timeout=0.2).example_nobody()


def test_background_jobs_are_done(client: SimpleClient, server: Gearmand | JobServer) -> None:
    list(client.using(background=True).map("example_add", [{"a": 1, "b": 2}] * 50))
    until(lambda: totals(server)["example_add"] == 0, "all being done")


def test_a_worker_is_replaced_when_its_process_dies(
    server: Gearmand | JobServer, client: SimpleClient, unique_name: str
) -> None:
    code = (
        "import os, sys\n"
        "from gearmanny.worker import BaseWorker\n"
        "class Dying(BaseWorker):\n"
        "    name = sys.argv[2]\n"
        "    def task_die(self): os._exit(3)\n"
        "Dying([sys.argv[1]]).start()\n"
    )

    class Replacement(BaseWorker):
        name = unique_name

        def task_die(self) -> str:
            return "done by another"

    with AsyncClient([server.host]) as caller:
        work = caller.call(f"{unique_name}_die")
        dying = subprocess.Popen([sys.executable, "-c", code, server.host, unique_name], text=True)
        try:
            assert dying.wait(PATIENCE) == 3
        finally:
            end(dying)
        with working(Replacement([server.host])):
            assert work.get_result(timeout=PATIENCE) == "done by another"


def totals(server: Gearmand | JobServer) -> dict[str, int]:
    """Returns how many jobs of each function wait or run."""
    return {row.function: row.total for row in Admin(server.host).status()}


def run(server: Gearmand | JobServer, command: str, *arguments: str) -> str:
    done = subprocess.run(
        [
            *(find_program(command, "gearman-tools"), "-h", "127.0.0.1", "-p", str(server.port)),
            *arguments,
        ],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_gearman_command_calls_our_workers(server: Gearmand | JobServer) -> None:
    assert run(server, "gearman", "-f", "example_add", '{"a": 1, "b": 2}') == "3"
    run(server, "gearman", "-b", "-f", "example_add", '{"a": 1, "b": 2}')
    until(lambda: totals(server)["example_add"] == 0, "the background job being done")


def test_our_clients_call_a_worker_of_the_gearman_command(
    server: Gearmand | JobServer, client: SimpleClient, unique_name: str
) -> None:
    command = [find_program("gearman", "gearman-tools"), "-h", "127.0.0.1"]
    worker = subprocess.Popen(
        [*command, "-p", str(server.port), "-w", "-f", unique_name, "--", "cat"], text=True
    )
    try:
        assert client.call(unique_name, text="hi") == {"text": "hi"}
    finally:
        end(worker)


def test_gearadmin_is_answered(server: Gearmand | JobServer) -> None:
    # The workers of the test before may not be gone yet.
    until(lambda: "example_add\t0\t0\t1" in run(server, "gearadmin", "--status").splitlines())
    assert "example_add\t0\t0\t0\t1" in run(server, "gearadmin", "--priority-status").splitlines()
    assert "example_add" in run(server, "gearadmin", "--workers")
    assert run(server, "gearadmin", "--server-version").strip()
    assert run(server, "gearadmin", "--getpid").strip().isdecimal()
    assert run(server, "gearadmin", "--show-jobs").splitlines()[-1] == "."
    run(server, "gearadmin", "--create-function", "made")
    assert "made\t0\t0\t0" in run(server, "gearadmin", "--status").splitlines()
    run(server, "gearadmin", "--drop-function", "made")
