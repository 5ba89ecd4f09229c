"""Opening a store: URLs, tables, connections that break, forks; and waiting for changes."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from gearmanny.errors import InvalidOption
from gearmanny.net.loopback import free_port
from gearmanny.records import changes, schema
from gearmanny.records.contract import Store
from gearmanny.records.dialects import POSTGRESQL, SQLITE
from gearmanny.records.session import Session
from gearmanny.records.sql import SQLStore, StoreUnavailable
from gearmanny.records.states import Event, State
from gearmanny.records.templates import tables_with
from gearmanny.records.values import Change, Claimed, NewJob, Process, Submitted
from tests.contract.records.conftest import (
    Claiming,
    Database,
    only_postgresql,
    only_sqlite,
    url_of,
)
from tests.contract.records.test_jobs import look, submit
from tests.support.servers import PATIENCE, until
from tools.postgres import Postgres
from tools.proxies import proxy

InThread = Callable[..., "Future[Any]"]


def test_the_store_is_a_store(store: SQLStore) -> None:
    typed: Store = store  # checked by mypy
    names = [name for name in vars(Store) if not name.startswith("_")]
    assert [name for name in names if not hasattr(typed, name)] == []


def test_what_is_recorded_for_a_client_is_handed_over_once_others_see_it(
    store: SQLStore, other: SQLStore
) -> None:
    handed: list[Submitted] = []

    def hand_over(jobs: Sequence[Submitted]) -> None:
        assert all(other.look(job.id) for job in jobs)
        handed.extend(jobs)

    jobs = [NewJob("f", priority=1), NewJob("g", delay=60), NewJob("f", unique="k")]
    now, later, keyed = store.record(jobs, hand_over)
    assert handed == [now, keyed]
    assert now == Submitted(now.id, True, True, "f", 1)
    assert (later.is_new, later.is_handed_over) == (True, False)
    handed.clear()
    (again,) = store.record([NewJob("f", unique="k")], hand_over)
    assert (again.id, again.is_new, handed) == (keyed.id, False, [])
    (asked,) = asyncio.run(store.arecord([NewJob("h")], hand_over))
    assert handed == [asked]


def test_a_copy_of_a_store_is_the_same_store(store: SQLStore) -> None:
    (submitted,) = store.submit([NewJob("f")])
    for twin in (copy.copy(store), pickle.loads(pickle.dumps(store))):
        with contextlib.closing(twin):
            assert twin.id == store.id
            assert twin.look(submitted.id)


@pytest.mark.parametrize(
    "url",
    [
        "jobs.db",
        "",
        None,
        Path("jobs.db"),
        "mysql://u:secret@h/d",
        "sqlite://jobs.db",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a?mode=ro",
        "sqlite:///a%00b",
        "postgresql://u:secret@h/d?secret=x",
    ],
)
def test_a_url_that_names_no_database_is_refused_without_its_password(url: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        SQLStore(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None or "secret" not in str(caught.value.__cause__)


@pytest.mark.parametrize("prefix", ["", "1a", 'a"; DROP TABLE b; --', "A", "a" * 31, "ä"])
def test_a_prefix_that_cannot_begin_the_name_of_a_table_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidOption, match="prefix"):
        SQLStore("sqlite:///jobs.db", tables=prefix)


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SQLStore("sqlite:///my%20jobs.db")
    monkeypatch.chdir("/")
    submit(store)
    assert (tmp_path / "my jobs.db").exists()
    store.close()


def test_a_store_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="folder has to exist"):
        SQLStore(f"sqlite:///{tmp_path}/none/jobs.db").counts()
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        SQLStore(f"postgresql://u:secret@127.0.0.1:{free_port()}/d").counts()
    assert "secret" not in str(caught.value)
    (tmp_path / "other").write_text("something else" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        SQLStore(f"sqlite:///{tmp_path}/other").counts()


def test_a_store_has_an_id_of_its_own(database: Database) -> None:
    first, second = database.open(), database.open()
    assert first.id == second.id
    assert len(bytes.fromhex(first.id)) == 4
    assert database.open(tables="apart_").id != first.id


def test_stores_in_one_database_are_apart(database: Database) -> None:
    one, two = database.open(tables="one_"), database.open(tables="two_")
    process = one.register()
    two.register()
    id = submit(one, unique="k")
    assert two.look(id) is None
    submit(two, unique="k")
    assert isinstance(one.claim(id, "f", 1, process.id), Claimed)
    assert one.dead_processes() == two.dead_processes() == []


def test_tables_are_made_once_by_many_processes(database: Database) -> None:
    code = (
        "import sys; from gearmanny.records.sql import SQLStore; sys.stdin.read(); "
        "print(SQLStore(sys.argv[1]).id)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, database.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    ids = {process.communicate(timeout=PATIENCE)[0] for process in processes}
    assert len(ids) == 1
    assert ids != {""}


def test_tables_that_another_session_makes_are_waited_for(
    database: Database, store: SQLStore, in_thread: InThread
) -> None:
    dialect = POSTGRESQL if database.is_postgres else SQLITE
    holder = Session(database.begin(), dialect, tables_with("gearmanny_"))
    holder.rows(dialect.lock_schema)
    opening = in_thread(lambda: store.id)  # it has looked, and found none
    database.until_blocked(opening)
    for statement in schema.VERSIONS[0]:
        holder.change(statement)
    holder.change("INSERT INTO {store} (id, version) VALUES ('01234567', 1)")
    holder.change("COMMIT")
    assert opening.result(40) == "01234567"


def test_older_tables_are_upgraded_and_newer_ones_refused(
    database: Database, store: SQLStore
) -> None:
    id = submit(store)
    dialect = POSTGRESQL if database.is_postgres else SQLITE
    session = Session(database.connect(), dialect, tables_with("gearmanny_"))
    newer = (*schema.VERSIONS, ("ALTER TABLE {jobs} ADD COLUMN mood text NULL",))
    assert schema.ensure(session, newer) == store.id
    assert schema.ensure(session, newer) == store.id
    assert database.execute("SELECT mood FROM gearmanny_jobs") == [(None,)]
    assert store.look(id) is not None  # it was open before: whoever upgrades, adds
    with pytest.raises(InvalidOption, match="version 2, and this gearmanny knows 1"):
        database.open().counts()


def test_an_upgrade_that_fails_changes_nothing(database: Database, store: SQLStore) -> None:
    submit(store)
    dialect = POSTGRESQL if database.is_postgres else SQLITE
    session = Session(database.connect(), dialect, tables_with("gearmanny_"))
    broken = (*schema.VERSIONS, ("ALTER TABLE {jobs} ADD COLUMN mood text NULL", "NONSENSE"))
    with pytest.raises(Exception, match="syntax error"):
        schema.ensure(session, broken)
    assert [count.waiting for count in database.open().counts()] == [1]


def test_every_call_outlives_a_restart_of_the_database(own_postgres: Postgres) -> None:
    store = SQLStore(url_of(own_postgres.settings()))
    (job,) = store.submit([NewJob("f", unique="k")])
    own_postgres.restart()
    process = store.register()
    own_postgres.restart()
    claimed = store.claim(job.id, "f", 1, process.id)
    assert isinstance(claimed, Claimed)
    calls: list[Callable[[], object]] = [
        lambda: store.progress(claimed.claim, 1, 2),
        lambda: store.settle(claimed.claim),
        lambda: store.submit([NewJob("f", unique="k")])[0].is_new is False,
        store.counts,
        store.renew,
        lambda: store.finish(claimed.claim, Event.SUCCEEDED, "1"),
    ]
    for call in calls:
        own_postgres.restart()
        assert call()
    assert look(store, job.id).state is State.SUCCEEDED
    own_postgres.stop()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.counts()
    own_postgres.start()
    assert store.look(job.id) is not None
    store.close()


@only_postgresql
def test_a_lost_answer_to_a_claim_is_asked_for_again(
    database: Database, store: SQLStore, process: Process, in_thread: InThread
) -> None:
    """The claim waits for a row; its session is ended, and the same claim arrives again."""
    id = submit(store)
    holder = database.begin()
    holder.execute("UPDATE gearmanny_jobs SET trace = 'held'")
    claiming = in_thread(store.claim, id, "f", 1, process.id)
    database.until_blocked(claiming)
    ended = database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    )
    assert ended == [(True,)]
    holder.execute("COMMIT")
    assert isinstance(claiming.result(20), Claimed)


_BLOCKED = """
    SELECT pid FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


