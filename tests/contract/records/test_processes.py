"""Processes that run jobs: who is alive, who is dead, and what becomes of their jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gearmanny.records import presence, processes
from gearmanny.records.dialects import POSTGRESQL, SQLITE
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claimed, NewJob, Process, Refusal, Refused
from tests.contract.records.conftest import (
    Claiming,
    Database,
    only_postgresql,
    only_sqlite,
    url_of,
)
from tests.contract.records.test_jobs import NOBODY, last_attempt, look, submit
from tests.support.servers import PATIENCE, until
from tools.postgres import Postgres

SCRIPT = Path(__file__).with_name("process_script.py")
StartProcess = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_process(database: Database) -> Iterator[StartProcess]:
    """Starts a process of its own, which is there until it is killed."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, str(SCRIPT), database.url, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(PATIENCE)


def pass_time_for(database: Database, column: str) -> None:
    """Lets a time in the table of processes lie some seconds further back."""
    earlier = "{0} - interval '1 minute'" if database.is_postgres else "datetime({0}, '-1 minute')"
    database.execute(f"UPDATE gearmanny_processes SET {column} = {earlier.format(column)}")


def claim_for_nobody(database: Database, store: SQLStore, id: str) -> None:
    """Claims a job for a process that has no row afterwards."""
    dialect = POSTGRESQL if database.is_postgres else SQLITE
    process = store.register()
    assert isinstance(store.claim(id, "f", 1, process.id), Claimed)
    store.leave()
    ids = [dialect.id(NOBODY), dialect.id(id)]
    database.execute("UPDATE gearmanny_jobs SET process = %s WHERE id = %s", *ids)


def until_dead(database: Database, store: SQLStore, id: str) -> None:
    """Looks twice; between the looks lies a minute, which nobody waits for."""

    def is_dead() -> bool:
        store.dead_processes()
        if database.is_postgres:  # the session ends a moment after its process
            pass_time_for(database, "missed")
        return id in store.dead_processes()

    until(is_dead, "a process that is seen dead")


def test_a_process_is_registered(store: SQLStore) -> None:
    process = store.register(pool="p", runner="r", functions='{"f": {}}', client_id="c")
    (found,) = store.processes()
    assert found[:7] == process[:7]
    assert (found.pid, found.pool, found.runner) == (os.getpid(), "p", "r")
    assert (found.functions, found.client_id) == ('{"f": {}}', "c")
    assert found.host
    assert abs(found.started - datetime.now(UTC)) < timedelta(minutes=1)
    assert found.beat == found.started


def test_a_beat_is_a_sign_of_life(database: Database, store: SQLStore, process: Process) -> None:
    pass_time_for(database, "beat")
    store.beat([process.id, NOBODY])
    store.beat([])
    (found,) = store.processes()
    assert found.beat >= found.started


def test_a_process_that_leaves_is_gone(store: SQLStore, process: Process) -> None:
    assert store.renew()
    store.leave()
    assert store.processes() == []
    assert store.dead_processes() == []
    assert not store.renew()
    store.leave()
    assert store.register().id != process.id


def test_a_killed_process_is_seen_dead_and_its_jobs_go_back(
    database: Database, store: SQLStore, start_process: StartProcess
) -> None:
    mine, idle = submit(store), submit(store)
    killed = start_process(mine)
    owner = line_of(killed)
    assert store.dead_processes() == []
    kill(killed)
    until_dead(database, store, owner)
    (returned,) = store.take_back(owner)
    assert returned == (mine, "f", Event.OWNER_DIED)
    found = look(store, mine)
    assert (found.state, found.deaths, found.failures) == (State.QUEUED, 1, 0)
    assert last_attempt(store, mine)["process"] == owner
    assert look(store, idle).state is State.QUEUED
    assert store.processes() == []
    assert store.dead_processes() == []
    assert store.take_back(owner) == []


def test_deaths_that_were_ordered_do_not_count(
    store: SQLStore, running: Claiming, process: Process
) -> None:
    claimed = running()
    assert [job.event for job in store.take_back(process.id, counts=False)] == [Event.GIVEN_BACK]
    assert look(store, claimed.claim.id).deaths == 0


