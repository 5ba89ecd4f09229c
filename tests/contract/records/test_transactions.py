"""Records in transactions of the caller: submitted with its writes, and finished with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import psycopg.rows
import pytest

from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claimed, NewJob, Process, Settled
from tests.contract.records.conftest import Claiming, Database, only_postgresql, only_sqlite
from tests.contract.records.test_jobs import look, submit

InThread = Callable[..., "Future[Any]"]


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
def test_jobs_are_submitted_with_the_writes_of_their_caller(
    database: Database, store: SQLStore, other: SQLStore, commits: bool
) -> None:
    store.counts()
    transaction = database.begin()
    jobs = [NewJob("f"), NewJob("f", delay=5), NewJob("f", unique="k")]
    answers = store.submit(jobs, connection=transaction)
    assert [other.look(answer.id) for answer in answers] == [None] * 3
    transaction.execute("COMMIT" if commits else "ROLLBACK")
    assert [other.look(answer.id) is not None for answer in answers] == [commits] * 3


def test_jobs_are_rolled_back_with_a_savepoint(database: Database, store: SQLStore) -> None:
    store.counts()
    transaction = database.begin()
    (kept,) = store.submit([NewJob("f")], connection=transaction)
    transaction.execute("SAVEPOINT inner_one")
    (lost,) = store.submit([NewJob("f")], connection=transaction)
    transaction.execute("ROLLBACK TO SAVEPOINT inner_one")
    transaction.execute("COMMIT")
    assert store.look(kept.id) is not None
    assert store.look(lost.id) is None


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
def test_a_job_is_finished_with_the_writes_of_its_task(
    database: Database, store: SQLStore, running: Claiming, commits: bool
) -> None:
    claimed = running()
    database.execute("CREATE TABLE effects (number integer)")
    transaction = database.begin()
    transaction.execute("INSERT INTO effects VALUES (1)")
    assert store.finish(claimed.claim, Event.SUCCEEDED, "1", connection=transaction)
    transaction.execute("COMMIT" if commits else "ROLLBACK")
    assert look(store, claimed.claim.id).state is (State.SUCCEEDED if commits else State.RUNNING)
    assert database.execute("SELECT * FROM effects") == ([(1,)] if commits else [])
    assert store.settle(claimed.claim) is (Settled.COMMITTED if commits else Settled.LOST)


def test_a_task_whose_job_was_taken_finds_no_row_to_finish(
    database: Database, store: SQLStore, running: Claiming, process: Process
) -> None:
    claimed = running()
    store.give_back(claimed.claim, Event.OWNER_DIED)
    transaction = database.begin()
    assert not store.finish(claimed.claim, Event.SUCCEEDED, "1", connection=transaction)
    transaction.execute("ROLLBACK")


def test_a_task_that_ran_again_after_a_commit_in_doubt_finds_no_row_to_finish(
    database: Database, store: SQLStore, running: Claiming
) -> None:
    claimed = running()
    for expected in (True, False):  # the answer to the first COMMIT was lost
        transaction = database.begin()
        assert store.finish(claimed.claim, Event.SUCCEEDED, connection=transaction) is expected
        transaction.execute("COMMIT")


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
def test_a_commit_in_doubt_is_waited_for(
    database: Database,
    store: SQLStore,
    running: Claiming,
    in_thread: InThread,
    commits: bool,
) -> None:
    claimed = running()
    first = database.begin()
    store.finish(claimed.claim, Event.SUCCEEDED, "1", connection=first)
    settling = in_thread(store.settle, claimed.claim)  # while the first one is in flight
    database.until_blocked(settling)
    first.execute("COMMIT" if commits else "ROLLBACK")
    assert settling.result(20) is (Settled.COMMITTED if commits else Settled.LOST)


def test_two_claims_at_once_and_the_second_one_waits_for_the_first(
    database: Database, store: SQLStore, process: Process, in_thread: InThread
) -> None:
    id = submit(store)
    holder = database.begin()
    cursor = holder.execute("UPDATE gearmanny_jobs SET trace = 'held'")
    assert cursor.rowcount == 1
    first = in_thread(store.claim, id, "f", 1, process.id)
    second = in_thread(database.open().claim, id, "f", 1, process.id)
    database.until_blocked(first)
    database.until_blocked(second)
    holder.execute("COMMIT")
    answers = [first.result(40), second.result(40)]
    assert [isinstance(answer, Claimed) for answer in answers].count(True) == 1
    assert look(store, id).attempts == 1


def test_a_job_that_is_cancelled_while_it_is_claimed_is_one_or_the_other(
    database: Database, store: SQLStore, other: SQLStore, process: Process, in_thread: InThread
) -> None:
    id = submit(store)
    holder = database.begin()
    holder.execute("UPDATE gearmanny_jobs SET trace = 'held'")
    cancelling = in_thread(other.cancel, id)
    claiming = in_thread(store.claim, id, "f", 1, process.id)
    database.until_blocked(cancelling)
    holder.execute("COMMIT")
    claimed = isinstance(claiming.result(40), Claimed)
    assert cancelling.result(40) is (State.RUNNING if claimed else State.CANCELLED)
    found = look(store, id)
    assert found.state is (State.RUNNING if claimed else State.CANCELLED)
    assert found.cancelling is claimed


def test_a_job_is_finished_once_by_its_owner_or_taken_back(
    database: Database, store: SQLStore, other: SQLStore, running: Claiming, in_thread: InThread
) -> None:
    claimed = running()
    task = database.begin()
    assert store.finish(claimed.claim, Event.SUCCEEDED, "1", connection=task)
    taking = in_thread(other.give_back, claimed.claim, Event.OWNER_DIED)
    database.until_blocked(taking)
    task.execute("COMMIT")
    assert taking.result(40) is None
    assert look(store, claimed.claim.id).state is State.SUCCEEDED


@only_postgresql
def test_progress_does_not_disturb_the_snapshot_of_a_task(
    database: Database, store: SQLStore, running: Claiming
) -> None:
    claimed = running()
    task = database.connect()
    task.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    task.execute("SELECT 1")
    task.execute("SELECT count(*) FROM gearmanny_jobs")
    assert store.progress(claimed.claim, 1, 2)
    store.watch(claimed.claim.id)
    assert store.finish(claimed.claim, Event.SUCCEEDED, "1", connection=task)
    task.execute("COMMIT")
    assert look(store, claimed.claim.id).state is State.SUCCEEDED


@only_postgresql
def test_a_snapshot_that_does_not_fit_is_an_error_of_the_task(
    database: Database, store: SQLStore, running: Claiming
) -> None:
    claimed = running()
    task = database.connect()
    task.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    task.execute("SELECT count(*) FROM gearmanny_jobs")
    store.cancel(claimed.claim.id)
    with pytest.raises(psycopg.errors.SerializationFailure):
        store.finish(claimed.claim, Event.SUCCEEDED, "1", connection=task)
    task.execute("ROLLBACK")
    assert store.settle(claimed.claim) is Settled.LOST


@only_postgresql
@pytest.mark.parametrize("cursor", [psycopg.ClientCursor, psycopg.Cursor])
def test_a_connection_of_the_caller_may_be_set_up_as_it_likes(
    database: Database, store: SQLStore, running: Claiming, cursor: type[Any]
) -> None:
    claimed, raw, failed = running(), running(arguments=b"\0"), running()
    connection = psycopg.connect(
        database.url, cursor_factory=cursor, row_factory=psycopg.rows.dict_row
    )
    with connection:
        jobs = [NewJob("f", '{"%s": "%"}', unique="%s"), NewJob("f", b"\0", delay=3)]
        answers = store.submit([*jobs, NewJob("f", at=claimed.created)], connection=connection)
        assert [answer.is_new for answer in answers] == [True] * 3
        assert not store.submit(jobs[:1], connection=connection)[0].is_new
        assert store.finish(claimed.claim, Event.SUCCEEDED, "%s", connection=connection)
        assert store.finish(raw.claim, Event.SUCCEEDED, b"\0%s", connection=connection)
        assert store.finish(failed.claim, Event.FAILED, error='"%s"', connection=connection)
    connection.close()
    assert look(store, answers[0].id).arguments == '{"%s": "%"}'
    assert look(store, claimed.claim.id).result == "%s"
    assert look(store, raw.claim.id).result == b"\0%s"
    assert look(store, failed.claim.id).error == '"%s"'


@only_sqlite
def test_a_connection_of_the_caller_may_convert_what_it_reads(
    database: Database, store: SQLStore, running: Claiming
) -> None:
    claimed = running()
    connection = sqlite3.connect(
        database.url.removeprefix("sqlite:///"), detect_types=sqlite3.PARSE_DECLTYPES
    )
    connection.row_factory = sqlite3.Row
    (answer,) = store.submit([NewJob("f", unique="k")], connection=connection)
    assert not store.submit([NewJob("f", unique="k")], connection=connection)[0].is_new
    assert store.finish(claimed.claim, Event.SUCCEEDED, "1", connection=connection)
    connection.commit()
    connection.close()
    assert look(store, answer.id).state is State.QUEUED


def caused_by(error: BaseException) -> Exception:
    """Returns an error as libraries over a driver raise it."""
    wrapped = RuntimeError("of a library")
    wrapped.__cause__ = error
    return wrapped


@only_postgresql
@pytest.mark.parametrize(
    ("error", "is_transient"),
    [
        (psycopg.errors.SerializationFailure(), True),
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.ConnectionTimeout(), True),
        (psycopg.OperationalError("the connection is lost"), True),
        (caused_by(psycopg.errors.SerializationFailure()), True),
        (psycopg.errors.UniqueViolation(), False),
        (psycopg.errors.QueryCanceled(), False),
        (psycopg.errors.InFailedSqlTransaction(), False),
        (ConnectionError(), False),
    ],
    ids=repr,
)
def test_errors_of_transactions_are_told_from_those_of_tasks(
    store: SQLStore, error: Exception, is_transient: bool
) -> None:
    assert store.is_transient(error) is is_transient


@only_sqlite
def test_a_file_that_is_locked_is_no_error_of_a_task(database: Database, store: SQLStore) -> None:
    store.counts()
    database.begin()
    other = database.connect()
    other.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(sqlite3.OperationalError) as locked:
        other.execute("BEGIN IMMEDIATE")
    assert store.is_transient(locked.value)
    assert store.is_transient(caused_by(locked.value))
    with pytest.raises(sqlite3.OperationalError) as wrong:
        other.execute("SELECT * FROM nowhere")
    assert not store.is_transient(wrong.value)