@only_postgresql
def test_a_lost_answer_to_a_commit_makes_no_second_record(
    database: Database, store: SQLStore, postgres: Postgres, in_thread: InThread
) -> None:
    """The insertion waits for another one with its key; its connection is lost, and it arrives
    again."""
    assert store.id
    holder = database.begin()
    store.submit([NewJob("f", unique="k")], connection=holder)
    with proxy(postgres.port) as between:
        port = between.host.rpartition(":")[2]
        through = SQLStore(database.url.replace(f":{postgres.port}/", f":{port}/"))
        assert through.id
        sent: list[Submitted] = []
        recording = in_thread(through.record, [NewJob("f", unique="k")], sent.extend)
        database.until_blocked(recording)
        between.drop()
        until(lambda: len(database.execute(_BLOCKED)) == 2)
        holder.execute("ROLLBACK")
        (submitted,) = recording.result(20)
        through.close()
    assert submitted.is_new
    assert database.execute("SELECT count(*) FROM gearmanny_jobs") == [(1,)]
    assert sent == [submitted]


@only_postgresql
def test_a_claim_that_nobody_heard_of_is_given_back(
    database: Database, other: SQLStore, postgres: Postgres, in_thread: InThread
) -> None:
    """The claim is written after its process lost the store: the job is nobody's, and running."""
    id = submit(other)
    with proxy(postgres.port) as between:
        port = int(between.host.rpartition(":")[2])
        store = SQLStore(database.url.replace(f":{postgres.port}/", f":{port}/"))
        process = store.register()
        holder = database.begin()
        holder.execute("UPDATE gearmanny_jobs SET trace = 'held'")
        claiming = in_thread(store.claim, id, "f", 1, process.id)
        database.until_blocked(claiming)
        between.close()
        with pytest.raises(StoreUnavailable):
            claiming.result(40)
    holder.execute("COMMIT")
    until(lambda: look(other, id).state is State.RUNNING)
    assert look(other, id).process == process.id
    with proxy(postgres.port, address=("127.0.0.1", port)):
        until(store.renew)
        until(lambda: store.renew() and look(other, id).state is State.QUEUED)
        assert (look(other, id).deaths, look(other, id).failures) == (0, 0)
        store.close()


