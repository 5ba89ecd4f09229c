"""Limits: what is over them waits in the database."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from gearmanny.records.limits import NONE_HELD, Limit, Limits
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import (
    Change,
    Changes,
    Claimed,
    HandedOver,
    NewJob,
    Process,
    Refusal,
    Refused,
)
from tests.contract.records.conftest import Database, only_postgresql, only_sqlite
from tests.contract.records.test_jobs import look, submit
from tests.support.servers import PATIENCE, ROOT, until

ONE = Limits(max_running=1)
TWO = Limits(max_running=2)
HOURLY = Limits(every=3600)
BY_CUSTOMER = Limits(max_running=1, key="customer")

LIMITED = Refused(Refusal.LIMITED)


class Worker:
    """Claims jobs of f() within limits."""

    def __init__(self, store: SQLStore, process: Process) -> None:
        self.store, self.process = store, process

    def claim(self, id: str, limits: Limits | None, number: int = 1) -> Any:
        return self.store.claim(id, "f", number, self.process.id, limits)

    def begin(self, id: str, limits: Limits | None, number: int = 1) -> Claimed:
        claimed = self.claim(id, limits, number)
        assert isinstance(claimed, Claimed)
        return claimed

    def end(self, claimed: Claimed) -> None:
        assert self.store.finish(claimed.claim, Event.SUCCEEDED, "1")

    def handed(self) -> list[HandedOver]:
        """What is handed over after a release."""
        self.store.release()
        return self.store.hand_over(100, 100)


def in_order(store: SQLStore, count: int, **options: Any) -> list[str]:
    """Submits jobs; returns their ids, the oldest first: those of one millisecond have no order."""
    return sorted(submit(store, **options) for _ in range(count))


@pytest.fixture
def worker(store: SQLStore, process: Process) -> Worker:
    return Worker(store, process)


def test_what_is_over_waits_until_there_is_room(store: SQLStore, worker: Worker) -> None:
    ids = in_order(store, 4)
    first, second = worker.begin(ids[0], TWO), worker.begin(ids[1], TWO)
    assert [worker.claim(id, TWO) for id in ids[2:]] == [LIMITED, LIMITED]
    assert worker.handed() == []
    assert store.handed_before(0, 10) == []
    assert look(store, ids[2]).state is State.QUEUED
    worker.end(first)
    (handed,) = worker.handed()
    assert (handed.id, handed.number) == (ids[2], 2)
    third = worker.begin(ids[2], TWO, 2)
    assert worker.handed() == []
    worker.end(second)
    worker.end(third)
    assert [job.id for job in worker.handed()] == [ids[3]]
    assert store.release().wait == math.inf


def test_what_came_first_begins_first(store: SQLStore, worker: Worker) -> None:
    running, held, late, later = in_order(store, 4)
    urgent = submit(store, priority=1)
    first = worker.begin(running, ONE)
    assert [worker.claim(held, ONE), worker.claim(urgent, ONE)] == [LIMITED, LIMITED]
    worker.end(first)
    assert worker.claim(late, ONE) == LIMITED  # others are held
    assert [job.id for job in worker.handed()] == [urgent]
    assert worker.claim(later, ONE) == LIMITED  # the place is that of the one released
    worker.end(worker.begin(urgent, ONE, 2))
    assert [job.id for job in worker.handed()] == [held]


def test_a_job_that_was_released_and_finds_no_place_is_held_again(
    store: SQLStore, worker: Worker
) -> None:
    ids = in_order(store, 3)
    first = worker.begin(ids[0], TWO)
    second = worker.begin(ids[1], TWO)
    assert worker.claim(ids[2], TWO) == LIMITED
    worker.end(first)
    (handed,) = worker.handed()
    assert worker.claim(handed.id, ONE, handed.number) == LIMITED  # a limit that is new
    worker.end(second)
    assert len(worker.handed()) == 1


def test_a_job_that_is_revived_has_no_place_before_it_is_claimed(
    store: SQLStore, worker: Worker
) -> None:
    ids = in_order(store, 2)
    failed = worker.begin(ids[0], ONE)
    store.finish(failed.claim, Event.FAILED, error="{}")
    assert store.revive(ids[0])
    worker.begin(ids[1], ONE)


def test_keys_do_not_wait_for_each_other(store: SQLStore, worker: Worker) -> None:
    jobs = {
        customer: in_order(store, 3, arguments=json.dumps({"customer": customer}))
        for customer in (1, "1", None)
    }
    begun = [worker.begin(ids[0], BY_CUSTOMER) for ids in jobs.values()]
    for ids in jobs.values():
        assert [worker.claim(id, BY_CUSTOMER) for id in ids[1:]] == [LIMITED, LIMITED]
    for claimed in begun:
        worker.end(claimed)
    assert {job.id for job in worker.handed()} == {ids[1] for ids in jobs.values()}


@pytest.mark.parametrize("arguments", ["not JSON", "[1]", b"\xff\0", '{"other": 1}', ""])
def test_what_has_no_key_shares_its_limit(
    store: SQLStore, worker: Worker, arguments: str | bytes
) -> None:
    worker.begin(submit(store, arguments='{"customer": null}'), BY_CUSTOMER)
    assert worker.claim(submit(store, arguments=arguments), BY_CUSTOMER) == LIMITED


def test_a_key_may_be_long_and_hostile(store: SQLStore, worker: Worker) -> None:
    arguments = json.dumps({"customer": ["\0'\"%s{}" * 1000]})
    worker.begin(submit(store, arguments=arguments), BY_CUSTOMER)
    assert worker.claim(submit(store, arguments=arguments), BY_CUSTOMER) == LIMITED
    worker.begin(submit(store, arguments='{"customer": "\\u0000"}'), BY_CUSTOMER)


def test_a_process_that_dies_gives_its_place_back(
    store: SQLStore, other: SQLStore, worker: Worker
) -> None:
    dead = other.register()
    ids = in_order(store, 2)
    assert isinstance(other.claim(ids[0], "f", 1, dead.id, ONE), Claimed)
    assert worker.claim(ids[1], ONE) == LIMITED
    assert worker.handed() == []
    other.take_back(dead.id)
    assert {job.id for job in worker.handed()} == set(ids)
    assert worker.claim(ids[0], ONE, 2) == LIMITED  # the place is that of the other one
    worker.begin(ids[1], ONE, 2)


@pytest.mark.parametrize("way", ["retry", "cancel", "delete"])
def test_a_job_that_leaves_gives_its_place_back(store: SQLStore, worker: Worker, way: str) -> None:
    ids = in_order(store, 3)
    begun = worker.begin(ids[0], ONE)
    assert [worker.claim(id, ONE) for id in ids[1:]] == [LIMITED, LIMITED]
    if way == "retry":  # for its attempt in an hour, it keeps no place
        store.give_back(begun.claim, Event.RETRIED, 3600)
    else:
        worker.end(begun)
        (released,) = worker.handed()
        if way == "cancel":
            store.cancel(released.id)
        else:
            store.delete([released.id])
    assert len(worker.handed()) == 1


def test_a_job_begins_only_as_often_as_the_rate_says(store: SQLStore, worker: Worker) -> None:
    ids = in_order(store, 2)
    worker.end(worker.begin(ids[0], HOURLY))
    assert worker.claim(ids[1], HOURLY) == LIMITED
    assert worker.handed() == []
    assert store.release().wait == 1.0
    assert worker.claim(ids[1], None) != LIMITED  # without its limits, it is not held


def test_a_rate_that_was_changed_counts_from_the_last_start(
    store: SQLStore, worker: Worker
) -> None:
    ids, often = in_order(store, 4), Limits(every=0.01)
    worker.end(worker.begin(ids[0], HOURLY))
    assert worker.claim(ids[1], HOURLY) == LIMITED
    assert worker.claim(ids[2], often) == LIMITED  # another one waits, and was there before
    assert [job.id for job in worker.handed()] == ids[1:3]
    until(lambda: isinstance(worker.claim(ids[1], often, 2), Claimed))
    assert worker.claim(ids[3], HOURLY) == LIMITED
    assert worker.handed() == []


def test_a_job_that_comes_a_moment_too_early_is_claimed_again(
    store: SQLStore, worker: Worker
) -> None:
    limits = Limits(every=0.05)
    ids = in_order(store, 2)
    worker.begin(ids[0], limits)
    answers = []
    until(lambda: answers.append(worker.claim(ids[1], limits)) or isinstance(answers[-1], Claimed))
    assert {answer.reason for answer in answers[:-1]} <= {Refusal.SOON}


def test_what_is_not_to_be_run_is_not_held(store: SQLStore, worker: Worker) -> None:
    id = submit(store)
    worker.begin(submit(store), ONE)
    assert worker.claim(id, ONE, 2) == Refused(Refusal.OUTDATED)
    (delayed,) = store.submit([NewJob("f", delay=3600)])
    assert worker.claim(delayed.id, ONE, 0) == Refused(Refusal.EARLY)
    store.cancel(id)
    assert worker.claim(id, ONE) == Refused(Refusal.OVER)
    assert store.claim("018f0000-0000-7000-8000-000000000000", "f", 1, worker.process.id, ONE) == (
        Refused(Refusal.UNKNOWN)
    )
    assert store.release().wait == math.inf


def test_the_same_claim_may_be_repeated(
    store: SQLStore, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gearmanny.records.claiming.new_token", lambda: 5)
    id = submit(store)
    first = worker.begin(id, ONE)
    assert worker.begin(id, ONE) == first


@only_sqlite
def test_a_claim_without_limits_is_one_statement(store: SQLStore, worker: Worker) -> None:
    id, statements = submit(store), []
    session = store._connections._session
    assert session is not None
    session.connection.set_trace_callback(statements.append)
    worker.begin(id, None)
    session.connection.set_trace_callback(None)
    assert len(statements) == 1


def test_held_jobs_are_counted_as_waiting(store: SQLStore, worker: Worker) -> None:
    worker.begin(submit(store), ONE)
    worker.claim(submit(store), ONE)
    (count,) = store.counts()
    assert (count.waiting, count.running) == (1, 1)


def test_limits_that_nobody_uses_are_forgotten(
    store: SQLStore, worker: Worker, database: Database
) -> None:
    def names() -> list[Any]:
        return database.execute("SELECT name FROM gearmanny_limits ORDER BY name")

    worker.begin(submit(store, arguments='{"customer": 1}'), BY_CUSTOMER)
    worker.end(worker.begin(submit(store, arguments='{"customer": 2}'), BY_CUSTOMER))
    worker.end(worker.begin(submit(store), HOURLY))
    store.forget_limits()
    assert names() == [("f",), ("f 1",)]


def test_the_key_is_forgotten_with_the_arguments(
    store: SQLStore, worker: Worker, database: Database
) -> None:
    ids = in_order(store, 2, arguments='{"customer": "ada"}')
    claimed = worker.begin(ids[0], BY_CUSTOMER)
    assert worker.claim(ids[1], BY_CUSTOMER) == LIMITED
    assert store.finish(claimed.claim, Event.SUCCEEDED, "1", forget_arguments=True)
    ended = "SELECT limited, arguments FROM gearmanny_jobs WHERE state = 'succeeded'"
    assert database.execute(ended) == [(None, None)]
    assert [job.id for job in worker.handed()] == [ids[1]]


def run_processes(database: Database, limits: Limits, names: list[str]) -> dict[str, int]:
    """Returns the most jobs of each limit that ran at a time."""
    database.execute("CREATE TABLE counted (name text PRIMARY KEY, n integer NOT NULL)")
    for name in names:
        database.execute("INSERT INTO counted VALUES (%s, 0)", name)
    script = [sys.executable, "-m", "tests.contract.records.limits_script"]
    command = [*script, database.url, json.dumps(limits._asdict())]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    most: dict[str, int] = {}
    try:
        for process in processes:
            out, _ = process.communicate(timeout=4 * PATIENCE)
            assert process.returncode == 0
            for name, count in json.loads(out).items():
                most[name] = max(most.get(name, 0), count)
    finally:
        for process in processes:
            process.kill()  # when one has failed, the others wait for its job for ever
            process.wait()
    return most


def test_eight_processes_keep_within_the_number_that_may_run(
    database: Database, store: SQLStore
) -> None:
    jobs = [
        NewJob("f", json.dumps({"customer": number % 3}), handed_over=False) for number in range(60)
    ]
    ids = [job.id for job in store.submit(jobs)]
    limits = Limits(max_running=2, key="customer")
    most = run_processes(database, limits, ["f 0", "f 1", "f 2"])
    assert set(most) == {"f 0", "f 1", "f 2"}
    assert max(most.values()) <= 2
    assert {look(store, id).state for id in ids} == {State.SUCCEEDED}


def test_eight_processes_keep_the_rate_in_every_window(database: Database, store: SQLStore) -> None:
    every = 0.04
    ids = [job.id for job in store.submit([NewJob("f", handed_over=False)] * 25)]
    run_processes(database, Limits(every=every), ["f"])
    started = sorted(job.started for job in (look(store, id) for id in ids) if job.started)
    assert len(started) == 25
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(started)]
    assert min(gaps) >= every


class OfSome:
    """Limits of jobs whose arguments say so."""

    def limit(self, function: str, arguments: str | bytes) -> Limit | None:
        return None if arguments == "free" else Limit("some", max_running=1)


def test_jobs_of_a_function_may_have_different_limits(store: SQLStore, worker: Worker) -> None:
    limits: Any = OfSome()
    first, second = in_order(store, 2)
    free = [submit(store, arguments="free") for _ in range(2)]
    claimed = worker.begin(first, limits)
    assert worker.claim(second, limits) == LIMITED
    for id in free:
        worker.begin(id, limits)
    worker.end(claimed)
    assert [job.id for job in worker.handed()] == [second]
    assert worker.claim("0190aaaa-0000-7000-8000-000000000000", limits).reason is Refusal.UNKNOWN


def test_only_some_limits_may_be_looked_at(store: SQLStore, worker: Worker) -> None:
    """Of many thousand keys, those in which there is room."""
    first = [submit(store, arguments=f'{{"customer": {n}}}') for n in range(3)]
    claims = [worker.begin(id, BY_CUSTOMER) for id in first]
    second = [submit(store, arguments=f'{{"customer": {n}}}') for n in range(3)]
    assert [worker.claim(id, BY_CUSTOMER) for id in second] == [LIMITED] * 3
    for claimed in claims:
        worker.end(claimed)
    assert store.release([]) == store.release(["g"]) == NONE_HELD
    assert store.release(["f 1", "g"]).jobs == 1
    assert [job.id for job in store.hand_over(10, 10)] == [second[1]]
    assert store.release().jobs == 2


def test_what_is_held_is_released_where_its_limit_is_forgotten(
    database: Database, store: SQLStore, worker: Worker
) -> None:
    """As by two that forget it and use it at the same moment."""
    ids = in_order(store, 2)
    worker.end(worker.begin(ids[0], HOURLY))
    assert worker.claim(ids[1], HOURLY) == LIMITED
    database.execute("DELETE FROM gearmanny_limits")
    assert [job.id for job in worker.handed()] == [ids[1]]


Heard = Callable[[Changes], set[Change]]


@pytest.fixture
def heard(database: Database) -> Heard:
    """Returns all that was told until now."""

    def heard(changes: Changes) -> set[Change]:
        database.execute("SELECT pg_notify('gearmanny_jobs_changed', 'end')")
        found: set[Change] = set()
        while Change("end") not in found:
            found.update(changes.wait(PATIENCE))
        return found - {Change("end")}

    return heard


@only_postgresql
class TestThatThereIsRoomIsTold:
    """So that dispatchers need not look all the time."""

    @pytest.mark.parametrize("end", ["done", "failed", "interrupted", "retried", "given", "died"])
    def test_when_a_job_leaves(
        self, store: SQLStore, worker: Worker, heard: Heard, end: str
    ) -> None:
        claimed = worker.begin(submit(store), ONE)
        with store.changes() as changes:
            if end == "died":
                store.take_back(worker.process.id)
            elif end in ("retried", "given"):
                event = {"retried": Event.RETRIED, "given": Event.GIVEN_BACK}[end]
                store.give_back(claimed.claim, event)
            else:
                event = {
                    "done": Event.SUCCEEDED,
                    "failed": Event.FAILED,
                    "interrupted": Event.INTERRUPTED,
                }[end]
                store.finish(claimed.claim, event)
            assert Change("room", "f") in heard(changes)

    @pytest.mark.parametrize("end", ["cancelled", "deleted", "never claimed"])
    def test_when_one_ends_that_was_released(
        self, store: SQLStore, worker: Worker, heard: Heard, end: str
    ) -> None:
        ids = in_order(store, 2)
        first = worker.begin(ids[0], ONE)
        assert worker.claim(ids[1], ONE) == LIMITED
        worker.end(first)
        assert worker.handed()
        with store.changes() as changes:
            if end == "cancelled":
                assert store.cancel(ids[1]) is State.CANCELLED
            elif end == "deleted":
                assert store.delete([ids[1]]) == [ids[1]]
            else:
                lost = store.handed_before(0, 1)
                assert len(store.hand_over_again(lost, max_handovers=1).failed) == 1
            assert heard(changes) == {Change("room", "f")}

    def test_to_who_is_held(self, store: SQLStore, worker: Worker, heard: Heard) -> None:
        """It may have been free a moment ago."""
        ids = in_order(store, 2)
        worker.begin(ids[0], ONE)
        with store.changes() as changes:
            assert worker.claim(ids[1], ONE) == LIMITED
            assert heard(changes) == {Change("room", "f")}

    def test_not_where_there_are_no_limits(
        self, store: SQLStore, worker: Worker, heard: Heard
    ) -> None:
        with store.changes() as changes:
            worker.end(worker.begin(submit(store), None))
            assert heard(changes) == set()