def test_jobs_that_kill_their_processes_are_poison(
    store: SQLStore, running: Claiming, process: Process
) -> None:
    running()
    (returned,) = store.take_back(process.id, max_deaths=1)
    assert returned.is_poisoned


def test_a_helper_that_outlives_a_process_is_not_taken_for_it(
    database: Database, store: SQLStore, start_process: StartProcess
) -> None:
    submit(store)
    killed = start_process("helper")
    helper, owner = int(line_of(killed)), line_of(killed)
    try:
        kill(killed)
        until_dead(database, store, owner)
        os.kill(helper, 0)  # it lives
    finally:
        os.kill(helper, signal.SIGKILL)


def test_a_job_of_a_dead_process_is_taken_over(
    database: Database, store: SQLStore, process: Process, start_process: StartProcess
) -> None:
    id = submit(store, arguments="[1]")
    killed = start_process(id)
    owner = line_of(killed)
    refused = store.claim(id, "f", 1, process.id)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.owner) == (Refusal.RUNNING, owner)
    assert store.take_over(refused, process.id) == refused  # it is alive
    kill(killed)
    until_dead(database, store, owner)
    claimed = store.take_over(refused, process.id)
    assert isinstance(claimed, Claimed)
    assert (claimed.arguments, claimed.attempt, claimed.deaths) == ("[1]", 2, 1)
    assert look(store, id).process == process.id
    assert last_attempt(store, id)["process"] == owner
    # The old token is worth nothing any more, should its owner come back.
    assert refused.claim is not None
    assert not store.finish(refused.claim, Event.SUCCEEDED, '"old"')
    assert store.take_over(refused, process.id) == Refused(Refusal.OUTDATED)
    assert store.finish(claimed.claim, Event.SUCCEEDED, '"new"')
    assert look(store, id).result == '"new"'


@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled", "poison"])
def test_a_job_that_shall_not_run_again_is_not_taken_over(
    database: Database, store: SQLStore, other: SQLStore, process: Process, cancelled: bool
) -> None:
    id = submit(store)
    claim_for_nobody(database, other, id)  # who has no row is dead
    refused = store.claim(id, "f", 1, process.id)
    assert isinstance(refused, Refused)
    if cancelled:
        store.cancel(id)
    assert store.take_over(refused, process.id, 9 if cancelled else 1) == Refused(Refusal.OVER)
    assert look(store, id).state is (State.CANCELLED if cancelled else State.FAILED)


def test_of_two_that_take_over_one_gets_the_job(
    database: Database, store: SQLStore, other: SQLStore, process: Process
) -> None:
    id = submit(store)
    claim_for_nobody(database, other, id)
    refused = store.claim(id, "f", 1, process.id)
    assert isinstance(refused, Refused)
    assert isinstance(other.take_over(refused, process.id), Claimed)
    assert store.take_over(refused, process.id) == Refused(Refusal.OUTDATED)
    assert look(store, id).state is State.RUNNING


def test_jobs_of_processes_without_a_row_are_found(
    database: Database, store: SQLStore, other: SQLStore, process: Process
) -> None:
    id = submit(store)
    claim_for_nobody(database, other, id)
    assert store.dead_processes() == [NOBODY]
    assert [job.id for job in store.take_back(NOBODY)] == [id]
    assert store.dead_processes() == []


def test_a_process_is_dead_to_all_at_once_and_taken_back_by_one(
    database: Database, store: SQLStore, other: SQLStore, in_thread: Any
) -> None:
    ids = [submit(store) for _ in range(20)]
    for id in ids:
        claim_for_nobody(database, other, id)
    calls = [in_thread(database.open().take_back, NOBODY) for _ in range(4)]
    taken = [job.id for call in calls for job in call.result(60)]
    assert sorted(taken) == sorted(ids)
    assert {look(store, id).deaths for id in ids} == {1}


