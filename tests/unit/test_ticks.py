"""The ticks of a schedule: in zones with half hours, midnights that do not exist, southern summers,
and at both ends of summer time."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from gearmanny.errors import InvalidOption
from gearmanny.schedules import ticks
from gearmanny.schedules.ticks import Cron, Every, Ticks, ticks_of

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def cron(expression: str, zone: str = "UTC") -> Cron:
    found = ticks_of(None, expression, zone)
    assert isinstance(found, Cron)
    return found


def local_ticks(expression: str, zone: str, first: str, last: str) -> list[str]:
    """The ticks after one local time and up to another, as the wall shows them there."""
    found = cron(expression, zone)
    moment, until = (
        datetime.fromisoformat(text).replace(tzinfo=found.zone).astimezone(UTC)
        for text in (first, last)
    )
    shown = []
    while (tick := found.after(moment)) is not None and tick <= until:
        assert found.last(moment, tick) == tick
        shown.append(tick.astimezone(found.zone).strftime("%d %H:%M%z"))
        moment = tick
    return shown


class TestEvery:
    def test_ticks_from_the_last_one_on(self) -> None:
        every = ticks_of(90.0, None, "")
        assert every == Every(90.0)
        assert every.after(START) == START + timedelta(seconds=90)
        assert every.last(START, START + timedelta(seconds=89)) is None
        assert every.last(START, START + timedelta(seconds=271)) == START + timedelta(seconds=270)

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [
            (1, "every second"),
            (1.5, "every 1.5 seconds"),
            (60, "every minute"),
            (300, "every 5 minutes"),
            (5400, "every 90 minutes"),
            (7200, "every 2 hours"),
            (86400, "every day"),
        ],
    )
    def test_says_so_in_words(self, seconds: float, words: str) -> None:
        assert ticks_of(seconds, None, "").words == words

    def test_does_not_drift_over_a_million_ticks(self) -> None:
        every = ticks_of(1.1, None, "")
        last = every.last(START, START + timedelta(seconds=1_100_000))
        assert last == START + timedelta(seconds=1_100_000)


class TestCron:
    def test_ticks_when_its_expression_says(self) -> None:
        assert local_ticks("0 3 * * mon-fri", "UTC", "2026-01-01 12:00", "2026-01-06 03:00") == [
            "02 03:00+0000",
            "05 03:00+0000",
            "06 03:00+0000",
        ]

    def test_days_of_the_month_and_the_week_are_either_or_both(self) -> None:
        """As in Debian's cron: both count where one of them is `*`, else one is enough."""
        either = local_ticks("0 0 13 * fri", "UTC", "2026-02-01 00:00", "2026-02-28 00:00")
        assert [tick[:2] for tick in either] == ["06", "13", "20", "27"]
        both = local_ticks("0 0 */13 * fri", "UTC", "2026-02-01 00:00", "2026-03-31 00:00")
        assert [tick[:2] for tick in both] == ["27", "27"]

    def test_speaks(self) -> None:
        words = cron("0 3 * * mon-fri", "Europe/Berlin").words
        assert words == "at 03:00 on Monday through Friday, Europe/Berlin time"

    def test_a_time_that_the_clock_skips_comes_when_it_has_been_put_forward(self) -> None:
        assert local_ticks("30 2 * * *", "Europe/Berlin", "2026-03-28 00:00", "2026-03-30 12") == [
            "28 02:30+0100",
            "29 03:00+0200",
            "30 02:30+0200",
        ]  # fmt: skip

    def test_two_times_that_become_one_are_one_tick(self) -> None:
        found = local_ticks("0 2,3 * * *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 12:00")
        assert found == ["29 03:00+0200"]

    def test_a_time_that_comes_twice_is_one_tick(self) -> None:
        found = local_ticks("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", "2026-10-26 12:00")
        assert found == ["25 02:30+0200", "26 02:30+0100"]
        second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10, for the second time
        after = cron("30 2 * * *", "Europe/Berlin").after(second)
        assert after == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)

    def test_every_so_often_means_time_that_goes_by(self) -> None:
        for day, hours in (("2026-03-29", 23), ("2026-10-25", 25)):
            found = local_ticks("0 * * * *", "Europe/Berlin", f"{day} 00:00", f"{day} 23:00")
            assert len(found) == hours - 1
        often = local_ticks("*/30 * * * *", "Europe/Berlin", "2026-10-25 01:30", "2026-10-25 03:00")
        assert [tick[3:] for tick in often] == [
            *("02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100", "03:00+0100"),
        ]
        none = local_ticks("*/30 2 * * *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 12:00")
        assert none == []

    def test_in_zones_with_half_hours(self) -> None:
        for zone, offset in (("Asia/Kolkata", "+0530"), ("Asia/Kathmandu", "+0545")):
            found = local_ticks("0 9 * * *", zone, "2026-06-01 00:00", "2026-06-01 23:00")
            assert found == [f"01 09:00{offset}"]

    def test_where_the_clock_is_put_forward_by_half_an_hour(self) -> None:
        zone = "Australia/Lord_Howe"
        forward = local_ticks("15 2 * * *", zone, "2026-10-04 00:00", "2026-10-04 12:00")
        assert forward == ["04 02:30+1100"]
        back = local_ticks("45 1 * * *", zone, "2026-04-05 00:00", "2026-04-05 12:00")
        assert back == ["05 01:45+1100"]
        often = local_ticks("*/15 * * * *", zone, "2026-04-05 01:30", "2026-04-05 02:00")
        assert [tick[3:8] for tick in often] == ["01:45", "01:30", "01:45", "02:00"]

    def test_where_summer_begins_in_october(self) -> None:
        zone = "Australia/Sydney"
        forward = local_ticks("30 2 * * *", zone, "2026-10-03 12:00", "2026-10-05 12:00")
        assert forward == ["04 03:00+1100", "05 02:30+1100"]
        back = local_ticks("30 2 * * *", zone, "2026-04-04 12:00", "2026-04-06 12:00")
        assert back == ["05 02:30+1100", "06 02:30+1000"]

    @pytest.mark.parametrize(
        ("zone", "day", "offset"),
        [
            ("America/Santiago", "2026-09-06", "-0300"),
            ("Asia/Beirut", "2026-03-29", "+0300"),
            ("Africa/Cairo", "2026-04-24", "+0300"),
        ],
    )
    def test_where_midnight_does_not_exist(self, zone: str, day: str, offset: str) -> None:
        number = day[-2:]
        first, last = f"{day} 01:00", f"{day} 02:00"
        before = (datetime.fromisoformat(day) - timedelta(hours=12)).isoformat(" ")
        assert local_ticks("0 0 * * *", zone, before, last) == [f"{number} 01:00{offset}"]
        named = f"*/20 1 {int(number)} * *"  # the hour that follows on the one that is skipped
        assert local_ticks(named, zone, before, last) == [
            f"{number} {minute}{offset}" for minute in ("01:00", "01:20", "01:40")
        ]
        assert local_ticks("*/30 * * * *", zone, first, last)[-1] == f"{number} 02:00{offset}"

    def test_where_midnight_comes_twice(self) -> None:
        """Clocks go back from 24:00 to 23:00: that hour is on the day before."""
        zone = "America/Santiago"
        found = local_ticks("30 23 * * *", zone, "2026-04-04 12:00", "2026-04-05 12:00")
        assert found == ["04 23:30-0300"]
        often = local_ticks("0 * * * *", zone, "2026-04-04 22:00", "2026-04-05 00:00")
        assert [tick[:8] for tick in often] == ["04 23:00", "04 23:00", "05 00:00"]

    def test_where_a_day_does_not_exist(self) -> None:
        found = local_ticks("0 3 * * *", "Pacific/Apia", "2011-12-28 12:00", "2011-12-31 12:00")
        assert found == ["29 03:00-1000", "31 00:00+1400", "31 03:00+1400"]

    def test_on_days_that_are_decades_apart(self) -> None:
        found = cron("0 0 29 2 */7")  # a Sunday
        assert found.after(START) == datetime(2032, 2, 29, tzinfo=UTC)
        first = datetime(2004, 2, 29, tzinfo=UTC)
        assert found.after(first) == datetime(2032, 2, 29, tzinfo=UTC)
        assert found.last(first, START) is None

    def test_the_calendar_ends(self) -> None:
        end = datetime(9999, 12, 30, 23, 30, tzinfo=UTC)
        assert cron("0 0 1 1 *").after(end) is None

    def test_a_last_tick_before_the_time_that_is_asked_for_does_not_count(self) -> None:
        found = cron("0 3 * * *")
        assert found.last(START, START + timedelta(hours=5)) is None
        assert cron("0 3 1 7 *").last(START, START + timedelta(days=90)) is None
        assert found.last(START - timedelta(days=400), START) == START.replace(hour=3)


ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"]
)
EXPRESSIONS = st.sampled_from(
    [
        *("0 3 * * *", "30 2 * * mon-fri", "*/7 * * * *", "15 1-5 * * *", "0 0 1,15 * *"),
        *("59 23 L * *", "0 12 * * sun#2", "5 */3 * * *", "0 2,3 * * *", "30 1 29 2 *"),
    ]
)


