"""The queries of the dispatcher, the figures, and forgetting."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claimed, Count, HandedAgain, NewJob, Process
from tests.contract.records.conftest import Claiming, Database, only_postgresql
from tests.contract.records.test_jobs import look, submit
from tests.support.servers import until

InThread = Callable[..., "Future[Any]"]


def waiting(store: SQLStore, count: int, function: str = "f", **options: Any) -> list[str]:
    """Submits jobs that the dispatcher is to hand over."""
    jobs = [NewJob(function, handed_over=False, **options) for _ in range(count)]
    return [submitted.id for submitted in store.submit(jobs)]


def test_what_is_due_is_handed_over_once(store: SQLStore) -> None:
    due = waiting(store, 3, trace="t")
    submit(store, delay=3600)
    handed = store.hand_over(10, 10)
    assert {job.id for job in handed} == set(due)
    assert {job[1:] for job in handed} == {("f", 1, 0, "t")}
    assert store.hand_over(10, 10) == []
    assert look(store, due[0]).number == 1


def test_what_its_caller_hands_over_is_not_handed_over_here(store: SQLStore) -> None:
    submit(store)
    assert store.hand_over(10, 10) == []


def test_a_delayed_job_is_left_to_the_dispatcher(store: SQLStore) -> None:
    (answer,) = store.submit([NewJob("f", delay=0.05)])
    assert not answer.is_handed_over
    while not (handed := store.hand_over(10, 10)):
        pass
    assert handed[0].id == answer.id


def test_the_backlog_stays_in_the_database(store: SQLStore, process: Process) -> None:
    waiting(store, 5)
    assert len(store.hand_over(2, 3)) == 2
    (last,) = store.hand_over(2, 3)
    assert store.hand_over(2, 3) == []
    assert isinstance(store.claim(last.id, "f", 1, process.id), Claimed)
    assert len(store.hand_over(2, 3)) == 1


def test_a_function_without_workers_holds_up_no_other(store: SQLStore) -> None:
    waiting(store, 5, "a")
    assert len(store.hand_over(10, 2)) == 2
    waiting(store, 1, "b")
    assert [job.function for job in store.hand_over(10, 2)] == ["b"]


def test_the_urgent_leaves_first_and_then_the_oldest(store: SQLStore) -> None:
    low, first, high = (waiting(store, 1, priority=priority)[0] for priority in (-1, 0, 1))
    second = waiting(store, 1)[0]
    picked = [job.id for _ in range(4) for job in store.hand_over(1, 10)]
    assert picked == [high, first, second, low]


@only_postgresql
def test_two_dispatchers_do_not_hand_over_the_same(
    database: Database, store: SQLStore, other: SQLStore
) -> None:
    ids = waiting(store, 3)
    busy = database.begin()
    busy.execute("SELECT id FROM gearmanny_jobs WHERE id = %s FOR UPDATE", [ids[0]])
    # A second session holds the first row: nobody waits for it.
    assert {job.id for job in other.hand_over(10, 10)} == set(ids[1:])
    busy.execute("COMMIT")
    assert [job.id for job in other.hand_over(10, 10)] == ids[:1]


def test_dispatchers_at_once_hand_over_everything_once(
    database: Database, store: SQLStore, in_thread: InThread
) -> None:
    ids = waiting(store, 300)

    def dispatch(dispatcher: SQLStore) -> list[str]:
        handed: list[str] = []
        while jobs := dispatcher.hand_over(7, 1000):
            handed += [job.id for job in jobs]
        return handed

    calls = [in_thread(dispatch, database.open()) for _ in range(4)]
    assert sorted(id for call in calls for id in call.result(60)) == sorted(ids)


def test_what_got_lost_is_handed_over_again_and_fails_in_the_end(store: SQLStore) -> None:
    id = submit(store)
    assert store.handed_before(3600, 10) == []
    for number in (2, 3):
        (lost,) = store.handed_before(0, 10)
        assert lost.id == id
        again = store.hand_over_again([lost])
        assert again == HandedAgain([lost._replace(number=number)], [])
        assert store.hand_over_again([lost]) == HandedAgain([], [])  # somebody was faster
    (lost,) = store.handed_before(0, 10)
    assert store.hand_over_again([lost]) == HandedAgain([], [lost])
    found = look(store, id)
    assert (found.state, found.number, found.failures, found.deaths) == (State.FAILED, 3, 0, 0)
    assert found.error is not None
    assert "no worker claimed it: do the workers have this store?" in found.error
    assert store.handed_before(0, 10) == []


def test_what_is_handed_over_again_may_be_left_alone_for_a_while(store: SQLStore) -> None:
    submit(store)
    (lost,) = store.handed_before(0, 10)
    assert store.hand_over_again([lost], seconds=60).handed
    assert store.handed_before(0, 10) == []
    (again,) = store.handed_before(-61, 10)
    assert again.number == 2


def test_a_job_server_that_lost_its_queue_is_nobodys_fault(
    store: SQLStore, process: Process
) -> None:
    id = submit(store)
    for _ in range(5):
        (lost,) = store.handed_before(0, 10)
        assert store.hand_over_again([lost], counts=False).handed
    assert isinstance(store.claim(id, "f", 6, process.id), Claimed)


def test_a_claim_clears_the_count_of_hand_overs(
    store: SQLStore, running: Claiming, process: Process
) -> None:
    claimed = running()
    for number in range(2, 6):
        store.give_back(claimed.claim, Event.GIVEN_BACK)
        (handed,) = store.hand_over(1, 1)
        assert handed.number == number
        again = store.claim(handed.id, "f", number, process.id)
        assert isinstance(again, Claimed)
        claimed = again
    assert look(store, claimed.claim.id).state is State.RUNNING


def test_what_job_servers_still_have_is_asked_about_later(store: SQLStore) -> None:
    ids = [submit(store) for _ in range(3)]
    found = store.handed_before(0, 2)
    assert [job.id for job in found] == ids[:2]
    store.confirm([])

    def comes_first() -> bool:  # a clock of milliseconds may stand still
        store.confirm([job.id for job in found])
        return store.handed_before(0, 3)[0].id == ids[2]

    until(comes_first)


def test_what_job_servers_have_may_be_left_alone_for_longer(store: SQLStore) -> None:
    id = submit(store)
    store.confirm([id], 3600)
    assert store.handed_before(0, 10) == []
    assert [job.id for job in store.handed_before(-3601, 10)] == [id]


def test_of_many_that_got_lost_each_has_its_fate(store: SQLStore, process: Process) -> None:
    given_up, claimed, lost = (submit(store) for _ in range(3))
    for _ in range(2):
        store.hand_over_again([job for job in store.handed_before(0, 10) if job.id == given_up])
    jobs = store.handed_before(0, 10)
    assert isinstance(store.claim(claimed, "f", 1, process.id), Claimed)
    again = store.hand_over_again(jobs)
    assert [job.id for job in again.handed] == [lost]
    assert [job.id for job in again.failed] == [given_up]


def test_what_went_back_to_the_queue_is_at_no_job_server(store: SQLStore, process: Process) -> None:
    id = submit(store)
    claimed = store.claim(id, "f", 1, process.id)
    assert isinstance(claimed, Claimed)
    store.give_back(claimed.claim, Event.RETRIED)
    store.confirm([id])  # it was asked about before it was claimed
    assert [job.id for job in store.hand_over(1, 1)] == [id]


def test_no_function_hides_what_another_one_lost(store: SQLStore) -> None:
    for _ in range(5):
        submit(store, "a")
    submit(store, "b")
    assert {job.function for job in store.handed_before(0, 2)} == {"a", "b"}


def test_a_claimed_job_is_not_handed_over_again(store: SQLStore, process: Process) -> None:
    id = submit(store)
    (lost,) = store.handed_before(0, 10)
    assert isinstance(store.claim(id, "f", 1, process.id), Claimed)
    for _ in range(5):
        assert store.hand_over_again([lost]) == HandedAgain([], [])
    assert look(store, id).state is State.RUNNING


def test_jobs_are_counted(store: SQLStore, running: Claiming) -> None:
    assert store.counts() == []
    waiting(store, 2)
    submit(store)
    submit(store, delay=3600)
    running()
    store.finish(running().claim, Event.FAILED, error="{}")
    store.finish(running().claim, Event.SUCCEEDED)
    submit(store, "g", delay=3600)
    f, g = store.counts()
    assert f[:5] == ("f", 3, 1, 1, 1)
    assert 0 <= f.oldest < 60
    assert g == Count("g", 0, 1, 0, 0, 0.0)


def test_what_ended_long_ago_is_forgotten(store: SQLStore, running: Claiming) -> None:
    succeeded, failed, open_one = running(), running(), running()
    store.progress(succeeded.claim, 1, 2)
    store.finish(succeeded.claim, Event.SUCCEEDED)
    store.finish(failed.claim, Event.FAILED, error="{}")
    assert store.prune(State.SUCCEEDED, 3600) == 0
    assert store.prune(State.SUCCEEDED, 0) == 1
    assert store.prune(State.SUCCEEDED, 0) == 0
    assert store.look(succeeded.claim.id) is None
    assert look(store, failed.claim.id).state is State.FAILED
    assert look(store, open_one.claim.id).state is State.RUNNING
    for state in (State.QUEUED, State.RUNNING):
        with pytest.raises(InvalidOption, match="never pruned"):
            store.prune(state, 0)


def test_forgetting_leaves_no_notes(database: Database, store: SQLStore, running: Claiming) -> None:
    claimed = running()
    store.progress(claimed.claim, 1, 2)
    store.finish(claimed.claim, Event.SUCCEEDED)
    store.prune(State.SUCCEEDED, 0)
    assert database.execute("SELECT count(*) FROM gearmanny_notes") == [(0,)]


def test_ten_thousand_are_forgotten_in_batches_while_another_one_claims(
    store: SQLStore, other: SQLStore, process: Process, database: Database, in_thread: InThread
) -> None:
    store.submit([NewJob("old") for _ in range(10_000)])
    database.execute(
        "UPDATE gearmanny_jobs SET state = 'succeeded', finished = due WHERE function = 'old'"
    )
    ids = [submit(store) for _ in range(200)]

    def work() -> int:
        done = 0
        for id in ids:
            claimed = other.claim(id, "f", 1, process.id)
            assert isinstance(claimed, Claimed)
            done += other.finish(claimed.claim, Event.FAILED, error="{}")
        return done

    working = in_thread(work)
    forgotten = []
    while count := store.prune(State.SUCCEEDED, 0, 500):
        forgotten.append(count)
    assert forgotten == [500] * 20
    assert working.result(60) == len(ids)
    assert [count[:5] for count in store.counts()] == [("f", 0, 0, 0, len(ids))]


@only_postgresql
def test_two_that_forget_do_not_wait_for_each_other(
    database: Database, store: SQLStore, running: Claiming
) -> None:
    first, second = running(), running()
    for claimed in (first, second):
        store.finish(claimed.claim, Event.SUCCEEDED)
    busy = database.begin()
    busy.execute("SELECT id FROM gearmanny_jobs WHERE id = %s FOR UPDATE", [first.claim.id])
    assert store.prune(State.SUCCEEDED, 0) == 1
    assert store.look(second.claim.id) is None
