"""Schedules: real workers, dispatchers that are killed, and clocks that disagree."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gearmanny.aio import AioClient
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.records.scheduling import NewSchedule
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import State
from gearmanny.schedules.timetable import Timetable
from gearmanny.worker import BaseWorker, RawWorker, task
from gearmanny.workrunner import WorkRunner
from tests.contract.records.conftest import Database, url_of
from tests.integration.schedules_script import Reports
from tests.support.servers import PATIENCE, ROOT, Server, end, until
from tools.processes import with_clock

TICKS = 200
SCHEDULES = 20


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgresql":
        url = url_of(request.getfixturevalue("postgres_database"))
    else:
        url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with contextlib.closing(Database(url)) as opened:
        yield opened


only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For what does not depend on the database."""


@pytest.fixture
def store(database: Database) -> SQLStore:
    return database.open()


def clock(offset: str) -> dict[str, str]:
    """The environment of a process whose clock is wrong."""
    try:
        return with_clock(offset)
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def ticks_of(database: Database, function: str) -> list[float]:
    """When the jobs of a function were due, in seconds."""
    due = (
        "extract(epoch FROM due)::float8"
        if database.is_postgres
        else "round((julianday(due) - 2440587.5) * 86400.0, 3)"
    )
    connection = database.connect()
    rows = connection.execute(
        f"SELECT {due} FROM gearmanny_jobs WHERE function = '{function}' ORDER BY due"
    ).fetchall()
    connection.close()
    return [round(row[0], 3) for row in rows]


def test_a_task_runs_by_itself(database: Database, store: SQLStore, gearman_server: Server) -> None:
    assert store.id  # the tables exist
    script = str(ROOT / "tests" / "integration" / "schedules_script.py")
    runner = subprocess.Popen(
        [sys.executable, script, database.url, gearman_server.host],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        until(lambda: len(ticks_of(database, "reports_report")) >= 3, "three ticks")
        report = store.schedules.get("reports_report")
        nightly = store.schedules.get("reports_nightly")
        assert (report.from_code, report.offered, nightly.offered) == (True, True, True)
        assert nightly.words == "at 03:00 on Monday through Friday, Europe/Berlin time"
        (id,) = database.execute("SELECT id FROM gearmanny_jobs ORDER BY due LIMIT 1")[0]
        until(lambda: _state(store, id) is State.SUCCEEDED, "a report")
        found = store.look(str(id))
        assert found is not None
        assert found.result == '"a short report"'
        store.schedules.pause("reports_report")
    finally:
        runner.terminate()
        assert runner.wait(PATIENCE) == 0
    report = store.schedules.get("reports_report")
    assert (report.offered, report.paused) == (False, True)
    assert not store.schedules.get("reports_nightly").paused


def _state(store: SQLStore, id: Any) -> State | None:
    found = store.look(str(id))
    return None if found is None else found.state


def test_of_dispatchers_that_are_killed_and_whose_clocks_disagree_each_tick_is_one_job(
    database: Database, store: SQLStore, gearman_server: Server
) -> None:
    names = [f"f{number}" for number in range(SCHEDULES)]
    timetable = Timetable(every=1.0, catch_up=True, overlap="queue")
    for name in names:
        store.schedules.add(NewSchedule(name, name, "{}", timetable))
    first = {each.name: each.last for each in store.schedules.all()}
    environments = [clock(offset) for offset in ("-5s", "+0s", "+5s")]

    def dispatch(environment: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "gearmanny", "dispatch"),
                *("--records", database.url, "--host", gearman_server.host),
            ],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    connection = database.connect()

    def made() -> int:
        count: int = connection.execute("SELECT count(*) FROM gearmanny_jobs").fetchone()[0]
        return count

    chance = random.Random(0)
    dispatchers = [dispatch(environment) for environment in environments]
    killed = 0
    try:
        while made() < TICKS:
            before = made()
            until(lambda: made() > before, "a tick")  # noqa: B023
            victim = chance.randrange(len(environments))
            dispatchers[victim].kill()
            dispatchers[victim].wait(PATIENCE)
            dispatchers[victim] = dispatch(environments[victim])
            killed += 1
    finally:
        for each in dispatchers:
            end(each)
    assert killed >= 3
    for name in names:
        last = store.schedules.get(name).last
        count = round((last - first[name]).total_seconds())
        start = round(first[name].timestamp(), 3)
        assert ticks_of(database, name) == [
            round(start + number, 3) for number in range(1, count + 1)
        ]
    assert store.counts()