@given(ZONES, EXPRESSIONS, st.integers(1_500_000_000, 1_900_000_000))
def test_ticks_are_those_of_cronsim(zone: str, expression: str, seconds: int) -> None:
    """But not in times that come twice, where cronsim goes back, and says a tick again."""
    start = datetime.fromtimestamp(seconds, UTC)
    found = cron(expression, zone)
    expected: list[datetime] = []
    for tick in CronSim(expression, start.astimezone(ZoneInfo(zone))):
        moment = tick.astimezone(UTC)
        if moment > max([start, *expected]):
            expected.append(moment)
        if len(expected) == 5:
            break
    moment, mine = start, []
    for _ in expected:
        following = found.after(moment)
        assert following is not None
        moment = following
        mine.append(moment)
    assert mine == expected
    assert found.last(start, expected[-1]) == expected[-1]
    for earlier, later in pairwise(expected):
        assert found.last(earlier, later - timedelta(seconds=1)) is None


@pytest.mark.parametrize(
    ("every", "expression", "zone", "words"),
    [
        (None, None, "UTC", "either every or cron"),
        (5.0, "0 3 * * *", "UTC", "either every or cron"),
        (0.5, None, "UTC", "every must be a timedelta of a second or more"),
        (float("inf"), None, "UTC", "every must be"),
        (3.2e9, None, "UTC", "up to a hundred years"),
        (None, f"{'9' * 5000} * * * *", "UTC", "cron must be five fields"),
        (None, 5, "UTC", "cron must be an expression in text"),
        (None, "a * * * *", "UTC", "cron must be five fields, .* Bad minute"),
        (None, "0 * * * * *", "UTC", "there are not five of them"),
        (None, "0 0 30 feb *", "UTC", "Bad day-of-month"),
        (None, "0 3 * * *", "Europe/Berlim", "timezone must be the name of a time zone"),
        (None, "0 3 * * *", "../etc", "timezone must be the name of a time zone"),
        (None, "0 3 * * *", None, "timezone must be the name of a time zone"),
    ],
)
def test_what_cannot_tick_is_refused(every: Any, expression: Any, zone: Any, words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        ticks_of(every, expression, zone)


def test_days_that_there_are_not_are_refused() -> None:
    """The fifth Friday cannot be the first day of a month."""
    assert Cron("0 0 */40 * fri#5", ZoneInfo("UTC")).last(START - timedelta(40_000), START) is None
    with pytest.raises(InvalidOption, match="no day that the cron expression"):
        ticks_of(None, "0 0 */40 * fri#5", "UTC")


def test_without_cronsim_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks._parsed.cache_clear()
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(InvalidOption, match=r"Install gearmanny\[schedules\]"):
        ticks_of(None, "0 3 * * *", "UTC")
    found: Ticks = ticks_of(60.0, None, "UTC")
    assert found.words == "every minute"
