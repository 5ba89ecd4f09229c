"""Jobs that kill the processes that run them, and the service that goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.poison import poisoned
from gearmanny.admin import JobServer
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import TaskError
from tests.support.servers import PATIENCE, ROOT, Server, until

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(gearman_server: Server, log: Path) -> Iterator[Start]:
    runners = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.acceptance.poison_script", gearman_server.host]
        with log.open("w") as file:
            runner = subprocess.Popen(
                [*command, *options], cwd=ROOT, stderr=file, start_new_session=True
            )
        runners.append(runner)
        return runner

    yield start
    for runner in runners:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(runner.pid, signal.SIGKILL)
        runner.wait()


def running(server: Server) -> int:
    """Returns how many jobs workers have."""
    return sum(row.running for row in JobServer(server.host).status())


WAYS = {
    "exit0": "exited with 0",
    "exit1": "exited with 1",
    "exit77": "exited with 77",
    "segfault": "was ended by SIGSEGV",
    "killed": "was ended by SIGKILL",
    "closed": "exited with 1",
    "interrupt": "exited with 1",
}


class TestAJobThatKillsItsProcess:
    @pytest.mark.parametrize("function", ["die", "die_in_a_coroutine", "registered"])
    @pytest.mark.parametrize("how", WAYS)
    def test_is_failed_after_max_deaths_and_named_and_the_service_goes_on(
        self, start: Start, gearman_client: SimpleClient, log: Path, how: str, function: str
    ) -> None:
        runner = start("max_crashes=1")
        first = gearman_client.poison_pid()
        with pytest.raises(TaskError) as failed:
            gearman_client.call(f"poison_{function}", how=how)
        assert failed.value.type == "gearmanny.errors.WorkerLost"
        assert failed.value.message == (
            f"poison_{function}() was not run again: a process that ran this job "
            f"{WAYS[how]} (3 times)."
        )
        assert gearman_client.poison_pid() != first
        assert runner.poll() is None
        text = log.read_text()
        assert text.count(f"while it ran poison_{function} (handle H:") == 3
        assert text.count("is failed instead of run again") == 1
        assert "giving up" not in text
        assert "restarting in" not in text

    def test_may_be_allowed_another_number(
        self, start: Start, gearman_client: SimpleClient, log: Path
    ) -> None:
        start("max_deaths=1")
        with pytest.raises(TaskError, match="was ended by SIGSEGV"):
            gearman_client.poison_die(how="segfault")
        assert log.read_text().count("while it ran poison_die") == 1

    def test_is_run_for_ever_without_a_limit_and_ends_the_service(
        self, start: Start, gearman_client: SimpleClient, log: Path
    ) -> None:
        runner = start("max_deaths=0", "max_crashes=2")
        gearman_client.using(background=True).poison_die(how="exit1")
        assert runner.wait(PATIENCE) == 1
        assert log.read_text().count("while it ran poison_die") == 2

    def test_names_its_unique_id(
        self, start: Start, gearman_client: SimpleClient, log: Path
    ) -> None:
        start()
        gearman_client.using(background=True).poison_die(how="segfault")
        until(lambda: "instead of run again" in log.read_text(), "it being condemned")
        assert log.read_text().count(", unique id ") == 4

    def test_does_not_take_those_with_it_that_ran_beside_it(
        self, start: Start, gearman_server: Server, tmp_path: Path
    ) -> None:
        start("max_deaths=1")
        go = tmp_path / "go"
        with AsyncClient([gearman_server.host]) as client:
            good = [client.poison_wait(path=str(go)) for _ in range(3)]
            bad = client.poison_die_in_a_coroutine(how="segfault", path=str(go))
            until(lambda: running(gearman_server) == 4, "all of them running")
            go.touch()
            with pytest.raises(TaskError, match="was ended by SIGSEGV"):
                bad.get_result(PATIENCE)
            assert all(work.get_result(PATIENCE) for work in good)

    def test_is_the_only_one_to_blame_when_it_ignores_its_time_limit(
        self, start: Start, gearman_client: SimpleClient, log: Path
    ) -> None:
        runner = start("max_crashes=1")
        for _ in range(2):
            with pytest.raises(TaskError, match="exceeded its time limit"):
                gearman_client.poison_ignore_the_limit()
        assert gearman_client.poison_pid()
        assert runner.poll() is None
        assert log.read_text().count("while it ran poison_ignore_the_limit") == 2


def test_a_process_that_is_stopped_blames_no_job(
    start: Start, gearman_server: Server, tmp_path: Path, log: Path
) -> None:
    runner = start("grace=1")
    with AsyncClient([gearman_server.host]) as client:
        client.poison_wait(path=str(tmp_path / "never"))
        until(lambda: any(tmp_path.glob("never.*")), "the job running")
        runner.terminate()
        assert runner.wait(PATIENCE) == 0
    assert "while it ran" not in log.read_text()


def test_a_stream_of_bad_jobs_costs_no_memory_and_no_good_job() -> None:
    counted = poisoned(jobs=100, poison=5)
    assert counted.good_done == counted.good == 100
    assert counted.condemned == 5
    assert counted.deaths >= 15
    assert counted.failed >= 100
    assert counted.growth_of_runner < 4 * 1024
    assert counted.largest_worker < 100 * 1024
    assert counted.exit_code == 0
