"""Tasks with limits: their workers, a dispatcher and a job server together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from gearmanny.records.states import State
from tests.contract.records.conftest import Database
from tests.integration.test_recorded_jobs import caller, database, store
from tests.support.recorded import Caller, runs
from tests.support.servers import ROOT, Server, end, until, workers_of

__all__ = ["caller", "database", "store"]


@pytest.fixture
def workers(database: Database, gearman_server: Server) -> Iterator[None]:
    """Three processes, with a dispatcher, of a runner."""
    script = [sys.executable, "-m", "tests.integration.limited_script"]
    process = subprocess.Popen([*script, gearman_server.host, database.url], cwd=ROOT)
    try:
        until(lambda: workers_of(gearman_server, "limited_free") == 3, "the workers")
        yield
    finally:
        end(process)


def count(caller: Caller, ids: list[str], state: State) -> int:
    return [caller.look(id).state for id in ids].count(state)


@pytest.mark.usefixtures("workers")
def test_what_is_over_a_limit_keeps_no_process(caller: Caller, tmp_path: Path) -> None:
    path = tmp_path / "go"
    ids = [caller.call("limited_wait", {"path": str(path)}) for _ in range(5)]
    until(lambda: len(runs(path)) == 2, "two of them running")
    caller.until(caller.call("limited_free"), State.SUCCEEDED)  # in the third process
    assert (count(caller, ids, State.RUNNING), len(runs(path))) == (2, 2)
    path.touch()
    until(lambda: count(caller, ids, State.SUCCEEDED) == 5, "all of them done")
    assert len(runs(path)) == 5


@pytest.mark.usefixtures("workers")
def test_a_process_that_is_killed_leaves_its_place_to_another(
    caller: Caller, tmp_path: Path
) -> None:
    path = tmp_path / "go"
    ids = [caller.call("limited_wait", {"path": str(path)}) for _ in range(3)]
    until(lambda: len(runs(path)) == 2, "two of them running")
    os.kill(int(runs(path)[0]), signal.SIGKILL)
    until(lambda: len(runs(path)) == 3, "the place taken again")
    assert count(caller, ids, State.RUNNING) <= 2
    path.touch()
    until(lambda: count(caller, ids, State.SUCCEEDED) == 3, "all of them done")


@pytest.mark.usefixtures("workers")
def test_many_jobs_of_one_key_hold_up_no_other_key(caller: Caller, tmp_path: Path) -> None:
    path, other = tmp_path / "go", tmp_path / "other"
    for _ in range(20):
        caller.call("limited_of", {"customer": 1, "path": str(path)})
    id = caller.call("limited_of", {"customer": 2, "path": str(other)})
    other.touch()
    caller.until(id, State.SUCCEEDED)
    path.touch()


@pytest.mark.usefixtures("workers")
def test_who_leaves_the_key_out_shares_the_limit_of_its_default(
    caller: Caller, tmp_path: Path
) -> None:
    path, other = tmp_path / "go", tmp_path / "other"
    caller.call("limited_of", {"path": str(path)})
    until(lambda: runs(path), "the first one running")
    id = caller.call("limited_of", {"customer": 1, "path": str(other)})
    until(lambda: caller.at_server("limited_of") == [1, 1], "the second one in the database")
    assert (runs(other), caller.look(id).attempts) == ([], 0)
    path.touch()
    other.touch()
    caller.until(id, State.SUCCEEDED)


@pytest.mark.usefixtures("workers")
def test_jobs_begin_at_their_rate(caller: Caller) -> None:
    ids = [caller.call("limited_often") for _ in range(12)]
    until(lambda: count(caller, ids, State.SUCCEEDED) == 12, "all of them done")
    started = sorted(job.started for job in map(caller.look, ids) if job.started)
    gaps = [(b - a).total_seconds() for a, b in pairwise(started)]
    assert min(gaps) >= 0.05