def test_a_process_that_was_taken_for_dead_and_lives_is_registered_again(
    store: SQLStore, other: SQLStore, process: Process
) -> None:
    first, second = submit(store), submit(store)
    other.take_back(process.id)
    assert other.claim(first, "f", 1, process.id) == Refused(Refusal.UNREGISTERED)
    assert isinstance(store.claim(first, "f", 1, process.id), Claimed)
    assert other.dead_processes() == []
    other.take_back(process.id, counts=False)
    assert store.renew()
    assert isinstance(other.claim(second, "f", 1, process.id), Claimed)
    assert other.dead_processes() == []


@only_postgresql
def test_one_look_at_a_free_lock_is_not_enough(
    database: Database, store: SQLStore, other: SQLStore, start_process: StartProcess
) -> None:
    submit(store)
    killed = start_process()
    owner = line_of(killed)
    kill(killed)
    until(lambda: not database.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"))
    assert store.dead_processes() == []
    assert other.dead_processes() == []
    ((seconds,),) = database.execute(
        "SELECT extract(epoch FROM clock_timestamp() - missed) FROM gearmanny_processes"
    )
    assert seconds < processes.BETWEEN_LOOKS
    pass_time_for(database, "missed")
    assert other.dead_processes() == [owner]


@only_postgresql
def test_a_lock_that_is_taken_again_clears_the_first_look(
    database: Database, store: SQLStore, other: SQLStore, process: Process
) -> None:
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    until(lambda: not database.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"))
    assert other.dead_processes() == []
    assert database.execute("SELECT missed IS NULL FROM gearmanny_processes") == [(False,)]
    assert store.renew()
    pass_time_for(database, "missed")
    assert other.dead_processes() == []
    assert database.execute("SELECT missed IS NULL FROM gearmanny_processes") == [(True,)]


@only_postgresql
def test_a_lock_that_an_old_session_still_has_is_taken_later(
    database: Database, store: SQLStore, process: Process
) -> None:
    ((key,),) = database.execute("SELECT lock_key FROM gearmanny_processes")
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    until(lambda: not database.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"))
    old = database.connect()
    old.execute(f"SELECT pg_advisory_lock({presence.LOCK_CLASS}, {key})")
    assert not store.renew()
    old.close()
    until(store.renew)


@only_sqlite
def test_the_file_of_a_dead_process_is_removed(
    database: Database, store: SQLStore, start_process: StartProcess
) -> None:
    folder = Path(f"{database.url.removeprefix('sqlite:///')}-processes")
    submit(store)
    killed = start_process()
    owner = line_of(killed)
    assert [file.name for file in folder.iterdir()] == [owner]
    kill(killed)
    assert store.dead_processes() == [owner]
    store.take_back(owner)
    assert list(folder.iterdir()) == []


def test_processes_outlive_a_restart_of_the_database(own_postgres: Postgres) -> None:
    url = url_of(own_postgres.settings())
    store = SQLStore(url)
    submit(store)
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    database = Database(url)
    try:
        with process:
            line_of(process)
            own_postgres.restart()
            assert store.dead_processes() == []  # the first look: its lock is free
            assert process.stdin is not None
            process.stdin.write("renew\n")
            process.stdin.flush()
            assert line_of(process) == "True"
            pass_time_for(database, "missed")
            assert store.dead_processes() == []
            process.stdin.close()
    finally:
        process.kill()
        store.close()
        database.close()


def test_where_sessions_are_shared_processes_have_leases(
    database: Database, store: SQLStore, process: Process
) -> None:
    database.execute("UPDATE gearmanny_processes SET liveness = 'lease', lock_key = NULL")
    assert store.dead_processes() == []
    pass_time_for(database, "beat")
    assert store.dead_processes() == [process.id]
    store.beat([process.id])
    assert store.dead_processes() == []


def test_a_child_that_is_forked_is_another_process(store: SQLStore, process: Process) -> None:
    child = os.fork()
    if not child:
        try:
            assert not store.renew()
            registered = store.register(pool="child")
            assert registered.id != process.id
            (job,) = store.submit([NewJob("f")])
            assert isinstance(store.claim(job.id, "f", 1, registered.id), Claimed)
            store.leave()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.renew()
    assert [each.id for each in store.processes()] == [process.id]
