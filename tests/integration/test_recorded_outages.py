"""Workers of jobs with a record, while their database is away, and when processes die."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gearmanny.errors import StoreUnavailable
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import State
from gearmanny.worker import BaseWorker
from tests.contract.records.conftest import Database, url_of
from tests.support.atomic import Account, Commit, transaction
from tests.support.recorded import Caller, Recorded, runs
from tests.support.servers import PATIENCE, ROOT, Server, until, workers_of
from tools.postgres import Postgres

Run = Callable[..., BaseWorker]

_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'gearmanny'"


@pytest.fixture
def database(own_postgres: Postgres) -> Iterator[Database]:
    """One in a PostgreSQL of the test's own, which may be stopped."""
    database = Database(url_of(own_postgres.settings()))
    yield database
    database.close()


@pytest.fixture
def caller(database: Database, gearman_server: Server) -> Caller:
    return Caller(database.open(), gearman_server)


@pytest.fixture
def run(database: Database, gearman_worker: Callable[..., Any]) -> Run:
    def run(**options: Any) -> BaseWorker:
        worker: BaseWorker = gearman_worker(Recorded, records=database.open(), **options)
        return worker

    return run


def logged(caplog: pytest.LogCaptureFixture, action: str) -> bool:
    return any(getattr(record, "action", None) == action for record in caplog.records)


