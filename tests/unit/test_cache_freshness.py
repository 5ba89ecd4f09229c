"""Whether a cached answer may be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from gearmanny.helpers.freshness import KEEP_STALE, Ages, Freshness

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("age", "worth"),
    [
        (timedelta(0), Freshness.HIT),
        (DAY - MILLISECOND, Freshness.HIT),
        (DAY, Freshness.HIT),
        (DAY + MILLISECOND, Freshness.STALE),
        (3 * DAY, Freshness.STALE),
        (3 * DAY + MILLISECOND, Freshness.OLD),
        (400 * DAY, Freshness.OLD),
        (-DAY, Freshness.HIT),  # stored by a machine whose clock is ahead
    ],
)
def test_an_answer_is_fresh_then_stale_then_old(age: timedelta, worth: Freshness) -> None:
    assert Ages(DAY, 2 * DAY).judge(NOW - age, NOW) is worth


def test_an_answer_is_not_served_stale_unless_that_is_wanted() -> None:
    assert Ages(DAY).judge(NOW - DAY - MILLISECOND, NOW) is Freshness.OLD


def test_without_an_entry_it_is_a_miss() -> None:
    assert Ages(DAY).judge(None, NOW) is Freshness.MISS


def test_the_time_zone_does_not_matter() -> None:
    added = (NOW - DAY).astimezone(timezone(timedelta(hours=9)))
    assert Ages(DAY).judge(added, NOW) is Freshness.HIT


def test_an_answer_that_is_not_served_at_once_is_kept_for_a_while() -> None:
    ages = Ages(DAY, 2 * DAY)
    assert ages.delete_at(NOW) == NOW + 3 * DAY + KEEP_STALE
    assert ages.judge(NOW, ages.delete_at(NOW)) is Freshness.OLD
