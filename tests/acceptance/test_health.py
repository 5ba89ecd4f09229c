"""`gearmanny health`, for runners that are healthy and for runners that are not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import InvalidOption
from gearmanny.running.healthfile import STALE_AFTER
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tests.support.servers import PATIENCE, ROOT, Gearmand, end, free_port, until

Runner = subprocess.Popen[str]


class Answer(NamedTuple):
    code: int
    line: str


def ask(file: Path, *options: str) -> Answer:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "gearmanny", "health", str(file), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    return Answer(done.returncode, line)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "health"


@pytest.fixture
def start(file: Path, tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    started: list[Runner] = []

    def start(host: str, processes: int = 1) -> Runner:
        command = [sys.executable, "-m", "tests.acceptance.health_script", host, str(file)]
        with (tmp_path / "log").open("w") as log:
            runner = subprocess.Popen([*command, str(processes)], cwd=ROOT, stderr=log, text=True)
        started.append(runner)
        return runner

    yield start
    for runner in started:
        runner.send_signal(signal.SIGCONT)
        runner.terminate()
        end(runner)


@pytest.fixture
def gearmand() -> Iterator[Gearmand]:
    try:
        server = Gearmand()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with server:
        yield server


def test_a_runner_is_alive_and_ready_during_a_long_job_and_leaves_no_file(
    start: Callable[..., Runner], file: Path, gearmand: Gearmand, tmp_path: Path
) -> None:
    runner = start(gearmand.host, 2)
    until(lambda: ask(file, "--ready").code == 0, "ready")
    assert ask(file) == (0, f"alive: 2 processes of the runner, pid {runner.pid}")
    assert ask(file, "--ready") == (0, f"ready: 2 processes of the runner, pid {runner.pid}")
    path = tmp_path / "go"
    with AsyncClient([gearmand.host]) as client:
        work = client.shop_wait_for(path=str(path))
        until(Path(f"{path}.started").exists, "the job running")
        first = json.loads(file.read_text())["written"]
        until(lambda: json.loads(file.read_text())["written"] > first + 8, "eight seconds of it")
        assert ask(file).code == 0
        assert ask(file, "--ready").code == 0
        runner.terminate()
        until(lambda: ask(file, "--ready") == (1, "not ready: it is stopping"), "stopping")
        assert ask(file).code == 0
        path.touch()
        assert work.get_result(PATIENCE) == "done"
    assert runner.wait(PATIENCE) == 0
    assert ask(file) == (1, f"not alive: no runner is here: {file} does not exist")
    assert list(tmp_path.glob("health*")) == []


def test_a_process_that_is_stopped_is_not_alive_until_it_goes_on(
    start: Callable[..., Runner], file: Path, gearmand: Gearmand
) -> None:
    start(gearmand.host)
    with SimpleClient([gearmand.host], timeout=PATIENCE) as client:
        pid = client.shop_pid()
    until(lambda: ask(file).code == 0, "alive")
    os.kill(pid, signal.SIGSTOP)
    said = f"not alive: process shop-1, pid {pid} has shown no sign of life for 1 s"
    until(lambda: ask(file) == (1, said), "not alive")
    os.kill(pid, signal.SIGCONT)
    until(lambda: ask(file).code == 0, "alive again")


def test_a_process_in_an_endless_loop_of_c_code_is_not_alive(
    start: Callable[..., Runner], file: Path, gearmand: Gearmand
) -> None:
    start(gearmand.host)
    with SimpleClient([gearmand.host], timeout=PATIENCE) as client:
        pid = client.shop_pid()
        client.using(background=True).shop_keep_the_interpreter()
        until(lambda: "no sign of life" in ask(file).line, "not alive")
        os.kill(pid, signal.SIGKILL)
        until(lambda: ask(file, "--ready").code == 0, "a successor")


def test_a_process_that_runs_no_job_and_asks_for_none_is_not_alive(
    start: Callable[..., Runner], file: Path, gearmand: Gearmand
) -> None:
    start(gearmand.host)
    with SimpleClient([gearmand.host], timeout=PATIENCE) as client:
        pid = client.shop_pid()

    def is_not_alive() -> bool:
        os.kill(pid, signal.SIGUSR2)  # again, as the first may come where the loop does not wait
        return ask(file).code == 1

    with contextlib.suppress(AssertionError):  # which takes 7 s, and longer on a busy machine
        until(is_not_alive, "not alive")
    until(is_not_alive, "not alive")
    assert "runs no job, and has not turned to its job servers for 7 s" in ask(file).line
    os.kill(pid, signal.SIGKILL)


def test_a_runner_whose_job_server_is_away_or_deaf_is_alive_but_not_ready(
    start: Callable[..., Runner], file: Path, gearmand: Gearmand
) -> None:
    start(gearmand.host)
    until(lambda: ask(file, "--ready").code == 0, "ready")
    gearmand.stop()
    until(lambda: "is connected to no job server" in ask(file, "--ready").line, "not ready")
    assert ask(file).code == 0
    gearmand.start()
    until(lambda: ask(file, "--ready").code == 0, "ready again")
    assert gearmand._process is not None
    gearmand._process.send_signal(signal.SIGSTOP)
    until(lambda: ask(file, "--ready").code == 1, "not ready")
    assert ask(file).code == 0
    gearmand._process.send_signal(signal.SIGCONT)
    until(lambda: ask(file, "--ready").code == 0, "ready once more")


def test_a_runner_that_never_met_a_job_server_is_alive_and_not_ready(
    start: Callable[..., Runner], file: Path
) -> None:
    start(f"127.0.0.1:{free_port()}")
    until(lambda: "is connected to no job server" in ask(file, "--ready").line, "not ready")
    assert ask(file).code == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_runner_that_is_killed_or_stopped_is_not_alive(
    number: signal.Signals, start: Callable[..., Runner], file: Path, gearmand: Gearmand
) -> None:
    runner = start(gearmand.host)
    until(lambda: ask(file).code == 0, "alive")
    runner.send_signal(number)
    until(lambda: ask(file).code == 1, "not alive")
    assert f"the runner, pid {runner.pid}, has ended or stands still" in ask(file).line
    runner.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"boot": "another"}, "was written before the machine was started"),
        ({"written": 1e12}, "was written before the machine was started"),
        ({"written": -2 * STALE_AFTER}, "has ended or stands still"),
        ({"gearmanny_health": 2}, "was written by another version of gearmanny"),
        ({}, ""),
    ],
    ids=["another boot", "earlier boot", "stale", "format", "fresh"],
)
def test_a_file_is_not_believed_blindly(
    change: dict[str, object],
    said: str,
    start: Callable[..., Runner],
    file: Path,
    gearmand: Gearmand,
) -> None:
    runner = start(gearmand.host)
    until(lambda: ask(file).code == 0, "alive")
    runner.kill()
    runner.wait(PATIENCE)
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **change}))
    answer = ask(file)
    assert said in answer.line
    assert answer.code == (1 if said else 0)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"gearmanny_health": 1}', "\xff"])
def test_another_file_is_named(content: str, file: Path) -> None:
    file.write_text(content, encoding="latin-1")
    assert ask(file) == (1, f"not alive: {file} was not written by a runner")
    file.unlink()
    file.mkdir()
    assert ask(file) == (1, f"not alive: {file} cannot be read: Is a directory")


class Idle(BaseWorker):
    name = "idle"

    def task_nothing(self) -> None:
        """Does nothing"""


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_that_cannot_be_written_is_an_error_at_the_start(
    kind: Callable[[str], str | Path], tmp_path: Path
) -> None:
    runner = WorkRunner([Idle], health_file=kind(f"{tmp_path}/missing/health"))
    with pytest.raises(InvalidOption, match=r"health_file cannot be written: .* No such file"):
        runner.start()


def test_a_file_that_cannot_be_written_any_more_is_logged_once(
    start: Callable[..., Runner], file: Path, gearmand: Gearmand, tmp_path: Path
) -> None:
    runner = start(gearmand.host)
    until(lambda: ask(file).code == 0, "alive")
    beside = Path(f"{file}.{runner.pid}")

    def is_logged() -> bool:
        try:
            beside.mkdir()
            (beside / "in the way").touch()
        except OSError:
            pass
        return "taken for dead" in (tmp_path / "log").read_text()

    until(is_logged, "a warning")
    (beside / "in the way").unlink()
    beside.rmdir()
    written = json.loads(file.read_text())["written"]
    until(lambda: json.loads(file.read_text())["written"] > written + 1, "written again")
    assert (tmp_path / "log").read_text().count("taken for dead") == 1


def test_the_command_loads_nothing_that_takes_time(file: Path) -> None:
    file.touch()
    code = (
        "import sys; from gearmanny.cli import main; main(['health', sys.argv[1]]); "
        "print(*sorted(name for name in sys.modules if name.startswith('gearman')), *sorted("
        "{'asyncio', 'django', 'multiprocessing', 'socket', 'sqlite3', 'ssl', 'subprocess', "
        "'psycopg', 'pymongo'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].split() == [
        "gearmanny",
        "gearmanny.cli",
        "gearmanny.commands",
        "gearmanny.commands.health",
        "gearmanny.errors",
        "gearmanny.logs",
        "gearmanny.running",
        "gearmanny.running.healthfile",
    ]


def test_the_file_may_be_named_by_the_environment(file: Path) -> None:
    command = [sys.executable, "-m", "gearmanny", "health"]
    named = {**os.environ, "GEARMANNY_HEALTH_FILE": str(file)}
    done = subprocess.run(command, env=named, capture_output=True, text=True, check=False)
    assert (done.returncode, str(file) in done.stdout) == (1, True)
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