class TestWhileTheDatabaseIsAway:
    @pytest.mark.parametrize("concurrency", [1, 4])
    def test_jobs_go_back_to_their_queue_and_others_run(
        self,
        own_postgres: Postgres,
        run: Run,
        caller: Caller,
        gearman_client: Any,
        caplog: pytest.LogCaptureFixture,
        concurrency: int,
    ) -> None:
        run(concurrency=concurrency)
        id, store_id = caller.submit("recorded_echo", {"value": 1}), caller.store.id
        own_postgres.stop()
        caller.hand_over("recorded_echo", id, store=store_id)
        until(lambda: logged(caplog, "job_unclaimed"), "a claim that fails")
        assert gearman_client.recorded_echo(value=2) == 2
        assert caller.at_server("recorded_echo")[0] == 1
        assert not logged(caplog, "server_away"), "it is the database that is away"
        own_postgres.start()
        done = caller.until(id, State.SUCCEEDED)
        assert (done.attempts, done.deaths) == (1, 0)
        caller.until_answered("recorded_echo")

    def test_coroutines_that_run_keep_their_connection(
        self,
        own_postgres: Postgres,
        run: Run,
        caller: Caller,
        gearman_client: Any,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Of a job without a record: it would run twice."""
        run(concurrency=4)
        path = tmp_path / "go"
        id, store_id = caller.submit("recorded_echo", {"value": 1}), caller.store.id
        client = gearman_client.using(background=True)
        client.recorded_wait_later(path=str(path))
        until(lambda: runs(path), "the coroutine")
        own_postgres.stop()
        caller.hand_over("recorded_echo", id, store=store_id)
        until(lambda: logged(caplog, "job_unclaimed"), "a claim that fails")
        own_postgres.start()
        caller.until(id, State.SUCCEEDED)
        assert caller.at_server("recorded_wait_later") == [1, 1]
        Path(f"{path}.runs").unlink()
        path.touch()
        caller.until_answered("recorded_wait_later")
        assert runs(path) == [], "it has run once"

    @pytest.mark.parametrize("function", ["wait", "wait_later"])
    def test_a_result_waits_for_it(
        self,
        own_postgres: Postgres,
        run: Run,
        caller: Caller,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        function: str,
    ) -> None:
        run()
        path = tmp_path / "go"
        id = caller.call(f"recorded_{function}", {"path": str(path)})
        until(lambda: runs(path), "the task running")
        own_postgres.stop()
        until(lambda: logged(caplog, "store_away"), "the outage being noticed")
        path.touch()
        own_postgres.start()
        done = caller.until(id, State.SUCCEEDED)
        assert (done.result, done.attempts) == (str(os.getpid()), 1)
        caller.until_answered(f"recorded_{function}")
        until(lambda: logged(caplog, "store_back"), "its return being noticed")

    def test_a_result_waits_for_a_lock_that_its_role_does_not_wait_for(
        self, database: Database, gearman_worker: Any, caller: Caller, tmp_path: Path
    ) -> None:
        gearman_worker(Recorded, records=database.open("lock_timeout=10"))
        path = tmp_path / "go"
        id = caller.call("recorded_wait", {"path": str(path)})
        until(lambda: runs(path), "the task running")
        watch, somebody = database.connect(), database.begin()
        sessions = set(watch.execute(_SESSIONS))
        somebody.execute("SELECT 1 FROM gearmanny_jobs WHERE id = %s FOR UPDATE", [id])
        path.touch()
        until(lambda: sessions - set(watch.execute(_SESSIONS)), "the result being refused")
        somebody.execute("ROLLBACK")
        assert caller.until(id, State.SUCCEEDED).attempts == 1
        caller.until_answered("recorded_wait")

    def test_a_worker_that_starts_registers_later(
        self, own_postgres: Postgres, run: Run, caller: Caller, gearman_client: Any
    ) -> None:
        id = caller.submit("recorded_echo", {"value": 1})
        own_postgres.stop()
        run()
        assert gearman_client.recorded_echo(value=2) == 2
        own_postgres.start()
        until(lambda: len(registered(caller.store)) == 1, "the worker being registered")
        caller.hand_over("recorded_echo", id)
        caller.until(id, State.SUCCEEDED)

    def test_a_worker_that_stops_leaves_its_job_to_others(
        self, own_postgres: Postgres, run: Run, caller: Caller, tmp_path: Path
    ) -> None:
        worker = run()
        path = tmp_path / "go"
        caller.call("recorded_wait", {"path": str(path)})
        until(lambda: runs(path), "the task running")
        own_postgres.stop()
        worker.stop()
        path.touch()
        until(lambda: caller.at_server("recorded_wait") == [1, 0], "the job in its queue")


def registered(store: SQLStore) -> list[Any]:
    with contextlib.suppress(StoreUnavailable):
        return list(store.processes())
    return []


@pytest.mark.parametrize("ends", ["within", "at COMMIT"])
def test_an_atomic_task_outlives_a_restart_of_its_database(
    own_postgres: Postgres,
    database: Database,
    caller: Caller,
    gearman_worker: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    ends: str,
) -> None:
    database.execute("CREATE TABLE written (value integer)")
    if ends == "within":
        Account.interferes[:] = [own_postgres.restart]
    else:

        def restart_once() -> None:
            monkeypatch.setattr(Commit, "before", staticmethod(lambda: None))
            own_postgres.restart()

        monkeypatch.setattr(Commit, "before", staticmethod(restart_once))
    gearman_worker(
        Account,
        records=database.open(),
        transaction=functools.partial(transaction, database.url),
    )
    id = caller.call("account_write_all", {"values": [1, 2]})
    caller.until_answered("account_write_all")
    done = caller.look(id)
    assert (done.state, done.failures) == (State.SUCCEEDED, 0)
    assert database.execute("SELECT value FROM written ORDER BY value") == [(1,), (2,)]


_HELD = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted "
    "AND objid::bigint IN (SELECT lock_key FROM gearmanny_processes)"
)


def test_a_process_shows_that_it_lives_while_a_task_runs(
    run: Run, caller: Caller, database: Database, tmp_path: Path
) -> None:
    run()
    path = tmp_path / "go"
    id = caller.call("recorded_wait", {"path": str(path)})
    until(lambda: runs(path), "the task running")
    (before,) = database.execute(_HELD)
    database.execute("SELECT pg_terminate_backend(%s)", before[0])
    until(lambda: database.execute(_HELD) not in ([], [before]), "its lock being taken again")
    path.touch()
    assert caller.until(id, State.SUCCEEDED).attempts == 1


class TestAProcessThatDies:
    """On SQLite, where that is known at once."""

    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
        yield database
        database.close()

    @pytest.fixture
    def runner(
        self, database: Database, gearman_server: Server, request: pytest.FixtureRequest
    ) -> Iterator[subprocess.Popen[str]]:
        concurrency = getattr(request, "param", "")
        command = [sys.executable, "-m", "tests.integration.recorded_script"]
        runner = subprocess.Popen(
            [*command, database.url, gearman_server.host, *concurrency],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        count = 1 if concurrency else 2
        until(lambda: workers_of(gearman_server, "recorded_die") == count, "the workers")
        yield runner
        with contextlib.suppress(ProcessLookupError):
            os.killpg(runner.pid, signal.SIGKILL)
        runner.communicate()

    def test_leaves_its_job_to_another_one(
        self, runner: subprocess.Popen[str], caller: Caller, tmp_path: Path
    ) -> None:
        path = tmp_path / "go"
        id = caller.call("recorded_wait", {"path": str(path)})
        until(lambda: runs(path), "the task running")
        os.kill(int(runs(path)[0]), signal.SIGKILL)
        until(lambda: len(runs(path)) == 2, "the task running again")
        path.touch()
        done = caller.until(id, State.SUCCEEDED)
        assert (done.attempts, done.deaths, done.result) == (2, 1, runs(path)[1])

    def test_of_its_job_fails_that_job_by_the_count_of_its_record(
        self, runner: subprocess.Popen[str], caller: Caller
    ) -> None:
        id = caller.call("recorded_die")
        error = caller.error(id)
        assert error["message"].startswith("3 processes died while they ran recorded_die()")
        assert caller.look(id).deaths == 3
        caller.until_answered("recorded_die")
        runner.terminate()
        _, log = runner.communicate(timeout=PATIENCE)
        assert "was not run again" not in log
        # Who notices first: the next process, or the dispatcher.
        assert "recorded_die ends here" in log or "was the last of those that died of it" in log

    @pytest.mark.parametrize("runner", ["4"], indirect=True)
    def test_takes_no_job_with_it_that_ran_beside_it(
        self, runner: subprocess.Popen[str], caller: Caller, tmp_path: Path
    ) -> None:
        paths = [tmp_path / "one", tmp_path / "two"]
        beside = [caller.call("recorded_wait_later", {"path": str(path)}) for path in paths]
        until(lambda: all(map(runs, paths)), "two coroutines running")
        killer = caller.call("recorded_die")
        until(lambda: caller.look(killer).deaths, "a death")
        for path in paths:
            path.touch()
        assert caller.error(killer)["message"].startswith("3 processes died")
        ended = [caller.until(id, State.SUCCEEDED) for id in beside]
        assert [(job.attempts, job.deaths) for job in ended] == [(2, 1), (2, 1)]

    @pytest.mark.parametrize("runner", ["4"], indirect=True)
    def test_is_not_charged_to_a_job_that_waits_to_run_alone(
        self,
        runner: subprocess.Popen[str],
        caller: Caller,
        database: Database,
        tmp_path: Path,
    ) -> None:
        """Whoever ran beside it would otherwise fail it after some deaths."""
        beside, alone = tmp_path / "beside", tmp_path / "alone"
        killer = caller.call("recorded_wait_later", {"path": str(beside)})
        until(lambda: runs(beside), "the first task running")
        id = caller.submit("recorded_wait_later", {"path": str(alone)})
        database.execute("UPDATE gearmanny_jobs SET deaths = 1 WHERE state = 'queued'")
        caller.hand_over("recorded_wait_later", id)
        until(lambda: caller.look(id).attempts, "it being claimed")
        caller.until(id, State.QUEUED)
        (process,) = caller.store.processes()
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: caller.look(killer).deaths, "a death")
        beside.touch()
        alone.touch()
        assert caller.until(id, State.SUCCEEDED).deaths == 1

    @pytest.mark.parametrize("function", ["go_on", "block"])
    def test_because_a_task_ignores_its_limit_has_recorded_that_failure(
        self, runner: subprocess.Popen[str], caller: Caller, function: str
    ) -> None:
        id = caller.call(f"stubborn_{function}")
        assert caller.error(id)["type"] == "gearmanny.errors.TaskTimeLimitExceeded"
        caller.until_answered(f"stubborn_{function}")
        assert (caller.look(id).attempts, caller.look(id).deaths) == (1, 0)

    @pytest.mark.parametrize("runner", ["4"], indirect=True)
    @pytest.mark.parametrize("function", ["go_on", "block"])
    def test_because_a_task_ignores_its_limit_is_not_charged_to_others(
        self, runner: subprocess.Popen[str], caller: Caller, tmp_path: Path, function: str
    ) -> None:
        path = tmp_path / "go"
        beside = caller.call("recorded_wait_later", {"path": str(path)})
        until(lambda: runs(path), "a task running beside it")
        caller.error(caller.call(f"stubborn_{function}"))
        until(lambda: caller.look(beside).attempts == 2, "the task running again")
        path.touch()
        done = caller.until(beside, State.SUCCEEDED)
        assert (done.attempts, done.deaths) == (2, 0)

    def test_processes_of_one_runner_share_its_id(
        self, runner: subprocess.Popen[str], caller: Caller
    ) -> None:
        until(lambda: len(caller.store.processes()) == 2, "two processes")
        (id,) = {process.runner for process in caller.store.processes()}
        assert len(id) == 36
