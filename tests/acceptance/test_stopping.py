"""Workers that stop, or whose runner ends, whatever their tasks have done."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from tests.support.servers import PATIENCE, ROOT, Server, until

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(gearman_server: Server, log: Path) -> Iterator[Start]:
    programs = []

    def start(way: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.acceptance.stopping_script", gearman_server.host]
        with log.open("w") as file:
            program = subprocess.Popen(
                [*command, way], cwd=ROOT, stderr=file, start_new_session=True
            )
        programs.append(program)
        return program

    yield start
    for program in programs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def has_ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root has privileges to drop"
)
def test_a_process_that_drops_privileges_ends_with_its_runner(
    start: Start, gearman_client: SimpleClient
) -> None:
    runner = start("dropping")
    pid = gearman_client.staying_pid()
    runner.kill()
    until(lambda: has_ended(pid), "the process ending")


@pytest.mark.parametrize("left", ["thread", "process"])
def test_what_a_task_leaves_is_named_and_not_waited_for(
    start: Start, gearman_client: SimpleClient, log: Path, left: str
) -> None:
    runner = start("runner")
    gearman_client.call(f"staying_leave_a_{left}")
    runner.terminate()
    assert runner.wait(PATIENCE) == 0
    text = log.read_text()
    assert f"what its tasks have left: {left} 'forgotten'" in text
    assert "was ended by" not in text
    assert "ERROR" not in text


def test_a_thread_that_a_task_leaves_does_not_report_on_the_job_of_another(
    start: Start, gearman_server: Server, tmp_path: Path
) -> None:
    start("runner")
    path = tmp_path / "go"
    with AsyncClient([gearman_server.host]) as client:
        client.staying_leave_a_reporter(path=str(path)).get_result(PATIENCE)
        work = client.staying_wait_for(path=str(path))
        assert work.get_result(PATIENCE) == "done"
        assert list(work.updates()) == []
    assert path.read_text().startswith("The job that has started this thread has ended")


def test_a_thread_of_a_pool_may_report_on_many_jobs(start: Start, gearman_server: Server) -> None:
    start("runner")
    with AsyncClient([gearman_server.host]) as client:
        for _ in range(2):
            work = client.staying_report_from_a_pool()
            work.get_result(PATIENCE)
            assert len(list(work.updates())) == 1


def test_a_thread_is_named_also_where_the_grace_is_short(
    start: Start, gearman_client: SimpleClient, log: Path
) -> None:
    runner = start("hasty")
    gearman_client.staying_leave_a_thread()
    runner.terminate()
    assert runner.wait(PATIENCE) == 0
    text = log.read_text()
    assert "what its tasks have left: thread 'forgotten'" in text
    assert "of grace" not in text


def test_a_coroutine_that_a_task_leaves_is_cancelled(
    start: Start, gearman_client: SimpleClient, log: Path, tmp_path: Path
) -> None:
    runner = start("runner")
    gearman_client.staying_leave_a_coroutine(path=str(tmp_path / "cancelled"))
    runner.terminate()
    assert runner.wait(PATIENCE) == 0
    assert (tmp_path / "cancelled").exists()
    assert "Task was destroyed" not in log.read_text()


@pytest.mark.parametrize("way", ["runner", "bare"])
def test_a_task_that_replaces_the_handlers_of_signals_does_not_keep_a_job_from_its_end(
    start: Start, gearman_server: Server, log: Path, tmp_path: Path, way: str
) -> None:
    start(way)
    path = tmp_path / "go"
    with AsyncClient([gearman_server.host]) as client:
        for _ in range(2):
            client.staying_run_a_loop_that_handles_signals().get_result(PATIENCE)
        pid = client.staying_pid().get_result(PATIENCE)
        work = client.staying_wait_for(path=str(path))
        until(Path(f"{path}.started").exists, "the job running")
        os.kill(pid, signal.SIGTERM)
        path.touch()
        assert work.get_result(PATIENCE) == "done"
    text = log.read_text()
    assert "was ended by" not in text
    assert "replaced the handlers of signals that stop this worker, SIGTERM" in text


@pytest.mark.skipif(sys.platform != "linux", reason="there are no containers")
def test_the_first_process_of_a_container_buries_orphans_and_goes_on(
    start: Start, gearman_client: SimpleClient, log: Path
) -> None:
    runner = start("first")
    pid = gearman_client.staying_pid()
    orphans = gearman_client.staying_leave_orphans()
    assert len(orphans) == 3
    until(lambda: not any(Path(f"/proc/{orphan}").exists() for orphan in orphans))
    assert gearman_client.staying_pid() == pid
    os.kill(pid, signal.SIGKILL)
    assert gearman_client.staying_pid() != pid
    assert "was ended by SIGKILL" in log.read_text(), "its end was not taken for that of an orphan"
    runner.terminate()
    assert runner.wait(PATIENCE) == 0


class TestABareStart:
    def test_finishes_its_job_after_sigterm_and_returns(
        self, start: Start, gearman_server: Server, tmp_path: Path
    ) -> None:
        program = start("bare")
        path = tmp_path / "go"
        with AsyncClient([gearman_server.host]) as client:
            work = client.staying_wait_for(path=str(path))
            until(Path(f"{path}.started").exists, "the job running")
            program.terminate()
            path.touch()
            assert work.get_result(PATIENCE) == "done"
        assert program.wait(PATIENCE) == 7

    def test_leaves_a_handler_of_the_program_alone(
        self, start: Start, gearman_client: SimpleClient
    ) -> None:
        program = start("handled")
        assert gearman_client.staying_pid() == program.pid
        program.terminate()
        assert program.wait(PATIENCE) == 5

    def test_outside_of_the_main_thread_handles_no_signal(
        self, start: Start, gearman_client: SimpleClient
    ) -> None:
        program = start("thread")
        assert gearman_client.staying_pid() == program.pid
        program.terminate()
        assert program.wait(PATIENCE) == -signal.SIGTERM

    def test_keeps_its_handler_from_what_its_tasks_fork(
        self, start: Start, gearman_client: SimpleClient
    ) -> None:
        start("bare")
        assert gearman_client.staying_terminate_a_child() == -signal.SIGTERM
