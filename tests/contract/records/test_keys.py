"""Keys: at most one job that is queued or running, and at most one that waits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

from gearmanny.errors import InvalidOption
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claimed, NewJob, Process, Submitted
from tests.contract.records.conftest import Claiming, Database, only_postgresql
from tests.contract.records.test_jobs import look, submit

InThread = Callable[..., "Future[Any]"]


def test_a_key_is_taken_while_its_job_is_queued_or_running(
    store: SQLStore, running: Claiming
) -> None:
    claimed = running(unique="k")
    taken = [Submitted(claimed.claim.id, False, False, "f")]
    assert store.submit([NewJob("f", unique="k")]) == taken
    store.give_back(claimed.claim, Event.RETRIED, 3600)
    assert store.submit([NewJob("f", unique="k")]) == taken
    store.cancel(claimed.claim.id)
    assert submit(store, unique="k") != claimed.claim.id


def test_a_key_is_that_of_its_function(store: SQLStore) -> None:
    assert submit(store, unique="k") != submit(store, "g", unique="k")
    assert submit(store, unique="") != submit(store, unique="k2")
    assert not store.submit([NewJob("f", unique="")])[0].is_new


def test_one_may_wait_while_another_one_runs(store: SQLStore, running: Claiming) -> None:
    claimed = running(unique_waiting="k")
    waiting = submit(store, unique_waiting="k")
    assert waiting != claimed.claim.id
    assert store.submit([NewJob("f", unique_waiting="k")]) == [
        Submitted(waiting, False, False, "f")
    ]


def test_a_job_that_goes_back_gives_way_to_a_newer_one(store: SQLStore, running: Claiming) -> None:
    for event in (Event.RETRIED, Event.GIVEN_BACK, Event.OWNER_DIED):
        claimed = running(unique_waiting=event)
        newer = submit(store, unique_waiting=event)
        returned = store.give_back(claimed.claim, event)
        assert returned is not None
        assert returned.event is Event.SUPERSEDED
        found = look(store, claimed.claim.id)
        assert found.state is State.CANCELLED
        assert found.finished is not None
        assert found.error is not None
        assert "newer" in found.error
        assert look(store, newer).state is State.QUEUED


def test_equal_keys_within_one_call_are_one_job(store: SQLStore) -> None:
    jobs = [NewJob("f", unique="k"), NewJob("f"), NewJob("f", unique="k"), NewJob("f", delay=3)]
    answers = store.submit([*jobs, NewJob("f", unique="k", delay=3)])
    assert [answer.is_new for answer in answers] == [True, True, False, True, False]
    assert answers[0].id == answers[2].id == answers[4].id


def test_a_revived_job_needs_its_key(store: SQLStore, running: Claiming) -> None:
    claimed = running(unique="k")
    store.finish(claimed.claim, Event.FAILED, error="{}")
    newer = submit(store, unique="k")
    with pytest.raises(InvalidOption, match="its key"):
        store.revive(claimed.claim.id)
    assert look(store, claimed.claim.id).state is State.FAILED
    store.cancel(newer)
    assert store.revive(claimed.claim.id)


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
def test_a_key_waits_for_the_transaction_that_has_it(
    database: Database, store: SQLStore, in_thread: InThread, commits: bool
) -> None:
    submit(store)  # the tables are there
    open_transaction = database.begin()
    (first,) = store.submit([NewJob("f", unique="k")], connection=open_transaction)
    second = in_thread(store.submit, [NewJob("f", unique="k")])
    database.until_blocked(second)
    open_transaction.execute("COMMIT" if commits else "ROLLBACK")
    (submitted,) = second.result(20)
    assert submitted.is_new is not commits
    assert (submitted.id == first.id) is commits
    assert look(store, submitted.id).state is State.QUEUED


def test_a_job_goes_back_while_a_newer_one_is_not_yet_committed(
    database: Database, store: SQLStore, running: Claiming, in_thread: InThread
) -> None:
    claimed = running(unique_waiting="k")
    open_transaction = database.begin()
    store.submit([NewJob("f", unique_waiting="k")], connection=open_transaction)
    returning = in_thread(store.give_back, claimed.claim, Event.RETRIED)
    database.until_blocked(returning)
    open_transaction.execute("COMMIT")
    returned = returning.result(20)
    assert returned is not None
    assert returned.event is Event.SUPERSEDED


@only_postgresql
def test_two_keys_in_two_orders_deadlock_and_both_transactions_learn_their_fate(
    database: Database, store: SQLStore, other: SQLStore, in_thread: InThread
) -> None:
    submit(store)
    left, right = database.begin(), database.begin()
    store.submit([NewJob("f", unique="1")], connection=left)
    store.submit([NewJob("f", unique="2")], connection=right)
    crossing = in_thread(store.submit, [NewJob("f", unique="2")], left)
    database.until_blocked(crossing)
    outcomes = []
    for call in (lambda: other.submit([NewJob("f", unique="1")], right), crossing.result):
        try:
            outcomes.append(call())
        except psycopg.errors.DeadlockDetected:
            outcomes.append(None)
            right.execute("ROLLBACK")
    assert outcomes.count(None) == 1


@only_postgresql
def test_a_key_that_a_snapshot_cannot_see_is_an_error_of_its_transaction(
    database: Database, store: SQLStore
) -> None:
    submit(store)
    old = database.connect()
    old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    old.execute("SELECT 1 FROM gearmanny_jobs")
    submit(store, unique="k")
    with pytest.raises(psycopg.errors.SerializationFailure):
        store.submit([NewJob("f", unique="k")], connection=old)


def test_of_many_processes_one_gets_the_key(
    database: Database, process: Process, in_thread: InThread
) -> None:
    stores = [database.open() for _ in range(6)]
    for round in range(10):
        calls = [in_thread(each.submit, [NewJob("f", unique=str(round))]) for each in stores]
        answers = [call.result(30)[0] for call in calls]
        assert [answer.is_new for answer in answers].count(True) == 1
        assert len({answer.id for answer in answers}) == 1
        claimed = stores[0].claim(answers[0].id, "f", 1, process.id)
        assert isinstance(claimed, Claimed)