@contextlib.contextmanager
def working(worker: BaseWorker) -> Iterator[None]:
    thread = threading.Thread(target=worker.start)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


class Raw(BaseWorker):
    name = "raw"
    work_class = RawWorker

    @task(every=timedelta(hours=1))
    def task_tick(self, payload: bytes) -> bytes:
        return payload


@only_sqlite
class TestAWorkerWithASchedule:
    def test_keeps_it_paused_and_follows_its_code(
        self, database: Database, store: SQLStore, gearman_server: Server
    ) -> None:
        store.schedules.offer([NewSchedule("reports_report", "old", "{}", Timetable(every=60))])
        store.schedules.pause("reports_report")
        with working(Reports([gearman_server.host], records=database.open())):
            until(lambda: store.schedules.get("reports_report").every == 1.0, "the worker")
            found = store.schedules.get("reports_report")
            assert (found.function, found.offered, found.paused) == ("reports_report", True, True)

    def test_sends_a_payload_where_there_are_no_keywords(
        self, database: Database, store: SQLStore, gearman_server: Server
    ) -> None:
        with working(Raw([gearman_server.host], records=database.open())):
            until(store.schedules.all, "the schedule")
            assert store.schedules.get("raw_tick").arguments == ""

    def test_says_that_a_schedule_of_that_name_is_there(
        self,
        database: Database,
        store: SQLStore,
        gearman_server: Server,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        store.schedules.add(NewSchedule("raw_tick", "other", "", Timetable(every=60)))
        with working(Raw([gearman_server.host], records=database.open())):
            until(lambda: "schedule_left_out" in actions(caplog), "the log")
        assert store.schedules.get("raw_tick").function == "other"


class Ill(BaseWorker):
    name = "ill"

    @task(every=timedelta(hours=1), args={"since": {1, 2}})
    def task_tick(self, since: Any) -> None: ...


@only_sqlite
def test_a_runner_refuses_args_that_cannot_be_sent(database: Database) -> None:
    """It forks no process that would end at once, again and again."""
    with pytest.raises(InvalidTask, match=r"The schedule of ill_tick\(\) has wrong args: .* set"):
        WorkRunner([Ill], records=database.open())


def test_a_worker_without_records_says_that_its_schedules_do_nothing(
    gearman_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with working(Raw([gearman_server.host])):
        until(lambda: "schedules_without_records" in actions(caplog), "the log")
    assert "The schedules of raw_tick do nothing here" in caplog.text


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(record, "action", "") for record in caplog.records]


@only_sqlite
def test_every_client_has_schedules(store: SQLStore, gearman_server: Server) -> None:
    hosts = [gearman_server.host]
    for kind in (SimpleClient, AsyncClient):
        with kind(hosts, records=store) as client:
            client.schedules.add("mine", "reports_report", every=timedelta(hours=1))
            assert client.schedules.get("mine").every == 3600
            client.schedules.remove("mine")
    with SimpleClient(hosts) as client, pytest.raises(InvalidOption, match="has none"):
        _ = client.schedules

    async def use() -> None:
        async with AioClient(hosts, records=store) as client:
            schedules = client.schedules
            await schedules.add("mine", "reports_report", cron="0 3 * * *")
            await schedules.change("mine", timezone="Asia/Tokyo")
            await schedules.pause("mine")
            assert [(each.timezone, each.paused) for each in await schedules.all()] == [
                ("Asia/Tokyo", True)
            ]
            await schedules.resume("mine")
            assert not (await schedules.get("mine")).paused
            assert store.look(await schedules.run("mine")) is not None
            await schedules.remove("mine")
            assert await schedules.all() == []

    asyncio.run(use())


@only_sqlite
def test_what_cannot_be_read_is_logged_once(
    database: Database, store: SQLStore, gearman_server: Server, tmp_path: Path
) -> None:
    for name in ("bad", "good"):
        store.schedules.add(NewSchedule(name, name, "{}", Timetable(every=1, overlap="queue")))
    database.execute("UPDATE gearmanny_schedules SET cron = 'x', every = NULL WHERE name = 'bad'")
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = ["dispatch", "--records", database.url, "--host", gearman_server.host]
        process = subprocess.Popen(
            [sys.executable, "-m", "gearmanny", *command], cwd=ROOT, stderr=output, text=True
        )
    try:
        until(lambda: len(ticks_of(database, "good")) >= 3, "ticks of the other one")
    finally:
        end(process)
    assert log.read_text().count("the schedule bad does not tick: cron must be five fields") == 1
