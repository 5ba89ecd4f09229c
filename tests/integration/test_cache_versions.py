"""A collection that programs of the first version of gearmanny, and of an earlier one, share."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pymongo.errors
import pytest
from pymongo.collection import Collection

from gearmanny.helpers.cache_mongodb import cacheBuilder
from tests.support.servers import until

Entries = Collection[dict[str, Any]]

DAY = timedelta(days=1)
MINUTE = 1 / (24 * 60)
"""In days."""


@pytest.fixture
def entries(mongodb_uri: str, unique_name: str) -> Iterator[Entries]:
    """The collection, as the first version sees it: with times without a time zone."""
    with pymongo.MongoClient(mongodb_uri) as client:
        yield client["cachetests"][unique_name]


@pytest.fixture
def build(mongodb_uri: str, unique_name: str) -> Callable[[], Any]:
    return lambda: cacheBuilder(host=mongodb_uri, dbname="cachetests", collection=unique_name)


@pytest.fixture(params=["<-14>-14", "UTC0", "<+12>+12", "CET-1CEST,M3.5.0,M10.5.0/3"])
def time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Lets the clock of this host be that of another time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def store_as_first_version(entries: Entries, kwargs: dict[str, Any], data: Any, days: float) -> Any:
    now = datetime.now()
    entry = {
        "type": "costly",
        "data": data,
        "query": {"kwargs": kwargs},
        "added": now,
        "purge_at": now + timedelta(days=days),
    }
    return entries.insert_one(entry).inserted_id


def read_as_first_version(entries: Entries, kwargs: dict[str, Any]) -> Any:
    """Returns what the first version takes for a fresh answer; None without one."""
    found = entries.find_one({"type": "costly", "query.kwargs": kwargs})
    if found and found["purge_at"] > datetime.now():
        return found["data"]
    return None


def store_as_earlier_version(entries: Entries, number: int, added: datetime) -> datetime:
    """Returns when the entry is to be deleted."""
    purge_at = (added + DAY + 30 * DAY).replace(microsecond=0)
    entries.insert_one(
        {
            "key": f"{number:064x}",
            "type": "costly",
            "query": {"kwargs": {"a": number}},
            "data": number,
            "added": added,
            "purge_at": purge_at,
        }
    )
    return purge_at


def call(build: Callable[[], Any], a: Any, days: float = 1) -> Any:
    @build()("costly", max_days_age=days)
    def costly(a: Any) -> Any:
        return {"computed": a}

    return costly(a=a)


def delete_what_is_due(entries: Entries) -> None:
    """Lets the TTL monitor of the server do its round now."""
    due = entries.insert_one({"delete_at": datetime.now(UTC) - DAY}).inserted_id
    with contextlib.suppress(pymongo.errors.OperationFailure):
        entries.database.client.admin.command("setParameter", 1, ttlMonitorSleepSecs=1)

    def is_gone() -> bool:
        with contextlib.suppress(pymongo.errors.OperationFailure):
            entries.database.client.admin.command("secantusAdmin.pruneTtl")
        return entries.find_one({"_id": due}) is None

    until(is_gone, "the TTL monitor deleting what is due")


def make_obsolete_index(entries: Entries) -> None:
    entries.create_index("purge_at", expireAfterSeconds=0)


def test_entries_of_the_first_version_survive_ours_are_deleted_when_due(
    build: Callable[[], Any], entries: Entries
) -> None:
    make_obsolete_index(entries)
    first = store_as_first_version(entries, {"a": 1}, "kept for later", days=-100)
    call(build, 2)
    entries.update_many({"query.kwargs.a": 2}, {"$set": {"delete_at": datetime.now(UTC) - DAY}})
    call(build, 3)
    delete_what_is_due(entries)
    assert entries.find_one({"_id": first}) is not None
    assert {entry["query"]["kwargs"]["a"] for entry in entries.find()} == {1, 3}


def test_the_obsolete_index_is_dropped_and_no_other(
    build: Callable[[], Any], entries: Entries
) -> None:
    make_obsolete_index(entries)
    entries.create_index([("type", 1), ("query.kwargs", 1)])
    entries.create_index("kept")
    call(build, 1)
    names = set(entries.index_information())
    assert names == {"_id_", "key_1", "delete_at_1", "type_1_query.kwargs_1", "kept_1"}


@pytest.mark.parametrize("options", [{}, {"expireAfterSeconds": 86_400}], ids=str)
def test_an_index_of_somebody_else_on_purge_at_stays(
    build: Callable[[], Any], entries: Entries, options: dict[str, Any]
) -> None:
    entries.create_index("purge_at", **options)
    call(build, 1)
    assert "purge_at_1" in entries.index_information()


def test_the_first_version_reads_our_entries_and_judges_them_right(
    build: Callable[[], Any], entries: Entries, time_zone: str
) -> None:
    call(build, 1, days=MINUTE)
    assert read_as_first_version(entries, {"a": 1}) == {"computed": 1}
    call(build, 2, days=MINUTE / 600)
    until(lambda: read_as_first_version(entries, {"a": 2}) is None, "the entry being stale")
    assert entries.count_documents({"query.kwargs.a": 2}) == 1


def test_entries_of_the_first_version_are_hit_while_they_are_fresh(
    build: Callable[..., Any], entries: Entries, time_zone: str
) -> None:
    for _ in range(2):
        store_as_first_version(entries, {"a": 1}, {"theirs": [1]}, days=MINUTE / 30)
    assert call(build, 1) == call(build, 1) == {"theirs": [1]}
    until(
        lambda: entries.find_one({"purge_at": {"$gt": datetime.now()}}) is None,
        "both entries being stale",
    )
    assert read_as_first_version(entries, {"a": 1}) is None
    assert call(build, 1) == call(build, 1) == {"computed": 1}
    assert entries.count_documents({"data": {"theirs": [1]}}) == 2


def test_an_entry_of_the_first_version_is_never_older_than_the_function_allows(
    build: Callable[..., Any], entries: Entries
) -> None:
    stored = store_as_first_version(entries, {"a": 1}, "theirs", days=100)
    entries.update_one({"_id": stored}, {"$set": {"added": datetime.now() - 2 * DAY}})
    assert call(build, 1, days=3) == "theirs"
    assert call(build, 1, days=1) == {"computed": 1}


def test_a_stale_entry_of_the_first_version_is_the_fallback(
    build: Callable[..., Any], entries: Entries, caplog: pytest.LogCaptureFixture
) -> None:
    store_as_first_version(entries, {"a": 1}, "theirs", days=-100)
    for failing in (lambda a: [], lambda a: 1 / 0):
        assert build()("costly")(failing)(a=1) == "theirs"
    assert entries.count_documents({"added": {"$exists": True}}) == 1


@pytest.mark.parametrize(
    ("stored", "other"),
    [(1, 1.0), (1, True), (1, "1"), ([1], [True]), ({"x": 1}, {"x": 1.0})],
    ids=repr,
)
def test_entries_of_the_first_version_are_told_apart_exactly(
    build: Callable[..., Any], entries: Entries, stored: Any, other: Any
) -> None:
    store_as_first_version(entries, {"a": stored}, "theirs", days=1)
    assert call(build, other) == {"computed": other}
    assert call(build, stored) == "theirs"


@pytest.mark.parametrize(
    "kwargs", [{"a": 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 2, "c": 3}], ids=str
)
def test_entries_of_the_first_version_are_found_however_they_were_given(
    build: Callable[..., Any], entries: Entries, kwargs: dict[str, Any]
) -> None:
    @build()("costly")
    def costly(a: int, b: int = 2, c: int = 3) -> str:
        return "ours"

    store_as_first_version(entries, kwargs, "theirs", days=1)
    assert costly(**kwargs) == "theirs"
    assert costly(*sorted(kwargs.values())) == "theirs"
    assert costly(9) == "ours"


def test_a_function_with_a_key_or_a_version_shares_nothing_with_the_first_version(
    build: Callable[..., Any], entries: Entries
) -> None:
    store_as_first_version(entries, {"a": 1}, "theirs", days=1)
    for options in ({"version": 2}, {"key": lambda a: a}):
        costly = build()("costly", **options)(lambda a: "ours")
        assert costly(a=1) == costly(a=1) == "ours"
    assert [each["data"] for each in entries.find({"query": {"$exists": True}})] == ["theirs"]


def test_the_first_version_is_not_given_what_it_cannot_read(
    build: Callable[..., Any], entries: Entries
) -> None:
    for value in (2**70, {"$ref": 1}):
        assert build()("costly")(lambda a, value=value: value)(a=str(value)) == value
        assert read_as_first_version(entries, {"a": str(value)}) is None
    assert entries.count_documents({"query": {"$exists": True}}) == 0


@pytest.mark.parametrize(
    "damage",
    [{"data": datetime(2026, 1, 1)}, {"purge_at": None}, {"added": "x"}, {"query": {"kwargs": 1}}],
    ids=str,
)
def test_an_entry_of_the_first_version_that_cannot_be_read_is_a_miss(
    build: Callable[..., Any], entries: Entries, damage: dict[str, Any]
) -> None:
    stored = store_as_first_version(entries, {"a": 1}, "theirs", days=1)
    entries.update_one({"_id": stored}, {"$set": damage})
    assert call(build, 1) == call(build, 1) == {"computed": 1}


def test_lookups_are_served_by_indexes(build: Callable[..., Any], entries: Entries) -> None:
    call(build, 1)
    names = {tuple(index["key"]) for index in entries.index_information().values()}
    assert names >= {(("key", 1),), (("type", 1), ("query.kwargs", 1)), (("delete_at", 1),)}


def test_entries_of_an_earlier_version_are_carried_over(
    build: Callable[[], Any], entries: Entries, time_zone: str
) -> None:
    make_obsolete_index(entries)
    now = datetime.now(UTC)
    deleted_at = [store_as_earlier_version(entries, n, now - n * 2 * DAY) for n in range(2)]
    call(build, "another")
    until(lambda: not entries.count_documents({"delete_at": {"$exists": False}}))
    fresh, stale = (entries.find_one({"query.kwargs.a": n}) or {} for n in range(2))
    assert [fresh["delete_at"], stale["delete_at"]] == [
        at.replace(tzinfo=None) for at in deleted_at
    ]
    assert read_as_first_version(entries, {"a": 0}) == 0
    assert read_as_first_version(entries, {"a": 1}) is None


def test_processes_that_carry_over_at_the_same_time_do_it_once(
    build: Callable[[], Any], entries: Entries
) -> None:
    make_obsolete_index(entries)
    foreign = entries.insert_one({"key": "not ours", "purge_at": datetime(2020, 1, 1)}).inserted_id
    added = datetime.now(UTC).replace(microsecond=0)
    for number in range(600):
        store_as_earlier_version(entries, number, added)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: call(build, f"{number}"), range(4)))
    until(lambda: entries.count_documents({"delete_at": {"$exists": False}}) == 1)
    until(lambda: not _carrying_over(entries), "the threads having ended")
    found = list(entries.find({"key": {"$regex": "^0{50}"}}))
    assert len(found) == 600
    assert {entry["delete_at"] - entry["added"] for entry in found} == {31 * DAY}
    (fresh_until,) = {entry["purge_at"] for entry in found}
    assert fresh_until == (added + DAY).astimezone().replace(tzinfo=None)
    assert "delete_at" not in (entries.find_one({"_id": foreign}) or {})
    assert "purge_at_1" not in entries.index_information()


def _carrying_over(entries: Entries) -> bool:
    # Those of other tests may wait for a server that is no more.
    return any(thread.name == f"gearmanny cache {entries.name}" for thread in threading.enumerate())


def test_an_index_that_the_server_refuses_is_told_and_the_cache_works(
    build: Callable[[], Any], entries: Entries, caplog: pytest.LogCaptureFixture
) -> None:
    make_obsolete_index(entries)
    entries.create_index("delete_at")
    entries.insert_many([{"key": "same"}, {"key": "same"}])
    assert call(build, 1) == call(build, 1) == {"computed": 1}
    assert entries.count_documents({"query.kwargs.a": 1}) == 1
    assert {record.action for record in caplog.records} == {"cache_index"}
    assert "purge_at_1" not in entries.index_information()