def test_threads_share_a_store(store: SQLStore, process: Process, in_thread: InThread) -> None:
    def work(number: int) -> int:
        done = 0
        for _ in range(10):
            claimed = store.claim(submit(store), "f", 1, process.id)
            assert isinstance(claimed, Claimed)
            done += store.finish(claimed.claim, Event.SUCCEEDED, str(number))
        return done

    calls = [in_thread(work, number) for number in range(4)]
    assert [call.result(60) for call in calls] == [10] * 4


def test_a_child_has_a_connection_of_its_own(store: SQLStore) -> None:
    id = submit(store)
    children = []
    for _ in range(2):
        child = os.fork()
        if not child:
            try:
                assert store.look(id) is not None
                submit(store)
                store.close()
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert [count.waiting for count in store.counts()] == [3]


def test_a_closed_store_opens_itself_again(store: SQLStore) -> None:
    id = submit(store)
    store.close()
    store.close()
    assert store.look(id) is not None


def test_a_wait_ends_without_a_change(store: SQLStore) -> None:
    with store.changes() as waiting:
        assert waiting.wait(0) == []
        assert waiting.wait(0.01) == []


def test_a_wait_is_ended_by_what_another_process_does(
    database: Database, store: SQLStore, other: SQLStore, running: Claiming
) -> None:
    claimed = running()
    with other.changes() as waiting:
        other.watch(claimed.claim.id)
        waiting.wait(0.1)
        store.finish(claimed.claim, Event.SUCCEEDED)
        expected = Change("done", claimed.claim.id) if database.is_postgres else Change("anything")
        assert waiting.wait(20) == [expected]


