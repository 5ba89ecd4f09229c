"""Tasks that end with their process: those that ignore their limit, and those of a killed one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gearmanny.admin import JobServer
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import TaskError
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, ROOT, Gearmand, Server, end, until, working


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def runner(gearman_server: Server, log: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.acceptance.attempts_script", gearman_server.host]
    with log.open("w") as file:
        runner = subprocess.Popen(command, cwd=ROOT, stderr=file, text=True)
        yield runner
        end(runner)


def running(server: Gearmand, function: str) -> int:
    return sum(row.running for row in JobServer(server.host).status() if row.function == function)


class Replacement(BaseWorker):
    name = "deaf"

    def task_fail(self) -> str:
        return "done elsewhere"


@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize("function", ["ignore", "lock"])
def test_a_task_that_ignores_its_limit_is_ended_with_its_process_and_fails(
    gearman_client: SimpleClient, gearman_server: Server, log: Path, function: str
) -> None:
    first = gearman_client.deaf_pid()
    with AsyncClient([gearman_server.host]) as others:
        work = others.call(f"deaf_{function}")
        until(lambda: running(gearman_server, f"deaf_{function}"), "the job running")
        next_one = others.deaf_pid()  # held by that process, or not yet: it is not lost
        with pytest.raises(TaskError) as caught:
            work.get_result(timeout=PATIENCE)
        assert caught.value.type == "gearmanny.errors.TaskTimeLimitExceeded"
        assert caught.value.message == (
            f"deaf_{function}() exceeded its time limit of 0.1 s. "
            "It was still running 0.1 s later, so its process was killed."
        )
        assert next_one.get_result(timeout=PATIENCE) != first
    logged = log.read_text()
    assert f"ERROR deaf_{function} failed: gearmanny.errors.TaskTimeLimitExceeded" in logged
    assert f"in task_{function}" in logged  # where it is stuck
    assert f"pid {first}, exited with 1" in logged
    assert logged.count(f"deaf_{function} failed") == 1


@pytest.mark.usefixtures("runner")
@pytest.mark.parametrize("function", ["block", "swallow"])
def test_a_coroutine_that_ignores_its_limit_is_ended_with_its_process_and_fails(
    gearman_client: SimpleClient, log: Path, function: str
) -> None:
    first = gearman_client.deaf_pid()
    with pytest.raises(TaskError, match=r"still running 0\.1 s later, so its process was killed"):
        gearman_client.call(f"deaf_{function}")
    until(lambda: gearman_client.deaf_pid() != first, "another process")
    logged = log.read_text()
    assert f"ERROR deaf_{function} failed: gearmanny.errors.TaskTimeLimitExceeded" in logged
    assert ("in task_block" in logged) == (function == "block")  # where it keeps the others


def test_a_process_that_is_killed_while_it_waits_loses_no_job(
    runner: subprocess.Popen[str], gearman_client: SimpleClient, gearman_server: Server, log: Path
) -> None:
    pid = gearman_client.deaf_pid()
    with AsyncClient([gearman_server.host]) as others:
        work = others.deaf_fail()
        until(lambda: "trying again" in log.read_text(), "the first attempt")
        runner.kill()
        with contextlib.suppress(ProcessLookupError):  # on Linux, its parent took it along
            os.kill(pid, signal.SIGKILL)
        with working(Replacement([gearman_server.host])):
            assert work.get_result(timeout=PATIENCE) == "done elsewhere"


def test_a_signal_ends_a_wait_and_the_job_goes_to_another_worker(
    runner: subprocess.Popen[str], gearman_server: Server, log: Path
) -> None:
    with AsyncClient([gearman_server.host]) as others:
        work = others.deaf_fail()
        until(lambda: "trying again" in log.read_text(), "the first attempt")
        runner.terminate()
        assert runner.wait(PATIENCE) == 0
        with working(Replacement([gearman_server.host])):
            assert work.get_result(timeout=PATIENCE) == "done elsewhere"
    assert "INFO deaf_fail is given back" in log.read_text()
    assert "ERROR" not in log.read_text()
