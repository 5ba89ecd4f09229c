"""What worker processes inherit from the process that forks them, besides connections."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gearmanny.client import SimpleClient
from gearmanny.errors import TaskError
from tests.support.servers import PATIENCE, ROOT, Server, end, until


@pytest.fixture
def runner(gearman_server: Server, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.acceptance.inherited_script", gearman_server.host]
    with (tmp_path / "stderr").open("w") as file:
        runner = subprocess.Popen(
            [*command, str(tmp_path / "log")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
        yield runner
        end(runner)


@pytest.mark.usefixtures("runner")
def test_processes_have_random_numbers_of_their_own(gearman_client: SimpleClient) -> None:
    pytest.importorskip("numpy")
    found: dict[int, tuple[float, ...]] = {}

    def first_of_each() -> bool:
        pid, *numbers = gearman_client.inheriting_numbers()
        found.setdefault(pid, tuple(numbers))
        return len(found) == 3

    until(first_of_each, "all processes")
    for numbers in zip(*found.values(), strict=True):
        assert len(set(numbers)) == 3


def test_what_a_handler_of_the_log_has_gathered_is_written_once(
    runner: subprocess.Popen[str], gearman_client: SimpleClient, tmp_path: Path
) -> None:
    for _ in range(3):
        with pytest.raises(TaskError):
            gearman_client.inheriting_fail()
    runner.terminate()
    assert runner.wait(PATIENCE) == 0
    assert (tmp_path / "log").read_text().count("written once") == 1


@pytest.mark.usefixtures("runner")
def test_threads_that_processes_will_miss_are_named(
    gearman_client: SimpleClient, tmp_path: Path
) -> None:
    with pytest.raises(TaskError):
        gearman_client.inheriting_fail()
    log = (tmp_path / "stderr").read_text()
    assert log.count("threads that worker processes will not have: Thread-1 (_monitor). ") == 1


@pytest.mark.usefixtures("runner")
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="asks Linux")
def test_a_collection_copies_no_memory_that_processes_share(gearman_client: SimpleClient) -> None:
    """The objects of the script take over 20 MiB."""
    assert gearman_client.inheriting_collect() < 5 * 1024


def test_only_what_was_there_before_the_fork_is_kept_from_collections(
    runner: subprocess.Popen[str], gearman_client: SimpleClient
) -> None:
    answers = [gearman_client.inheriting_frozen() for _ in range(4)]  # of three processes
    frozen = dict(answers)
    assert len(frozen) < 4
    assert all(frozen[pid] == count > 300_000 for pid, count in answers)
    runner.send_signal(signal.SIGTERM)
    written, _ = runner.communicate(timeout=PATIENCE)
    assert int(written.removeprefix("frozen afterwards: ")) < 2000  # with those of Python 3.12