def test_a_record_is_read_as_its_watch_begins(store: SQLStore, running: Claiming) -> None:
    queued, claimed = submit(store), running()
    assert store.watch(queued) == store.look(queued)
    store.finish(claimed.claim, Event.SUCCEEDED, "1")
    ended = store.watch(claimed.claim.id)
    assert ended == store.look(claimed.claim.id)
    assert ended is not None
    assert (ended.state, ended.result) == (State.SUCCEEDED, "1")
    assert store.watch("01890a5d-ac96-774b-bcce-b302099a8057") is None


@only_postgresql
def test_a_watch_that_fails_leaves_its_connection_as_it_was(
    database: Database, store: SQLStore
) -> None:
    id = submit(store)
    (backend,) = store._connections.run(_backend)
    database.execute("ALTER TABLE gearmanny_notes ADD CONSTRAINT nobody CHECK (NOT watched)")
    with pytest.raises(psycopg.errors.CheckViolation):
        store.watch(id)
    database.execute("ALTER TABLE gearmanny_notes DROP CONSTRAINT nobody")
    assert store.watch(id) == store.look(id)
    assert store._connections.run(_backend) == (backend,)
    (other,) = store.submit([NewJob("f")])
    assert database.execute("SELECT 1 FROM gearmanny_jobs WHERE id = %s", other.id)


def _backend(session: Session) -> Any:
    return session.row("SELECT pg_backend_pid()")


@only_postgresql
def test_what_happens_is_told_to_those_who_wait(
    database: Database, store: SQLStore, other: SQLStore, running: Claiming
) -> None:
    quiet, claimed, failed, again = running(), running(), running(), running()
    queued = submit(store)
    with other.changes() as waiting:
        store.finish(quiet.claim, Event.SUCCEEDED)  # nobody waits for it: nothing is told
        for job in (claimed.claim.id, failed.claim.id, queued):
            other.watch(job)
        store.progress(claimed.claim, 1, 2)
        assert waiting.wait(20) == [Change("progress", claimed.claim.id)]
        store.cancel(claimed.claim.id)
        assert waiting.wait(20) == [Change("cancel", claimed.claim.id)]
        store.finish(claimed.claim, Event.INTERRUPTED)
        assert waiting.wait(20) == [Change("done", claimed.claim.id)]
        store.give_back(failed.claim, Event.OWNER_DIED, max_deaths=1)
        assert waiting.wait(20) == [Change("done", failed.claim.id)]
        store.cancel(queued)
        assert waiting.wait(20) == [Change("done", queued)]
        for wakes in (
            lambda: store.give_back(again.claim, Event.RETRIED),
            lambda: store.submit([NewJob("f", handed_over=False)]),
            lambda: store.revive(failed.claim.id),
        ):
            wakes()
            assert waiting.wait(20) == [Change("due")]
        store.submit([NewJob("f")])
        assert waiting.wait(0.1) == []


@only_postgresql
def test_that_a_job_is_deleted_is_told_to_those_who_wait(store: SQLStore) -> None:
    id, other = submit(store), submit(store)
    with store.changes() as waiting:
        store.watch(id)
        assert set(store.delete([id, other])) == {id, other}
        assert waiting.wait(PATIENCE) == [Change("done", id)]
    assert store.watch(id) is None


