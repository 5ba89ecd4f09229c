"""Tasks that exit, fork, and leave processes behind: none of that is more than their own affair."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gearmanny.admin import JobServer
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import TaskError
from tests.support.servers import PATIENCE, ROOT, Server, until, workers_of

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(gearman_server: Server, log: Path) -> Iterator[Start]:
    runners: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.acceptance.forks_script", gearman_server.host]
        with log.open("w") as file:
            runner = subprocess.Popen(
                [*command, *options],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,
            )
        runners.append(runner)
        return runner

    yield start
    for runner in runners:
        with contextlib.suppress(ProcessLookupError):  # helpers as well
            os.killpg(runner.pid, signal.SIGKILL)
        runner.communicate()


@pytest.fixture
def runner(start: Start) -> subprocess.Popen[str]:
    return start()


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class TestExit:
    @pytest.mark.usefixtures("runner")
    def test_an_exit_of_a_task_is_its_failure(self, gearman_client: SimpleClient) -> None:
        before = gearman_client.forking_pid()
        for code in (0, 1, 2):
            with pytest.raises(TaskError) as failed:
                gearman_client.forking_exit(code=code)
            assert failed.value.type == "builtins.SystemExit"
            assert failed.value.message == str(code)
        with pytest.raises(TaskError, match="registered"):
            gearman_client.registered_exit()
        assert gearman_client.forking_pid() == before

    @pytest.mark.parametrize("code", [0, 1])
    def test_without_max_deaths_a_task_that_ends_its_process_again_and_again_ends_the_service(
        self, start: Start, gearman_client: SimpleClient, log: Path, code: int
    ) -> None:
        runner = start("any-deaths")
        gearman_client.using(background=True).forking_exit_hard(code=code)
        assert runner.wait(PATIENCE) == 1
        assert log.read_text().count(f"exited with {code}") == 3
        assert "giving up" in log.read_text()

    def test_without_keepalive_a_process_that_exits_with_0_in_a_task_ended_badly(
        self, start: Start, gearman_client: SimpleClient
    ) -> None:
        runner = start("no-keepalive")
        gearman_client.using(background=True).forking_exit_hard(code=0)
        assert runner.wait(PATIENCE) == 1

    def test_an_exit_while_workers_are_set_up_is_a_crash(self, start: Start, log: Path) -> None:
        assert start("exit-in-setup").wait(PATIENCE) == 1
        assert "giving up" in log.read_text()


HANDLING_A_SIGNAL = """
import signal, sys, threading
from gearmanny.worker import BaseWorker

class Handling(BaseWorker):
    name = "handling"
    def task_wait(self):
        print("begun", flush=True)
        for _ in range(600):  # a signal that comes just before a wait is handled after it
            threading.Event().wait(0.1)

class Handler:
    def __call__(self, number, frame):
        sys.exit(5)
    handle = __call__

