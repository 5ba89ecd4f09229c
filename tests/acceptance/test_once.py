"""`runworkers --once`: it works off what waits, and ends; its exit code tells of failures."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gearmanny.admin import JobServer as Admin
from gearmanny.client import SimpleClient
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import State
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tests.support.servers import PATIENCE, Server, Start, until

POOLS = {"reports": {"workers": ["reports"], "threads": 2}}


@pytest.fixture
def start_once(start_runworkers: Start) -> Start:
    return partial(
        start_runworkers,
        "--once",
        TEST_APP="tests.djangoapps.pooled",
        TEST_POOLS=json.dumps(POOLS),
    )


@pytest.fixture
def background(gearman_server: Server) -> Iterator[Any]:
    """Submits background jobs to the job server, where nobody works yet."""
    with SimpleClient([gearman_server.host], timeout=PATIENCE) as client:
        yield client.using(background=True)


@pytest.fixture
def start_recorded(start_command: Start, start_once: Start) -> Start:
    """The same with records in the database, whose tables are there."""
    assert start_command("migrate", "-v", "0").wait(PATIENCE) == 0
    return partial(start_once, TEST_RECORDS='{"STORE": "database"}')


@pytest.fixture
def store(start_recorded: Start, tmp_path: Path) -> Iterator[SQLStore]:
    with contextlib.closing(SQLStore(f"sqlite:///{tmp_path / 'database'}")) as store:
        yield store


@pytest.fixture
def recorded(gearman_server: Server, store: SQLStore) -> Iterator[Any]:
    with SimpleClient([gearman_server.host], timeout=PATIENCE, records=store) as client:
        yield client.using(background=True)


def waiting(server: Server) -> int:
    return sum(row.total for row in Admin(server.host).status())


def test_it_ends_when_nothing_waits(start_once: Start, tmp_path: Path) -> None:
    assert start_once().wait(PATIENCE) == 0
    assert "no job is left; stopping" in (tmp_path / "stderr").read_text()


def test_it_works_off_what_waits(
    start_once: Start, background: Any, gearman_server: Server, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    for _ in range(50):
        background.mail_send()
        background.reports_nightly(path=str(tmp_path / "go"))
    assert waiting(gearman_server) == 100
    assert start_once().wait(PATIENCE) == 0
    assert waiting(gearman_server) == 0
    assert (tmp_path / "stderr").read_text().count(" answered in ") == 100


def test_a_long_job_is_waited_for(
    start_once: Start, background: Any, gearman_server: Server, tmp_path: Path
) -> None:
    background.reports_nightly(path=str(tmp_path / "go"))
    process = start_once()
    until((tmp_path / "go.started").exists, "the job")
    with pytest.raises(Exception, match="timed out"):
        process.wait(1.5)
    (tmp_path / "go").touch()
    assert process.wait(PATIENCE) == 0


def test_jobs_of_jobs_are_done_too(
    start_once: Start, background: Any, gearman_server: Server, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    left.write_text("20")
    background.mail_order(path=str(left), host=gearman_server.host)
    assert start_once().wait(PATIENCE) == 0
    assert (left.read_text(), waiting(gearman_server)) == ("0", 0)


@pytest.mark.parametrize("name", ["fail", "die"])
def test_a_job_that_fails_is_in_the_exit_code(
    start_once: Start, background: Any, tmp_path: Path, name: str
) -> None:
    background.mail_send()
    getattr(background, f"mail_{name}")()
    assert start_once("--max-deaths", "1").wait(PATIENCE) == 5
    log = (tmp_path / "stderr").read_text()
    assert "CommandError: A job failed; the log says why." in log
    assert "mail_send answered" in log


def test_jobs_that_are_due_later_are_not_waited_for(
    start_once: Start, background: Any, gearman_server: Server
) -> None:
    background.using(delay=3600).mail_send()
    assert start_once().wait(PATIENCE) == 0
    assert waiting(gearman_server) == 1


def test_recorded_jobs_are_worked_off_too(
    start_recorded: Start, recorded: Any, store: SQLStore, gearman_server: Server
) -> None:
    gearman_server.stop()  # nothing is handed over
    records = [recorded.mail_send() for _ in range(20)]
    later = recorded.using(delay=3600).mail_send()
    gearman_server.start()
    assert start_recorded().wait(PATIENCE) == 0
    states = {snapshot.state for each in records if (snapshot := store.look(each.id))}
    assert states == {State.SUCCEEDED}
    waits = store.look(later.id)
    assert waits is not None
    assert waits.state is State.QUEUED


@pytest.mark.parametrize(
    ("name", "code", "state"),
    [
        ("fail", 5, State.FAILED),
        ("die", 5, State.FAILED),
        ("fail_now", 0, State.QUEUED),  # its next attempt is due in an hour
    ],
)
def test_so_are_those_that_fail(
    start_recorded: Start, recorded: Any, store: SQLStore, name: str, code: int, state: State
) -> None:
    record = getattr(recorded, f"mail_{name}")()
    assert start_recorded("--max-deaths", "1").wait(PATIENCE) == code
    found = store.look(record.id)
    assert found is not None
    assert found.state is state


def test_schedules_that_are_due_are_made_and_done(
    start_recorded: Start, recorded: Any, store: SQLStore, tmp_path: Path
) -> None:
    with SimpleClient(["127.0.0.1:1"], records=store) as client:
        for name in ("due", "later"):
            client.schedules.add(name, "mail_send", every=timedelta(hours=2))
    with contextlib.closing(sqlite3.connect(tmp_path / "database")) as database, database:
        for column in ("last_tick", "next_tick"):
            database.execute(
                f"UPDATE gearmanny_schedules SET {column} = "
                f"strftime('%Y-%m-%d %H:%M:%f', {column}, '-2 hours') WHERE name = 'due'"
            )
    assert start_recorded().wait(PATIENCE) == 0
    after = {each.name: each for each in store.schedules.all()}
    assert after["due"].job is not None
    assert after["later"].job is None
    found = store.look(after["due"].job)
    assert found is not None
    assert found.state is State.SUCCEEDED


def test_a_signal_ends_it_before(start_once: Start, background: Any, tmp_path: Path) -> None:
    background.reports_nightly(path=str(tmp_path / "go"))
    process = start_once()
    until((tmp_path / "go.started").exists, "the job")
    process.terminate()
    (tmp_path / "go").touch()
    assert process.wait(PATIENCE) == 0


def test_no_job_server_is_not_nothing_to_do(
    start_once: Start, gearman_server: Server, tmp_path: Path
) -> None:
    gearman_server.stop()
    assert start_once("--connect-timeout", "0.5").wait(PATIENCE) == 3
    process = start_once()
    until(lambda: "server_away" in log(tmp_path) or "away" in log(tmp_path), "the worker asking")
    assert process.poll() is None
    gearman_server.start()
    assert process.wait(PATIENCE) == 0


def log(folder: Path) -> str:
    return (folder / "stderr").read_text()


def test_only_some_workers_are_worked_off(
    start_once: Start, background: Any, gearman_server: Server, tmp_path: Path
) -> None:
    background.mail_send()
    background.reports_nightly(path=str(tmp_path / "go"))
    assert start_once("--pool", "default").wait(PATIENCE) == 0
    assert waiting(gearman_server) == 1


def test_it_does_not_go_with_reload_and_is_not_watched_under_debug(start_once: Start) -> None:
    with pytest.raises(CommandError, match="--once ends when no job is left"):
        call_command("runworkers", once=True, reload=True)
    assert start_once(TEST_DEBUG="1").wait(PATIENCE) == 0


class Failing(BaseWorker):
    name = "failing"

    def setUp(self) -> None:
        self.task_late = self.task_now

    def task_now(self, fail: bool) -> None:
        if fail:
            raise ValueError("as told")


@pytest.mark.parametrize("task", ["now", "late"])
@pytest.mark.parametrize("fail", [True, False])
def test_workrunner_does_it_without_django(
    gearman_server: Server, background: Any, fail: bool, task: str
) -> None:
    getattr(background, f"failing_{task}")(fail=fail)
    runner = WorkRunner([Failing], [gearman_server.host])
    assert runner.start(once=True) is not fail
    assert runner.jobs_failed is fail
    assert waiting(gearman_server) == 0
