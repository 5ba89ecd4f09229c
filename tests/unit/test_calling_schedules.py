"""What clients add and change, on a real store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gearmanny.calling.schedules import Schedules
from gearmanny.errors import InvalidOption
from gearmanny.records.sql import SQLStore
from gearmanny.vocabulary.encoders import JSONDataEncoder, RawDataEncoder

HOURLY = timedelta(hours=1)


class Bytes(JSONDataEncoder):
    @classmethod
    def encode(cls, value: Any) -> bytes:
        return b"\xff"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    with contextlib.closing(SQLStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        yield store


@pytest.fixture
def schedules(store: SQLStore) -> Schedules:
    return Schedules(store, JSONDataEncoder)


def test_without_a_store_there_are_none() -> None:
    with pytest.raises(InvalidOption, match=r"this client has none\. Give it records="):
        Schedules(None, JSONDataEncoder)


def test_one_is_added_changed_and_removed(schedules: Schedules) -> None:
    schedules.add("hourly", "shop_report", every=HOURLY, args={"month": 3}, jitter=5)
    (found,) = schedules.all()
    assert (found.function, found.arguments) == ("shop_report", '{"month":3}')
    assert (found.every, found.jitter) == (3600.0, 5.0)
    schedules.change("hourly", cron="0 3 * * *", timezone="Asia/Tokyo")
    found = schedules.get("hourly")
    assert (found.every, found.cron, found.timezone) == (None, "0 3 * * *", "Asia/Tokyo")
    assert (found.arguments, found.jitter) == ('{"month":3}', 5.0)
    schedules.change("hourly", args={"month": 4}, max_late=60)
    found = schedules.get("hourly")
    assert (found.cron, found.arguments, found.max_late) == ("0 3 * * *", '{"month":4}', 60.0)
    schedules.change("hourly", every=HOURLY)
    found = schedules.get("hourly")
    assert (found.every, found.cron, found.timezone) == (3600.0, None, "UTC")
    schedules.remove("hourly")
    assert schedules.all() == []


def test_one_is_paused_resumed_and_run(schedules: Schedules, store: SQLStore) -> None:
    schedules.add("hourly", "shop_report", every=HOURLY)
    schedules.pause("hourly")
    assert schedules.get("hourly").paused
    schedules.resume("hourly")
    assert not schedules.get("hourly").paused
    assert store.look(schedules.run("hourly")) is not None


def test_what_makes_no_sense_is_refused(schedules: Schedules, store: SQLStore) -> None:
    with pytest.raises(InvalidOption, match="either every or cron"):
        schedules.add("hourly", "shop_report")
    with pytest.raises(TypeError, match=r"add\(\) got an unexpected keyword argument"):
        schedules.add("hourly", "shop_report", evry=HOURLY)  # type: ignore[call-arg]
    with pytest.raises(InvalidOption, match="Bytes does not encode arguments as text"):
        Schedules(store, Bytes).add("hourly", "shop_report", every=HOURLY)
    raw = Schedules(store, RawDataEncoder)
    with pytest.raises(InvalidOption, match="args has no effect"):
        raw.add("hourly", "shop_report", every=HOURLY, args={"a": 1})
    raw.add("hourly", "shop_report", every=HOURLY)
    assert raw.get("hourly").arguments == ""
