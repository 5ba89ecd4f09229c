"""Timetables: what is due, and what becomes of ticks that come late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.schedules.timetable import MOST_AT_ONCE, Due, Timetable, planned

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def due(timetable: Timetable, seconds: float, random: float = 0.0) -> Due:
    """What is due so many seconds after the last tick."""
    return timetable.due(START, at(seconds), lambda: random)


def test_nothing_is_due_before_the_first_tick() -> None:
    assert due(Timetable(every=60.0), 59) == Due([], START, at(60), 0)


def test_a_tick_is_due_at_its_time() -> None:
    assert due(Timetable(every=60.0), 60) == Due([at(60)], at(60), at(120), 0)


def test_of_those_that_were_missed_the_last_one_is_made_up_for() -> None:
    assert due(Timetable(every=60.0), 200) == Due([at(180)], at(180), at(240), 1)


def test_all_are_made_up_for_on_request_some_at_a_time() -> None:
    timetable = Timetable(every=60.0, catch_up=True, overlap="queue")
    assert due(timetable, 200) == Due([at(60), at(120), at(180)], at(180), at(240), 0)
    found = due(timetable, 60.0 * MOST_AT_ONCE * 2)
    assert len(found.jobs) == MOST_AT_ONCE
    assert found.last == at(60.0 * MOST_AT_ONCE)
    assert due(timetable, 10).jobs == []


def test_one_that_comes_too_late_is_not_made_up_for() -> None:
    assert due(Timetable(every=60.0, max_late=10), 80) == Due([], at(60), at(120), 1)
    assert due(Timetable(every=60.0, max_late=10), 70).jobs == [at(60)]
    all = Timetable(every=60.0, max_late=100, catch_up=True, overlap="queue")
    assert due(all, 250) == Due([at(180), at(240)], at(240), at(300), 2)


def test_jobs_are_put_off_at_random() -> None:
    assert due(Timetable(every=60.0, jitter=20), 60, random=0.25).jobs == [at(65)]


def test_there_may_be_no_next_tick() -> None:
    timetable = Timetable(cron="0 0 1 1 *")
    last = datetime(9999, 1, 1, tzinfo=UTC)
    assert timetable.due(last, last + timedelta(days=1), lambda: 0.0).next is None
    assert timetable.begun(last, last + timedelta(days=1)) == last


def test_a_change_makes_no_tick_in_the_past() -> None:
    assert Timetable(every=60.0).begun(START, at(59)) == START
    assert Timetable(every=60.0).begun(START, at(60)) == at(60)


def test_two_are_equal_that_say_the_same() -> None:
    assert Timetable(every=60) == Timetable(every=60.0)
    assert Timetable(every=1.0004) == Timetable(every=1.0)
    assert Timetable(every=60) != Timetable(every=60, jitter=1)
    assert Timetable(every=60).words == "every minute"


def test_the_help_shows_what_is_said() -> None:
    assert Timetable(every=60).help() == {"every": 60.0}
    assert Timetable(cron="0 3 * * *", timezone="Asia/Tokyo", max_late=5.0).help() == {
        "cron": "0 3 * * *",
        "timezone": "Asia/Tokyo",
        "max_late": 5.0,
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jitter": -1}, "jitter must be a number of seconds"),
        ({"jitter": 1e18}, "jitter must be a number of seconds from 0 to 3e9"),
        ({"max_late": 10**400}, "max_late must be a number of seconds from 0 to 3e9, or None"),
        ({"timezone": "Europe/Berlin"}, "timezone has no effect with every"),
        ({"timezone": None}, "timezone has no effect with every"),
        ({"catch_up": 1}, "catch_up must be True or False"),
        ({"overlap": "stop"}, "overlap must be one of skip, queue"),
        ({"max_late": "5"}, "max_late must be"),
        ({"catch_up": True}, "Leave one of the two out"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        Timetable(every=60, **options)


class TestThePlanOfOptions:
    def test_is_none_without_any(self) -> None:
        assert planned({}, "task") is None

    def test_is_a_timetable_and_arguments(self) -> None:
        options = {"every": timedelta(minutes=5), "args": {"a": 1}, "jitter": 2}
        assert planned(options, "task") == (Timetable(every=300, jitter=2), {"a": 1})
        plan = planned({"cron": "0 3 * * *", "timezone": "Europe/Berlin"}, "task")
        assert plan == (Timetable(cron="0 3 * * *", timezone="Europe/Berlin"), {})

    def test_queues_what_is_made_up_for(self) -> None:
        plan = planned({"every": timedelta(hours=1), "catch_up": True}, "task")
        assert plan is not None
        assert plan.timetable.overlap == "queue"

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"args": {"a": 1}}, "args has no effect without every or cron"),
            ({"every": 5}, "every must be a timedelta"),
            ({"every": timedelta(hours=1), "args": [1]}, "args must be a mapping"),
            ({"every": timedelta(hours=1), "args": {1: 1}}, "args must be a mapping"),
            ({"every": timedelta(hours=1), "catch_up": True, "overlap": "skip"}, "Leave one"),
        ],
    )
    def test_is_refused_where_it_makes_no_sense(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(InvalidOption, match=words):
            planned(options, "task")

    def test_has_no_other_options(self) -> None:
        with pytest.raises(TypeError, match=r"task\(\) got an unexpected keyword .*'hourly'"):
            planned({"hourly": True}, "task")
