"""WorkRunner as a program: real processes, real signals."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from chaos.restarts import fewest_workers, rolling_restart
from gearmanny.admin import JobServer
from gearmanny.client import AsyncClient, SimpleClient, WorkResult
from gearmanny.errors import (
    InvalidOption,
    InvalidTask,
    JobServerLost,
    JobServerUnavailable,
    TaskError,
)
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tests.acceptance.runner_script import First, Pickled, PickleEncoder
from tests.support.servers import PATIENCE, ROOT, Server, end, free_port, until, workers_of
from tests.support.tls import Authority
from tools.proxies import proxy

IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "tests.acceptance.runner_script", *sys.argv[1:]])
"""

Runner = subprocess.Popen[str]


@pytest.fixture
def start_runner(gearman_server: Server, tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    runners: list[Runner] = []
    logs: list[IO[str]] = []

    def start(threads: int = 1, *options: str, host: str = gearman_server.host) -> Runner:
        log = (tmp_path / "log").open("a")
        logs.append(log)
        command = [sys.executable, "-m", "tests.acceptance.runner_script", host]
        runner = subprocess.Popen(
            [*command, str(threads), *options],
            cwd=ROOT,
            env={**os.environ, "SLOW": str(tmp_path / "slow")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        runners.append(runner)
        return runner

    yield start
    for runner in runners:
        end(runner)
        with contextlib.suppress(ProcessLookupError):  # whatever of it is left
            os.killpg(runner.pid, signal.SIGKILL)
    for log in logs:
        log.close()


@pytest.fixture
def waiting_job(
    gearman_server: Server, tmp_path: Path
) -> Iterator[Callable[[], tuple[WorkResult, Path]]]:
    """Starts a job that runs until a file appears."""
    with AsyncClient([gearman_server.host]) as client:

        def start() -> tuple[WorkResult, Path]:
            path = tmp_path / "go"
            work = client.first_wait_for(path=str(path))
            until(Path(f"{path}.started").exists, "the job running")
            return work, path

        yield start


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def started(tmp_path: Path) -> int:
    """How many processes were started, by the log."""
    return (tmp_path / "log").read_text().count(" started with pid ")


def pids_of(client: SimpleClient, pids: set[int]) -> set[int]:
    """Adds who answers a hundred calls."""
    pids.update(client.map("first_pid", ({} for _ in range(100))))
    return pids


def test_every_work_class_has_its_processes_with_all_of_its_workers(
    gearman_server: Server, start_runner: Callable[..., Runner]
) -> None:
    start_runner(2)
    for function in ("first_pid", "second_pid", "pickled_pid"):
        until(lambda function=function: workers_of(gearman_server, function) == 2, function)

    rows = [row for row in JobServer(gearman_server.host).workers() if row.functions]
    together = [{name.partition("_")[0] for name in row.functions} for row in rows]
    assert sorted(map(sorted, together)) == [*[["first", "second"]] * 2, *[["pickled"]] * 2]
    pickling = {"timeout": PATIENCE, "data_encoder": PickleEncoder}
    with (
        SimpleClient([gearman_server.host], timeout=PATIENCE) as json_client,
        SimpleClient([gearman_server.host], **pickling) as pickle_client,
    ):
        assert json_client.first_pid() != pickle_client.pickled_pid()


def test_processes_reach_a_job_server_over_tls(
    start_runner: Callable[..., Runner],
    gearman_server: Server,
    gearman_client: SimpleClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority = Authority(tmp_path / "authority")
    monkeypatch.setenv("TEST_CA", authority.file)
    with proxy(gearman_server.port, authority.context("127.0.0.1")) as running:
        runner = start_runner(2, host=running.host)
        assert gearman_client.first_pid() != runner.pid
        assert running.received.startswith(b"\x16\x03")
        check_reports_of_a_helper(gearman_client, tmp_path)
        runner.terminate()
        assert runner.wait(PATIENCE) == 0


def check_reports_of_a_helper(client: SimpleClient, tmp_path: Path) -> None:
    told = client.first_report_from_a_helper()
    assert told.count("cannot report on the job") == 3
    assert told.count("let the task send it") == 3
    assert client.first_pid()
    log = (tmp_path / "log").read_text()
    assert log.count("first_report_from_a_helper answered") == 1


def test_a_helper_cannot_report_and_its_job_is_none_the_worse(
    start_runner: Callable[..., Runner], gearman_client: SimpleClient, tmp_path: Path
) -> None:
    start_runner()
    check_reports_of_a_helper(gearman_client, tmp_path)


def test_a_killed_process_is_replaced(
    start_runner: Callable[..., Runner], gearman_client: SimpleClient, tmp_path: Path
) -> None:
    start_runner()
    killed = gearman_client.first_pid()
    os.kill(killed, signal.SIGKILL)

    until(lambda: gearman_client.first_pid() != killed, "a new process answering")
    assert re.search(
        rf"ERROR process first\+second-1, pid {killed}, was ended by SIGKILL",
        (tmp_path / "log").read_text(),
    )


def test_a_process_that_dies_at_once_is_restarted_ever_later(
    start_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    runner = start_runner(1, "broken")

    def delays() -> list[float]:
        return [
            float(delay)
            for delay in re.findall(r"restarting in (\S+) s", (tmp_path / "log").read_text())
        ]

    until(lambda: len(delays()) >= 3, "three restarts")
    first, second, third = delays()[:3]
    # Each is half to whole of 0.5, 1 and 2 s.
    assert first <= 0.5 <= 1 <= third <= 2
    assert 0.5 <= second <= 1
    assert "RuntimeError: cannot be set up" in (tmp_path / "log").read_text()
    runner.terminate()
    assert runner.wait(PATIENCE) == 0


def test_without_keepalive_start_returns_when_all_have_ended(
    start_runner: Callable[..., Runner], gearman_server: Server, gearman_client: SimpleClient
) -> None:
    runner = start_runner(1, "no-keepalive")
    first = gearman_client.first_pid()
    with SimpleClient([gearman_server.host], data_encoder=PickleEncoder) as pickle_client:
        pickled = pickle_client.pickled_pid()

    os.kill(first, signal.SIGTERM)
    until(lambda: not alive(first), "the first process ending")
    assert runner.poll() is None
    os.kill(pickled, signal.SIGTERM)
    assert runner.wait(PATIENCE) == 0


def test_without_keepalive_a_bad_end_is_told(start_runner: Callable[..., Runner]) -> None:
    assert start_runner(1, "broken", "no-keepalive").wait(PATIENCE) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_current_job_finish(
    start_runner: Callable[..., Runner],
    waiting_job: Callable[[], tuple[WorkResult, Path]],
    number: signal.Signals,
    tmp_path: Path,
) -> None:
    runner = start_runner()
    work, path = waiting_job()
    # A terminal sends Ctrl-C to the whole group; a supervisor sends SIGTERM to the parent.
    (os.killpg if number is signal.SIGINT else os.kill)(runner.pid, number)
    until(lambda: "finishing the current jobs" in (tmp_path / "log").read_text(), "the log")

    path.touch()
    assert work.get_result(timeout=PATIENCE) == "done"
    assert runner.wait(PATIENCE) == 0
    log = (tmp_path / "log").read_text()
    assert log.endswith("start() returned\n")
    assert "Traceback" not in log


def test_a_second_signal_gives_the_job_back(
    start_runner: Callable[..., Runner],
    gearman_server: Server,
    waiting_job: Callable[[], tuple[WorkResult, Path]],
    tmp_path: Path,
) -> None:
    runner = start_runner()
    _work, _path = waiting_job()
    runner.terminate()
    until(lambda: "finishing the current jobs" in (tmp_path / "log").read_text(), "the log")
    runner.terminate()

    assert runner.wait(PATIENCE) == 0
    (row,) = [
        row for row in JobServer(gearman_server.host).status() if row.function == "first_wait_for"
    ]
    assert (row.total, row.running) == (1, 0)


def test_children_do_not_outlive_a_parent_that_was_killed(
    start_runner: Callable[..., Runner],
    gearman_server: Server,
    gearman_client: SimpleClient,
    waiting_job: Callable[[], tuple[WorkResult, Path]],
) -> None:
    runner = start_runner()
    pid = gearman_client.first_pid()
    waiting_job()
    runner.kill()

    until(lambda: not alive(pid), "the busy child ending")
    until(lambda: workers_of(gearman_server, "pickled_pid") == 0, "the idle child ending")


def test_a_child_that_keeps_the_interpreter_does_not_outlive_its_parent(
    start_runner: Callable[..., Runner], gearman_server: Server, tmp_path: Path
) -> None:
    runner = start_runner()
    with AsyncClient([gearman_server.host]) as client:
        pid = client.first_pid().get_result(timeout=PATIENCE)
        client.first_keep_the_interpreter(path=str(tmp_path / "running"))
        until((tmp_path / "running").exists, "the job running")
        runner.kill()
        until(lambda: not alive(pid), "the busy child ending")


def test_a_runner_stops_also_when_the_job_server_went_first(
    start_runner: Callable[..., Runner],
    gearman_server: Server,
    waiting_job: Callable[[], tuple[WorkResult, Path]],
) -> None:
    runner = start_runner()
    work, path = waiting_job()
    gearman_server.stop()
    runner.terminate()
    path.touch()

    assert runner.wait(PATIENCE) == 0
    with pytest.raises(JobServerLost):
        work.get_result()


def test_a_job_that_outlives_the_grace_is_run_again_by_another_worker(
    start_runner: Callable[..., Runner],
    waiting_job: Callable[[], tuple[WorkResult, Path]],
    tmp_path: Path,
) -> None:
    runner = start_runner(1, "grace=0.2")
    work, path = waiting_job()
    runner.terminate()

    assert runner.wait(PATIENCE) == 0
    assert "is busy after 0.2 s of grace" in (tmp_path / "log").read_text()
    path.touch()
    start_runner()
    assert work.get_result(timeout=PATIENCE) == "done"


class TestRestart:
    def test_jobs_run_once_while_all_processes_are_replaced_twice(self) -> None:
        counted = rolling_restart(3_000, 2)

        assert (counted.done, counted.lost, counted.run_twice) == (3_000, 0, 0)
        assert counted.processes > 2
        assert counted.fewest_workers >= 2
        assert counted.exit_code == 0

    def test_a_busy_process_finishes_its_job_while_its_successor_serves(
        self,
        start_runner: Callable[..., Runner],
        gearman_client: SimpleClient,
        waiting_job: Callable[[], tuple[WorkResult, Path]],
    ) -> None:
        runner = start_runner()
        old = gearman_client.first_pid()
        work, path = waiting_job()
        # A terminal, too, sends it to the whole group.
        os.killpg(runner.pid, signal.SIGHUP)

        assert gearman_client.first_pid() != old
        assert alive(old)
        path.touch()
        assert work.get_result(timeout=PATIENCE) == "done"
        until(lambda: not alive(old), "the old process ending")
        assert runner.poll() is None

    def test_a_process_stays_until_its_successor_is_ready(
        self,
        start_runner: Callable[..., Runner],
        gearman_server: Server,
        tmp_path: Path,
    ) -> None:
        runner = start_runner(1, "slow", "ready_timeout=0.1")
        with SimpleClient([gearman_server.host], timeout=PATIENCE) as client:
            old = client.slow_pid()
            (tmp_path / "slow").touch()
            for starts in (2, 3):  # a second SIGHUP replaces also what never became ready
                runner.send_signal(signal.SIGHUP)
                until(lambda starts=starts: started(tmp_path) == starts, "a successor")
                assert client.slow_pid() == old
            (tmp_path / "slow").unlink()
            until(lambda: client.slow_pid() != old, "the successor serving")
        until(lambda: not alive(old), "the old process ending")
        assert runner.poll() is None

    def test_a_terminal_that_is_closed_ends_the_runner(
        self, gearman_server: Server, tmp_path: Path
    ) -> None:
        terminal, its_end = pty.openpty()
        with (tmp_path / "log").open("w") as log:
            runner = subprocess.Popen(
                [sys.executable, "-c", IN_A_TERMINAL, gearman_server.host, "1"],
                cwd=ROOT,
                stdin=its_end,
                stdout=its_end,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        os.close(its_end)
        try:
            until(lambda: workers_of(gearman_server, "first_pid") == 1, "a worker")
            os.close(terminal)
            assert runner.wait(PATIENCE) == 0
        finally:
            end(runner)


class TestRecycling:
    def test_service_never_drops_while_processes_are_recycled(
        self,
        start_runner: Callable[..., Runner],
        gearman_server: Server,
        gearman_client: SimpleClient,
    ) -> None:
        start_runner(1, "max_jobs=100")
        pids = {gearman_client.first_pid()}
        with fewest_workers(gearman_server, "first_pid") as fewest:
            until(lambda: len(pids_of(gearman_client, pids)) >= 4, "processes being recycled")
        assert fewest[0] >= 1

    def test_a_process_that_has_grown_is_recycled(
        self, start_runner: Callable[..., Runner], gearman_client: SimpleClient, tmp_path: Path
    ) -> None:
        start_runner(1, "max_memory=300")
        assert gearman_client.first_pid() == gearman_client.first_grow(mib=1)
        grown = gearman_client.first_grow(mib=300)

        until(lambda: gearman_client.first_pid() != grown, "a fresh process")
        assert re.search(
            rf"pid {grown}, is to be recycled: 3\d\d MiB are resident after 3 jobs",
            (tmp_path / "log").read_text(),
        )

    def test_a_process_is_recycled_whose_task_was_interrupted(
        self,
        start_runner: Callable[..., Runner],
        gearman_server: Server,
        gearman_client: SimpleClient,
        tmp_path: Path,
    ) -> None:
        start_runner(1)
        old = gearman_client.first_pid()
        with fewest_workers(gearman_server, "first_pid") as fewest:
            with pytest.raises(TaskError, match="TaskTimeLimitExceeded"):
                gearman_client.first_spin()
            until(lambda: gearman_client.first_pid() != old, "a fresh process")
        assert fewest[0] >= 1
        reason = f"pid {old}, is to be recycled: it interrupted a task"
        assert reason in (tmp_path / "log").read_text()

    def test_a_lock_that_an_interruption_left_held_is_not_held_for_ever(
        self, start_runner: Callable[..., Runner], gearman_client: SimpleClient
    ) -> None:
        def is_held() -> bool:
            try:
                held: bool = gearman_client.first_interrupt_queue()
            except TaskError:  # the interruption came after the last line that expects it
                return False
            return held

        def is_usable() -> bool:
            try:
                gearman_client.first_use_queue()
            except TaskError:
                return False
            return True

        start_runner(1)
        until(is_held, "a lock being left held")
        until(is_usable, "a process where it is free")

    def test_but_not_where_that_is_switched_off(
        self, start_runner: Callable[..., Runner], gearman_client: SimpleClient, tmp_path: Path
    ) -> None:
        start_runner(1, "recycle_after_timeout=0")
        old = gearman_client.first_pid()
        for _ in range(3):
            with pytest.raises(TaskError, match="TaskTimeLimitExceeded"):
                gearman_client.first_spin()
            assert gearman_client.first_pid() == old
        assert "recycled" not in (tmp_path / "log").read_text()

    def test_a_replacement_that_is_not_ready_does_not_keep_a_grown_process_for_ever(
        self,
        start_runner: Callable[..., Runner],
        gearman_server: Server,
        tmp_path: Path,
    ) -> None:
        start_runner(1, "slow", "max_jobs=2", "ready_timeout=0.1")
        with SimpleClient([gearman_server.host], timeout=PATIENCE) as client:
            old = client.slow_pid()
            (tmp_path / "slow").touch()
            assert client.slow_pid() == old
            until(lambda: not alive(old), "the old process ending")
            (tmp_path / "slow").unlink()
            assert client.slow_pid() != old

    def test_without_keepalive_a_process_ends_with_its_last_job(
        self,
        start_runner: Callable[..., Runner],
        gearman_server: Server,
        gearman_client: SimpleClient,
    ) -> None:
        runner = start_runner(1, "max_jobs=1", "no-keepalive")
        gearman_client.first_pid()
        with SimpleClient([gearman_server.host], data_encoder=PickleEncoder) as pickle_client:
            pickle_client.pickled_pid()
        assert runner.wait(PATIENCE) == 0


def test_a_runner_gives_up_when_a_process_crashes_again_and_again(
    start_runner: Callable[..., Runner], tmp_path: Path
) -> None:
    assert start_runner(1, "broken", "max_crashes=3").wait(PATIENCE) == 1
    log = (tmp_path / "log").read_text()
    assert "process broken-1 crashed 3 times within 60 s; giving up" in log
    assert started(tmp_path) == 3


class TestConnectTimeout:
    def test_without_a_job_server_start_raises(self) -> None:
        hosts = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        runner = WorkRunner([First], hosts, connect_timeout=0.1)
        with pytest.raises(JobServerUnavailable) as caught:
            runner.start()
        assert list(caught.value.failures) == hosts

    def test_a_job_server_that_comes_in_time_is_waited_for(
        self,
        start_runner: Callable[..., Runner],
        gearman_server: Server,
        gearman_client: SimpleClient,
    ) -> None:
        gearman_server.stop()
        start_runner(1, "connect_timeout=60")
        gearman_server.start()
        until(lambda: workers_of(gearman_server, "first_pid") == 1, "a worker")
        assert gearman_client.first_pid()

    def test_a_signal_ends_the_waiting(
        self, start_runner: Callable[..., Runner], gearman_server: Server, tmp_path: Path
    ) -> None:
        gearman_server.stop()
        runner = start_runner(1, "connect_timeout=600")
        until(lambda: "waiting for a job server" in (tmp_path / "log").read_text(), "waiting")
        runner.terminate()
        assert runner.wait(PATIENCE) == 0


def test_a_runner_in_a_thread_obeys_its_methods(gearman_server: Server) -> None:
    # In a program of its own: this one has threads, which a fork should not have.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.acceptance.runner_script"),
            *(gearman_server.host, "1", "in-thread"),
        ],
        cwd=ROOT,
        timeout=PATIENCE * 2,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class TestConstruction:
    def test_no_workers_are_refused(self) -> None:
        with pytest.raises(InvalidTask, match="no workers to run"):
            WorkRunner([])

    def test_the_same_function_twice_is_refused(self) -> None:
        class Twin(BaseWorker):
            name = "first"
            work_class = Pickled.work_class

        with pytest.raises(
            InvalidTask, match=r"first_help\(\) is exported by .*First and by .*Twin"
        ):
            WorkRunner([First, Twin])

    def test_a_class_without_a_name_is_refused(self) -> None:
        class Nameless(BaseWorker):
            pass

        with pytest.raises(InvalidTask, match="Nameless has no name"):
            WorkRunner([Nameless])

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"grace": -1}, "grace must be a number of seconds, 0 or more, or None, not -1"),
            ({"grace": "60"}, "grace must be a number of seconds"),
            ({"connect_timeout": float("nan")}, "connect_timeout must be a number of seconds"),
            (
                {"crash_window": None},
                "crash_window must be a number of seconds, 0 or",
            ),
            ({"max_jobs": 0}, "max_jobs must be a whole number, 1 or more, or None, not 0"),
            (
                {"concurrency": 0},
                "concurrency must be a whole number from 1 to 100000, or",
            ),
            ({"prefetch": 0}, "prefetch must be a whole number from 1 to 100000, or None, not 0"),
            ({"max_crashes": 1.5}, "max_crashes must be a whole number"),
            ({"max_memory": True}, "max_memory must be a whole number"),
            ({"max_memory": 1}, r"max_memory is 1 MiB, but this process takes \d+ MiB before"),
        ],
    )
    def test_limits_that_cannot_be_are_refused(self, option: Any, message: str) -> None:
        with pytest.raises(InvalidOption, match=message):
            WorkRunner([First], **option)

    def test_bad_tls_is_refused_before_any_process_is_made(self) -> None:
        with pytest.raises(InvalidOption, match=r"tls\['ca'\], '/no/such', cannot be used"):
            WorkRunner([First], tls={"ca": "/no/such"})

    @pytest.mark.parametrize("threads", [0, -1, "2", 1.5])
    def test_threads_are_a_number_of_processes(self, threads: int) -> None:
        with pytest.raises(InvalidOption, match="threads must be a whole number"):
            WorkRunner([First]).start(threads=threads)


class TestAProcessThatShowsNoSignOfLife:
    def test_is_named_with_its_job_and_again_when_it_goes_on(
        self,
        start_runner: Callable[..., Runner],
        waiting_job: Callable[[], tuple[WorkResult, Path]],
        gearman_client: SimpleClient,
        tmp_path: Path,
    ) -> None:
        start_runner(1, "stall_timeout=1")
        pid = gearman_client.first_pid()
        work, path = waiting_job()
        os.kill(pid, signal.SIGSTOP)
        until(lambda: "has shown no sign of life" in (tmp_path / "log").read_text())
        assert re.search(
            rf"pid {pid}, has shown no sign of life for 1 s, while it runs first_wait_for \(handle",
            (tmp_path / "log").read_text(),
        )
        os.kill(pid, signal.SIGCONT)
        until(lambda: f"pid {pid}, shows signs of life again" in (tmp_path / "log").read_text())
        path.touch()
        assert work.get_result(PATIENCE) == "done"

    def test_is_named_when_c_code_holds_the_gil_and_shows_its_stack(
        self,
        start_runner: Callable[..., Runner],
        gearman_client: SimpleClient,
        tmp_path: Path,
    ) -> None:
        runner = start_runner(1, "stall_timeout=1")
        started = tmp_path / "started"
        gearman_client.using(background=True).first_keep_the_interpreter(path=str(started))
        until(lambda: "it runs first_keep_the_interpreter" in (tmp_path / "log").read_text())
        runner.send_signal(signal.SIGUSR1)
        until(lambda: (tmp_path / "log").read_text().count("the stacks of") == 3, "three stacks")
        log = (tmp_path / "log").read_text()
        assert "in task_keep_the_interpreter" in log
        assert re.search(r"the stacks of the runner:\n(.*\n)*.*supervisor.py", log)
        os.killpg(runner.pid, signal.SIGKILL)  # nothing else would end that task within the grace


def test_a_process_shows_its_stacks_as_soon_as_it_has_started_and_goes_on(
    start_runner: Callable[..., Runner], tmp_path: Path, gearman_client: SimpleClient
) -> None:
    (tmp_path / "slow").touch()
    runner = start_runner(1, "slow")
    until(lambda: started(tmp_path) == 1, "the process")
    runner.send_signal(signal.SIGUSR1)
    until(lambda: "the stacks of process slow-1" in (tmp_path / "log").read_text())
    (tmp_path / "slow").unlink()
    assert gearman_client.slow_pid()