handlers = {{"object": Handler(), "method": Handler().handle, "function": lambda *_: sys.exit(5)}}
signal.signal(signal.SIGTERM, handlers["{kind}"])
Handling([sys.argv[1]]).start()
"""


@pytest.mark.parametrize("kind", ["function", "method", "object"])
def test_an_exit_of_a_signal_handler_stops_a_worker_and_its_job_goes_back(
    gearman_server: Server, gearman_client: SimpleClient, kind: str
) -> None:
    command = [sys.executable, "-c", HANDLING_A_SIGNAL.format(kind=kind), gearman_server.host]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        gearman_client.using(background=True).handling_wait()
        assert worker.stdout is not None
        assert worker.stdout.readline() == "begun\n"
        worker.terminate()
        assert worker.wait(PATIENCE) == 5

    def given_back() -> bool:
        rows = {row.function: row for row in JobServer(gearman_server.host).status()}
        return (rows["handling_wait"].total, rows["handling_wait"].running) == (1, 0)

    until(given_back, "the job going back")


@pytest.mark.usefixtures("runner")
class TestForks:
    @pytest.mark.parametrize(
        "function",
        [
            "forking_fork_and_exit",
            "forking_limited_fork_and_exit",
            "forking_coroutine_fork_and_exit",
        ],
    )
    def test_a_child_ends_where_it_leaves_its_task(
        self, gearman_client: SimpleClient, gearman_server: Server, log: Path, function: str
    ) -> None:
        pid = gearman_client.forking_pid()
        for code in (0, 3):
            assert gearman_client.call(function, code=code) == code
        assert gearman_client.forking_pid() == pid
        rows = [row for row in JobServer(gearman_server.host).workers() if row.functions]
        assert len(rows) == 1, "no child became a worker"
        hooks = [line for line in log.read_text().splitlines() if "hook left" in line]
        assert {line.split()[-1] for line in hooks} == {str(pid)}, "no child left a hook"

    def test_so_does_one_that_returns_or_fails(
        self, gearman_client: SimpleClient, log: Path
    ) -> None:
        assert gearman_client.forking_fork_and_return() == 0
        assert gearman_client.forking_fork_and_fail() == 1
        assert "ValueError: in the child" in log.read_text()
        assert gearman_client.foreign_fork() == 5

    def test_so_does_one_that_a_thread_forks(self, gearman_client: SimpleClient) -> None:
        assert gearman_client.forking_fork_in_a_thread() == 0

    @pytest.mark.parametrize("how", ["exit", "fail", "return"])
    @pytest.mark.parametrize("where", ["before", "after"])
    @pytest.mark.parametrize(
        "function",
        [
            "hooked_note",
            "hooked_note_asynchronously",
            "ahooked_note",
            "ahooked_note_asynchronously",
        ],
    )
    def test_so_does_one_that_leaves_a_hook(
        self, gearman_client: SimpleClient, tmp_path: Path, function: str, where: str, how: str
    ) -> None:
        path = tmp_path / "notes"
        pids = {
            gearman_client.call(function, path=str(path), fork=f"{where} {how}") for _ in range(3)
        }
        assert len(pids) == 1
        assert path.read_text().splitlines() == ["done"] * 3

    @pytest.mark.parametrize("function", ["terminate_a_child", "terminate_a_child_of_a_coroutine"])
    def test_a_child_can_be_terminated(self, gearman_client: SimpleClient, function: str) -> None:
        assert gearman_client.call(f"forking_{function}") == -signal.SIGTERM

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
    def test_programs_and_children_handle_signals_as_usual(
        self, gearman_client: SimpleClient, number: int
    ) -> None:
        assert gearman_client.forking_signal_a_program(number=number) == -number
        assert gearman_client.forking_signal_a_child(number=number) == -number

    def test_a_pool_can_be_used_again_and_again(self, gearman_client: SimpleClient) -> None:
        for _ in range(10):
            assert gearman_client.forking_pool() == [1, 2, 3]


def test_a_child_that_after_job_forks_does_not_become_a_worker(
    start: Start, gearman_client: SimpleClient, gearman_server: Server
) -> None:
    start("later")
    assert len({gearman_client.later_pid() for _ in range(20)}) == 1
    assert workers_of(gearman_server, "later_pid") == 1


def test_a_child_that_setup_forks_does_not_become_a_worker(
    start: Start, gearman_client: SimpleClient, gearman_server: Server, log: Path
) -> None:
    start("fork-in-setup")
    assert len({gearman_client.forking_pid() for _ in range(20)}) == 1
    assert workers_of(gearman_server, "forking_pid") == 1
    assert "ERROR" not in log.read_text()


def test_a_child_of_a_runner_in_a_thread_can_be_terminated_alone(
    start: Start, gearman_client: SimpleClient
) -> None:
    runner = start("in-thread")
    pid = gearman_client.forking_pid()
    for _ in range(3):
        assert gearman_client.forking_terminate_a_child() == -signal.SIGTERM
    assert gearman_client.forking_pid() == pid, "its signal stopped the worker"
    runner.communicate(timeout=PATIENCE)
    assert runner.returncode == 0


class TestHelpers:
    def test_the_job_of_a_killed_worker_goes_to_another_though_a_helper_lives(
        self,
        runner: subprocess.Popen[str],
        gearman_server: Server,
        gearman_client: SimpleClient,
        tmp_path: Path,
    ) -> None:
        path = tmp_path / "pids"
        with AsyncClient([gearman_server.host]) as client:
            work = client.forking_leave_a_helper_and_wait(path=str(path))
            until(path.exists, "the job running")
            worker, helper = map(int, path.read_text().split())
            os.kill(worker, signal.SIGKILL)
            assert work.get_result(PATIENCE) == "done by another"
        assert lives(helper)
        assert gearman_client.forking_pid() != worker

    @pytest.mark.parametrize("options", [[], ["no-pidfd"]], ids=["told", "asked"])
    def test_a_killed_process_is_replaced_though_a_helper_lives(
        self, start: Start, gearman_client: SimpleClient, log: Path, options: list[str]
    ) -> None:
        start(*options)
        worker, helper = gearman_client.forking_leave_a_helper()
        os.kill(worker, signal.SIGKILL)
        until(lambda: "was ended by SIGKILL" in log.read_text(), "the end being noticed")
        assert gearman_client.forking_pid() != worker
        assert lives(helper)