@only_postgresql
@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_who_began_to_wait_while_a_task_ran_is_told_of_its_end(
    database: Database, store: SQLStore, running: Claiming, level: str
) -> None:
    claim = running().claim
    task = database.connect()
    task.execute(f"BEGIN ISOLATION LEVEL {level}")
    task.execute("SELECT 1 FROM gearmanny_jobs")
    with store.changes() as waiting:
        store.watch(claim.id)
        assert store.finish(claim, Event.SUCCEEDED, connection=task)
        task.execute("COMMIT")
        assert waiting.wait(PATIENCE) == [Change("done", claim.id)]


def test_a_standby_is_away_until_it_is_promoted(own_postgres: Postgres) -> None:
    with contextlib.closing(SQLStore(url_of(own_postgres.settings()))) as store:
        process = store.register()
        (submitted,) = store.submit([NewJob("f")])
        claimed = store.claim(submitted.id, "f", 1, process.id)
        assert isinstance(claimed, Claimed)
        own_postgres.restart(as_standby=True)
        for refused in (
            lambda: store.finish(claimed.claim, Event.SUCCEEDED),
            lambda: store.submit([NewJob("f")]),
            store.changes,
        ):
            with pytest.raises(StoreUnavailable, match=r"read-only|during recovery"):
                refused()
        own_postgres.execute(sql.SQL("SELECT pg_promote()"))
        assert store.finish(claimed.claim, Event.SUCCEEDED)
        store.changes().close()


def test_a_wait_outlives_a_restart_of_the_database(own_postgres: Postgres) -> None:
    store = SQLStore(url_of(own_postgres.settings()))
    with store.changes() as waiting:
        own_postgres.restart()
        with pytest.raises(StoreUnavailable):
            waiting.wait(20)
        assert waiting.wait(20) == [changes._ANYTHING]  # what was said meanwhile, nobody heard
        store.submit([NewJob("f", handed_over=False)])
        assert waiting.wait(20) == [Change("due")]
    store.close()


@only_sqlite
def test_who_keeps_a_file_locked_makes_the_store_unavailable(
    database: Database, store: SQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gearmanny.records.sqlite.BUSY_TIMEOUT", 0.05)
    submit(store)
    store.close()
    busy = database.begin()
    with pytest.raises(StoreUnavailable, match="locked"):
        submit(store)
    busy.execute("ROLLBACK")
    submit(store)


@only_postgresql
def test_what_a_session_refuses_for_now_makes_the_store_unavailable(
    database: Database, running: Claiming
) -> None:
    claim = running().claim
    somebody = database.begin()
    somebody.execute("LOCK TABLE gearmanny_jobs")
    for setting in ("lock_timeout", "statement_timeout"):
        hasty = database.open(f"{setting}=100")
        with pytest.raises(StoreUnavailable, match=setting.replace("_", " ")):
            hasty.finish(claim, Event.SUCCEEDED)
    somebody.execute("ROLLBACK")
    standby = database.open("default_transaction_read_only=on")
    with pytest.raises(StoreUnavailable, match="read-only"):
        standby.finish(claim, Event.SUCCEEDED)


@only_sqlite
def test_a_file_that_cannot_be_written_makes_the_store_unavailable(store: SQLStore) -> None:
    store._connections.run(lambda session: session.change("PRAGMA query_only = ON"))
    with pytest.raises(StoreUnavailable, match="readonly"):
        submit(store)
    submit(store)


@only_sqlite
def test_no_row_is_lost_with_the_process(database: Database, store: SQLStore) -> None:
    submit(store)
    assert database.execute("PRAGMA journal_mode") == [("wal",)]


@only_postgresql
def test_sessions_end_soon_after_their_host_vanished(database: Database, store: SQLStore) -> None:
    connection = store._connections.run(lambda session: session.connection)
    assert isinstance(connection, psycopg.Connection)
    settings = {
        name: connection.execute(f"SHOW {name}").fetchone()[0]  # type: ignore[index]
        for name in ("tcp_keepalives_idle", "tcp_user_timeout", "idle_session_timeout")
    }
    assert settings == {
        "tcp_keepalives_idle": "5",
        "tcp_user_timeout": "11000",
        "idle_session_timeout": "0",
    }
