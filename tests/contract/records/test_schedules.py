"""Schedules: each tick is one job."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.records.scheduling import NewSchedule, Ticked
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import State
from gearmanny.schedules.timetable import Timetable
from tests.contract.records.conftest import Database
from tests.support.servers import until

LATE = 90.0
"""Seconds that schedules are set back, which have an interval of 60 seconds."""


def new(name: str = "s", function: str = "f", arguments: str = "{}", **options: Any) -> NewSchedule:
    options = options or {"every": 60.0}
    return NewSchedule(name, function, arguments, Timetable(**options))


def tick(store: SQLStore) -> Ticked:
    return store.schedules.tick(random.random)


@pytest.fixture
def set_back(database: Database) -> Callable[..., None]:
    """Sets schedules back, as if nobody had ticked for a while."""

    def set_back(seconds: float = LATE, name: str = "s") -> None:
        for column in ("last_tick", "next_tick"):
            earlier = (
                f"{column} - {seconds} * interval '1 second'"
                if database.is_postgres
                else f"strftime('%Y-%m-%d %H:%M:%f', {column}, '-{seconds} seconds')"
            )
            database.connect().execute(
                f"UPDATE gearmanny_schedules SET {column} = {earlier} WHERE name = '{name}'"
            )

    return set_back


SetBack = Callable[..., None]


def jobs_of(database: Database, function: str = "f") -> list[float]:
    """When the jobs of a function may run."""
    due = "extract(epoch FROM due)" if database.is_postgres else "strftime('%s', due) + 0.0"
    rows = database.connect().execute(
        f"SELECT {due} FROM gearmanny_jobs WHERE function = '{function}' ORDER BY due"
    )
    return [float(row[0]) for row in rows.fetchall()]


class TestANewSchedule:
    def test_begins_now(self, store: SQLStore, database: Database) -> None:
        before = datetime.now(UTC) - timedelta(seconds=1)
        store.schedules.add(new())
        found = store.schedules.get("s")
        assert before <= found.last <= datetime.now(UTC) + timedelta(seconds=1)
        assert found.next == found.last + timedelta(seconds=60)
        ticked = tick(store)
        assert (ticked.ticks, ticked.unreadable) == ([], {})
        assert ticked.wait is not None
        assert 50 < ticked.wait <= 60
        assert jobs_of(database) == []

    def test_comes_back_as_it_was_added(self, store: SQLStore) -> None:
        options: dict[str, Any] = {
            "cron": "0 3 * * mon-fri",
            "timezone": "Europe/Berlin",
            "jitter": 5.0,
            "catch_up": True,
            "overlap": "queue",
            "max_late": 60.0,
        }
        store.schedules.add(new(arguments='{"a": 1}', **options))
        (found,) = store.schedules.all()
        assert found.timetable == Timetable(**options)
        assert (found.name, found.function, found.arguments) == ("s", "f", '{"a": 1}')
        assert (found.from_code, found.paused, found.offered, found.job) == (False,) * 3 + (None,)
        assert found.words == "at 03:00 on Monday through Friday, Europe/Berlin time"

    def test_needs_a_name_of_its_own(self, store: SQLStore) -> None:
        store.schedules.add(new())
        with pytest.raises(InvalidOption, match="There is a schedule 's' already"):
            store.schedules.add(new())
        with pytest.raises(InvalidOption, match="has 1 to 200 characters"):
            store.schedules.add(new("x" * 201))
        with pytest.raises(InvalidOption, match="has 1 to 200 characters"):
            store.schedules.add(new(""))
        with pytest.raises(InvalidTask):
            store.schedules.add(new("t", ""))

    @pytest.mark.parametrize("name", [None, 5, b"s", "a\0b", "a\nb", "\ud800"])
    def test_has_no_name_that_is_no_text(self, store: SQLStore, name: Any) -> None:
        with pytest.raises(InvalidOption, match="is a string without control characters"):
            store.schedules.add(new(name))
        schedules = store.schedules
        for method in (schedules.get, schedules.pause, schedules.resume, schedules.run):
            with pytest.raises(InvalidOption, match="There is no schedule"):
                method(name)

    def test_is_found_by_nobody_before_it_is_added(self, store: SQLStore) -> None:
        schedules = store.schedules
        for method in (schedules.get, schedules.pause, schedules.resume, schedules.remove):
            with pytest.raises(InvalidOption, match="There is no schedule 's'"):
                method("s")
        with pytest.raises(InvalidOption, match="There is no schedule 's'"):
            schedules.run("s")
        with pytest.raises(InvalidOption, match="There is no schedule 's'"):
            schedules.change(new())
        assert tick(store) == Ticked([], {}, None)


class TestATick:
    def test_is_one_job(self, store: SQLStore, database: Database, set_back: SetBack) -> None:
        store.schedules.add(new(arguments='{"a": 1}'))
        set_back()
        before = store.schedules.get("s")
        (ticked,) = tick(store).ticks
        assert ticked.name == "s"
        assert ticked.at == before.next
        (id,) = ticked.jobs
        found = store.look(id)
        assert found is not None
        assert (found.function, found.arguments, found.due) == ("f", '{"a": 1}', ticked.at)
        after = store.schedules.get("s")
        assert (after.last, after.job) == (before.next, id)
        assert tick(store).ticks == []
        assert len(jobs_of(database)) == 1

    def test_that_is_missed_is_made_up_for_if_it_is_the_last_one(
        self, store: SQLStore, database: Database, set_back: SetBack
    ) -> None:
        store.schedules.add(new())
        set_back(630.0)
        before = store.schedules.get("s")
        (ticked,) = tick(store).ticks
        assert ticked.at == before.last + timedelta(seconds=600)
        assert ticked.dropped == 1
        assert len(jobs_of(database)) == 1

    def test_that_is_missed_is_made_up_for_with_all_others_on_request(
        self, store: SQLStore, database: Database, set_back: SetBack
    ) -> None:
        store.schedules.add(new(every=60.0, catch_up=True, overlap="queue"))
        set_back(150 * 60.0 + 30)
        assert tick(store).wait == 0.0  # a hundred at a time
        wait = tick(store).wait
        assert wait
        jobs = jobs_of(database)
        assert len(jobs) == 150
        assert {round(later - earlier) for earlier, later in pairwise(jobs)} == {60}

    def test_that_is_too_late_has_no_job(
        self, store: SQLStore, database: Database, set_back: SetBack
    ) -> None:
        store.schedules.add(new(every=60.0, max_late=10.0))
        set_back()  # the tick is 30 s late
        (ticked,) = tick(store).ticks
        assert (ticked.jobs, ticked.dropped) == ([], 1)
        assert jobs_of(database) == []
        assert tick(store).ticks == []

    def test_is_put_off_by_jitter(self, store: SQLStore, set_back: SetBack) -> None:
        store.schedules.add(new(every=60.0, jitter=10.0))
        set_back()
        (ticked,) = store.schedules.tick(lambda: 0.5).ticks
        found = store.look(ticked.jobs[0])
        assert found is not None
        assert found.due == ticked.at + timedelta(seconds=5)

    def test_is_skipped_while_the_last_job_is_open(
        self, store: SQLStore, database: Database, set_back: SetBack
    ) -> None:
        store.schedules.add(new())
        set_back()
        (first,) = tick(store).ticks
        set_back(60.0)
        (second,) = tick(store).ticks
        assert second.is_skipped
        assert store.schedules.get("s").job == first.jobs[0]
        store.cancel(first.jobs[0])
        set_back(60.0)
        (third,) = tick(store).ticks
        assert len(third.jobs) == 1
        assert len(jobs_of(database)) == 2

    def test_is_skipped_while_the_job_of_a_tick_is_open_though_a_later_run_has_ended(
        self, store: SQLStore, set_back: SetBack
    ) -> None:
        store.schedules.add(new())
        set_back()
        (first,) = tick(store).ticks
        run = store.schedules.run("s")
        store.cancel(run)
        set_back()
        assert tick(store).ticks[0].is_skipped
        assert store.schedules.get("s").job == run
        store.cancel(first.jobs[0])
        set_back()
        assert len(tick(store).ticks[0].jobs) == 1

    def test_is_skipped_while_a_run_is_open(self, store: SQLStore, set_back: SetBack) -> None:
        store.schedules.add(new())
        store.schedules.run("s")
        set_back()
        assert tick(store).ticks[0].is_skipped

    def test_is_queued_nevertheless_on_request(
        self, store: SQLStore, database: Database, set_back: SetBack
    ) -> None:
        store.schedules.add(new(every=60.0, overlap="queue"))
        for _ in range(2):
            set_back()
            tick(store)
        assert len(jobs_of(database)) >= 2

    def test_is_one_job_whoever_ticks_at_the_same_time(
        self,
        database: Database,
        store: SQLStore,
        set_back: SetBack,
        in_thread: Callable[..., Future[Any]],
    ) -> None:
        names = [f"s{number}" for number in range(20)]
        for name in names:
            store.schedules.add(new(name))
            set_back(name=name)
        stores = [database.open() for _ in range(4)]
        for each in stores:
            assert each.id  # it has connected
        barrier = threading.Barrier(len(stores))

        def race(one: SQLStore) -> list[str]:
            barrier.wait(20)
            found: list[str] = []
            while len(jobs_of(database)) < len(names):
                found += [each.name for each in tick(one).ticks]
            return found

        calls = [in_thread(race, one) for one in stores]
        found = [name for call in calls for name in call.result()]
        assert sorted(found) == sorted(names)
        assert len(jobs_of(database)) == len(names)

    def test_whose_dispatcher_dies_in_between_leaves_nothing(
        self, store: SQLStore, other: SQLStore, database: Database, set_back: SetBack
    ) -> None:
        """The connection ends after the job was inserted, and before COMMIT."""
        store.schedules.add(new())
        set_back()

        def dies() -> float:
            return 1 / 0

        with pytest.raises(ZeroDivisionError):
            store.schedules.tick(dies)
        assert jobs_of(database) == []
        assert len(tick(other).ticks) == 1
        assert len(jobs_of(database)) == 1

    @pytest.mark.parametrize(("column", "value"), [("every", 0), ("jitter", 1e18)])
    def test_that_cannot_be_read_holds_up_no_other(
        self, store: SQLStore, database: Database, set_back: SetBack, column: str, value: float
    ) -> None:
        for name in ("bad", "s"):
            store.schedules.add(new(name))
            set_back(name=name)
        database.execute(f"UPDATE gearmanny_schedules SET {column} = {value} WHERE name = 'bad'")
        ticked = tick(store)
        assert [each.name for each in ticked.ticks] == ["s"]
        assert list(ticked.unreadable) == ["bad"]
        assert f"{column} must be" in ticked.unreadable["bad"]
        assert ticked.wait is not None
        assert ticked.wait > 0  # it does not keep the dispatcher busy


class TestASchedule:
    def test_that_is_paused_has_no_ticks_and_goes_on_from_then_on(
        self, store: SQLStore, database: Database, set_back: SetBack
    ) -> None:
        store.schedules.add(new())
        store.schedules.pause("s")
        set_back()
        assert tick(store) == Ticked([], {}, None)
        store.schedules.resume("s")
        assert tick(store).ticks == []
        found = store.schedules.get("s")
        assert not found.paused
        assert found.next == found.last + timedelta(seconds=60)
        store.schedules.resume("s")  # it is not begun again
        assert store.schedules.get("s") == found
        assert jobs_of(database) == []

    def test_is_changed_without_a_tick_in_the_past(
        self, store: SQLStore, set_back: SetBack
    ) -> None:
        store.schedules.add(new(every=3600.0))
        set_back(1800.0)
        before = store.schedules.get("s").last
        store.schedules.change(new(every=2000.0, arguments='{"a": 2}'))
        found = store.schedules.get("s")
        assert (found.last, found.next) == (before, before + timedelta(seconds=2000))
        assert found.arguments == '{"a": 2}'
        store.schedules.change(new(every=60.0))
        assert tick(store).ticks == []

    def test_is_removed(self, store: SQLStore) -> None:
        store.schedules.add(new())
        store.schedules.remove("s")
        assert store.schedules.all() == []

    def test_runs_at_once_on_request(self, store: SQLStore) -> None:
        store.schedules.add(new(arguments='{"a": 1}'))
        before = store.schedules.get("s")
        id = store.schedules.run("s")
        found = store.look(id)
        assert found is not None
        assert (found.state, found.arguments) == (State.QUEUED, '{"a": 1}')
        assert [job.id for job in store.hand_over(10, 10)] == [id]
        assert store.schedules.get("s") == before._replace(job=id)


class TestASchedulesOfCode:
    def test_is_added_once_and_follows_the_code(self, store: SQLStore, other: SQLStore) -> None:
        for each in (store, other):
            assert each.schedules.offer([new("f"), new("g", "g")]) == []
        found = store.schedules.get("f")
        assert found.from_code
        assert len(store.schedules.all()) == 2
        store.schedules.offer([new("f", every=120.0)])
        assert store.schedules.get("f") == found._replace(
            every=120.0, next=found.last + timedelta(seconds=120)
        )

    def test_stays_paused_by_people(self, store: SQLStore) -> None:
        store.schedules.offer([new("f")])
        store.schedules.pause("f")
        store.schedules.offer([new("f", every=120.0)])
        found = store.schedules.get("f")
        assert (found.paused, found.every) == (True, 120.0)

    def test_is_changed_in_code_alone(self, store: SQLStore) -> None:
        store.schedules.offer([new("f")])
        with pytest.raises(InvalidOption, match="is in the code of a worker"):
            store.schedules.change(new("f"))

    def test_leaves_a_schedule_alone_that_somebody_has_added(self, store: SQLStore) -> None:
        store.schedules.add(new("f", every=30.0))
        for every in (30.0, 60.0):
            assert store.schedules.offer([new("f", every=every)]) == ["f"]
            found = store.schedules.get("f")
            assert (found.every, found.from_code) == (30.0, False)

    def test_begins_in_several_processes_at_once(
        self, database: Database, in_thread: Callable[..., Future[Any]]
    ) -> None:
        stores = [database.open() for _ in range(4)]
        for each in stores:
            assert each.id
        offers = [new(name, name) for name in "fgh"]
        calls = [in_thread(each.schedules.offer, offers) for each in stores]
        assert [call.result() for call in calls] == [[]] * 4
        assert len(stores[0].schedules.all()) == 3


class TestWhetherItIsOffered:
    def offered(self, store: SQLStore) -> dict[str, bool]:
        return {each.name: each.offered for each in store.schedules.all()}

    def test_is_known_from_the_processes(self, store: SQLStore) -> None:
        store.schedules.add(new("mine", "f"))
        store.schedules.offer([new("f")])
        assert self.offered(store) == {"f": False, "mine": False}
        functions = json.dumps({"f": {"schedule": {"every": 60.0}}})
        store.register(functions=functions)
        assert self.offered(store) == {"f": True, "mine": True}
        store.leave()
        assert self.offered(store) == {"f": False, "mine": False}
        assert not store.schedules.get("f").paused

    def test_ends_when_the_code_has_it_no_more(self, store: SQLStore) -> None:
        store.schedules.add(new("mine", "f"))
        store.schedules.offer([new("f")])
        store.register(functions=json.dumps({"f": {}, "g": None}))
        assert self.offered(store) == {"f": False, "mine": True}

    def test_does_not_depend_on_processes_that_say_nothing(self, store: SQLStore) -> None:
        store.schedules.offer([new("f")])
        store.register(functions="none")
        assert self.offered(store) == {"f": False}


def test_ticks_wake_those_who_wait_for_what_is_due(
    store: SQLStore, other: SQLStore, set_back: SetBack, database: Database
) -> None:
    store.schedules.add(new())
    set_back()
    with other.changes() as changes:
        changes.wait(0.01)
        tick(store)
        until(lambda: any(each.subject in ("due", "anything") for each in changes.wait(1)), "news")
