"""The cache on a server that speaks MongoDB's wire protocol."""

from __future__ import annotations

import base64
import logging
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pymongo
import pytest
from pymongo.collection import Collection

from gearmanny.client import SimpleClient
from gearmanny.errors import EncodingError, InvalidOption
from gearmanny.helpers.blocking import Threads
from gearmanny.helpers.cache_mongodb import MongoCache, cacheBuilder
from gearmanny.helpers.steps import Ask, Nothing
from gearmanny.testing import running
from gearmanny.worker import BaseWorker
from tests.support.servers import Server


@pytest.fixture
def collection(mongodb_uri: str, unique_name: str) -> Iterator[Collection[dict[str, Any]]]:
    with pymongo.MongoClient(mongodb_uri, tz_aware=True) as client:
        yield client["cachetests"][unique_name]


@pytest.fixture
def build(mongodb_uri: str, unique_name: str) -> Callable[..., Any]:
    def build(**options: Any) -> Any:
        options = {"host": mongodb_uri, **options}
        return cacheBuilder(dbname="cachetests", collection=unique_name, **options)

    return build


SUM = object()


class Counter:
    """A costly task: it counts how often it ran, and returns what it is told to."""

    def __init__(self, answer: Any = SUM) -> None:
        self.runs = 0
        self.answer = answer

    def __call__(self, a: Any, b: Any = 2, *, c: Any = None) -> Any:
        self.runs += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"sum": [a, b, c]} if self.answer is SUM else self.answer


def cached(cachewrap: Any, counter: Counter, name: str = "costly", **options: Any) -> Any:
    @cachewrap(name, **options)
    def costly(a: Any, b: Any = 2, *, c: Any = None) -> Any:
        return counter(a, b, c=c)

    return costly


def make_old(collection: Collection[dict[str, Any]], days: float) -> None:
    collection.update_many({}, {"$set": {"added": datetime.now(UTC) - timedelta(days=days)}})


def test_the_same_arguments_are_answered_from_the_cache_however_they_are_given(
    build: Callable[..., Any],
) -> None:
    counter = Counter()
    costly = cached(build(), counter)
    answers = [costly(1, 2), costly(1), costly(a=1), costly(b=2, a=1), costly(1, b=2, c=None)]
    assert answers == [{"sum": [1, 2, None]}] * 5
    assert counter.runs == 1
    assert costly(1, 3) == {"sum": [1, 3, None]}
    assert counter.runs == 2


def test_another_process_or_object_finds_the_entry(build: Callable[..., Any]) -> None:
    first, second, other = Counter(), Counter(), Counter()
    cached(build(), first)(1)
    cached(build(), second)(1)
    cached(build(), other, name="other")(1)
    assert (first.runs, second.runs, other.runs) == (1, 0, 1)


@pytest.mark.usefixtures("caches_on")
def test_a_task_method_is_cached_over_all_objects_of_its_class(
    build: Callable[..., Any],
    gearman_server: Server,
    gearman_client: SimpleClient,
) -> None:
    cachewrap = build()

    class Worker(BaseWorker):
        name = "cached"

        @cachewrap("square", max_days_age=1)
        def task_square(self, n: int) -> dict[str, int]:
            "Squares N"
            return {"pid": os.getpid(), "square": n * n, "object": id(self)}

    one, two = Worker([gearman_server.host]), Worker([gearman_server.host])
    assert one.task_square(3) == two.task_square(n=3)
    with running(one):
        assert gearman_client.cached_square(n=3) == two.task_square(3)
        described = gearman_client.cached_help()["cached_square"]
    assert described["description"] == "Squares N"
    assert list(described["input"]) == ["n"]


@pytest.mark.parametrize(
    "value",
    [
        {"nested": {"list": [1, 2.5, None, True, "té\0xt"]}, "": "empty key"},
        {"$set": {"a.b": 1}, "_id": 7, "key": "mine"},
        [1, [2, [3]]],
        "text",
        2**40,
        -(2**63),
        1.0,
        {"z": 1, "a": 2, "m": 3},
    ],
    ids=str,
)
def test_values_come_back_exactly(build: Callable[..., Any], value: Any) -> None:
    counter = Counter(value)
    costly = cached(build(), counter)
    for answer in (costly(1), costly(1)):
        assert answer == value
        assert type(answer) is type(value)
        assert repr(answer) == repr(value)
    assert counter.runs == 1


def test_a_computed_value_has_the_form_of_a_cached_one(build: Callable[..., Any]) -> None:
    costly = cached(build(), Counter({"pair": (1, 2), 5: "five"}))
    assert costly(1) == costly(1) == {"pair": [1, 2], "5": "five"}


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    "value",
    [
        *(2**63, 2**70, -(2**100), {"nul\0key": 1}, "\ud800 alone", {"\udfff": 1}),
        {"$ref": "costly", "$id": 1, "$db": "x"},
        deep(150),
        "x" * 17_000_000,
        [2**40] * 1_500_000,
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_what_bson_cannot_hold_is_stored_all_the_same(
    build: Callable[..., Any], value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    counter = Counter(value)
    costly = cached(build(timeout=20), counter)
    for answer in (costly(1), costly(1)):
        assert answer == value
        assert type(answer) is type(value)
    assert counter.runs == 1
    assert not caplog.records


def test_arguments_that_bson_cannot_hold_are_told_apart(build: Callable[..., Any]) -> None:
    counter = Counter()
    costly = cached(build(), counter)
    values = [2**70, 2**70 + 1, {"$ref": "a", "$id": 1}, {"$ref": "a", "$id": 2}, "\ud800"]
    for _ in range(2):
        assert [costly(value)["sum"][0] for value in values] == values
    assert counter.runs == len(values)


def test_what_is_too_large_is_returned_and_said_once_for_each_function(
    build: Callable[..., Any],
    collection: Collection[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    noise = base64.b64encode(random.Random(1).randbytes(13_000_000)).decode() * 2
    cachewrap = build(timeout=20)
    counter = Counter(noise)
    costly, other = cached(cachewrap, counter), cached(cachewrap, Counter(noise), name="other")
    assert costly(1) == costly(1) == costly(2) == noise
    assert counter.runs == 3
    assert [record.action for record in caplog.records] == ["cache_unstorable"]
    other(1)
    assert [record.action for record in caplog.records] == ["cache_unstorable"] * 2
    assert not list(collection.find({"added": {"$exists": True}}))


@pytest.mark.parametrize(
    "damage",
    [
        {"$unset": {"data": ""}},
        {"$unset": {"added": ""}},
        {"$set": {"added": "yesterday"}},
        {"$set": {"json": b"{", "data": None}},
        {"$set": {"json": "text"}},
        {"$set": {"json": b"[1]", "zlib": True}},
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_read_is_a_miss(
    build: Callable[..., Any], collection: Collection[dict[str, Any]], damage: dict[str, Any]
) -> None:
    counter = Counter()
    costly = cached(build(), counter)
    costly(1)
    collection.update_one({}, damage)
    assert costly(1) == costly(1) == {"sum": [1, 2, None]}
    assert counter.runs == 2


def test_an_entry_that_is_not_even_bson_is_a_miss(mongodb_uri: str, unique_name: str) -> None:
    cache = MongoCache(host=mongodb_uri, dbname="cachetests", collection=unique_name)
    damaged = bson.encode({"text": "#####"}).replace(b"#####", b"\xff" * 5)
    threads = Threads(cache.storage, str, lambda: None)
    assert threads.take(Ask(lambda _: bson.decode(damaged))) is Nothing.USELESS


def test_values_that_are_not_json_are_told(build: Callable[..., Any]) -> None:
    with pytest.raises(EncodingError, match="'costly' cannot be cached: it is not JSON"):
        cached(build(), Counter({1, 2}))(1)
    with pytest.raises(EncodingError, match="an argument is not JSON"):
        cached(build(), Counter())(object())


def test_an_old_entry_is_computed_again_and_replaced(
    build: Callable[..., Any], collection: Collection[dict[str, Any]]
) -> None:
    counter = Counter("first")
    costly = cached(build(), counter, max_days_age=0.5)
    costly(1)
    make_old(collection, days=0.6)
    counter.answer = "second"

    assert (costly(1), costly(1)) == ("second", "second")
    assert counter.runs == 2
    assert collection.count_documents({}) == 1


def test_the_old_value_is_served_when_there_is_no_new_one(
    build: Callable[..., Any], collection: Collection[dict[str, Any]]
) -> None:
    counter = Counter("good")
    costly = cached(build(), counter)
    costly(1)
    make_old(collection, days=2)
    for nothing in FALSY:
        counter.answer = nothing
        assert costly(1) == "good"
    assert counter.runs == 1 + len(FALSY)


FALSY = [0, 0.0, False, "", [], {}, None]


@pytest.mark.parametrize("nothing", FALSY, ids=repr)
def test_nothing_is_an_answer_like_any_other(build: Callable[..., Any], nothing: Any) -> None:
    counter = Counter(nothing)
    costly = cached(build(), counter)
    answers = [costly(1), costly(1)]
    assert counter.runs == 1
    assert [repr(answer) for answer in answers] == [repr(nothing)] * 2


def test_nothing_replaces_an_old_nothing(
    build: Callable[..., Any], collection: Collection[dict[str, Any]]
) -> None:
    counter = Counter([])
    costly = cached(build(), counter)
    costly(1)
    make_old(collection, days=2)
    counter.answer = ""
    assert (costly(1), costly(1), counter.runs) == ("", "", 2)


def test_what_the_washer_makes_nothing_of_is_nothing(
    build: Callable[..., Any], collection: Collection[dict[str, Any]]
) -> None:
    counter = Counter("good")
    costly = cached(build(returnvalue_washer=lambda value: value.strip()), counter)
    costly(1)
    make_old(collection, days=2)
    counter.answer = "   "
    assert costly(1) == "good"


def test_the_old_value_is_served_when_computing_fails(
    build: Callable[..., Any],
    collection: Collection[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    counter = Counter("good")
    costly = cached(build(), counter)
    costly(1)
    counter.answer = ValueError("the database is away")
    with pytest.raises(ValueError, match="away"):
        costly(2)
    make_old(collection, days=2)
    assert costly(1) == "good"
    (record,) = caplog.records
    assert record.action == "cache_refresh_failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is counter.answer
    assert costly.cache_info().fallbacks == 1


def test_a_failure_lets_the_next_call_compute(build: Callable[..., Any]) -> None:
    counter = Counter(ValueError("no"))
    costly = cached(build(lease=30), counter)
    with pytest.raises(ValueError, match="no"):
        costly(1)
    counter.answer = "yes"
    assert costly(1) == "yes"


def test_the_washer_cleans_what_is_stored_and_returned(
    build: Callable[..., Any], collection: Collection[dict[str, Any]]
) -> None:
    cachewrap = build(returnvalue_washer=lambda value: {k: v for k, v in value.items() if v})
    costly = cached(cachewrap, Counter({"keep": 1, "drop": None}))
    assert costly(1) == costly(1) == {"keep": 1}
    entry = collection.find_one()
    assert entry is not None
    assert entry["data"] == {"keep": 1}


def test_an_entry_has_its_documented_fields(
    build: Callable[..., Any], collection: Collection[dict[str, Any]]
) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    cached(build(), Counter([1]), max_days_age=2)(1, c={"x": 1})

    entry = collection.find_one()
    assert entry is not None
    assert set(entry) == {
        *("_id", "key", "type", "query", "data", "added", "purge_at", "delete_at")
    }
    assert (entry["type"], entry["data"]) == ("costly", [1])
    assert entry["query"] == {"kwargs": {"a": 1, "b": 2, "c": {"x": 1}}}
    assert before <= entry["added"] <= datetime.now(UTC)
    assert entry["delete_at"] == entry["added"] + timedelta(days=32)
    indexes = collection.index_information()
    assert indexes["key_1"]["unique"]
    assert indexes["delete_at_1"]["expireAfterSeconds"] == 0


def test_entries_of_other_programs_do_no_harm(
    build: Callable[..., Any], collection: Collection[dict[str, Any]]
) -> None:
    collection.insert_many([{"type": "costly", "data": 1}, {"type": "costly", "data": 2}])
    counter = Counter()
    costly = cached(build(), counter)
    assert costly(1) == costly(1)
    assert counter.runs == 1


def test_threads_that_compute_the_same_at_once_do_not_collide(build: Callable[..., Any]) -> None:
    costly = cached(build(), Counter("same"))
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: costly(1), range(32))) == {"same"}


def test_debug_logs_hits_misses_and_writes(
    build: Callable[..., Any],
    collection: Collection[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    counter = Counter("secret answer")
    costly = cached(build(DEBUG=1), counter)
    costly("secret argument")
    costly("secret argument")
    make_old(collection, days=2)
    counter.answer = ""
    costly("secret argument")
    records = [record for record in caplog.records if record.name == "gearmanny.cache"]
    assert [record.action for record in records] == [
        *("cache_miss", "cache_write", "cache_hit", "cache_stale", "cache_served_stale")
    ]
    assert all(record.levelno == logging.INFO for record in records)
    assert "secret" not in caplog.text


@pytest.mark.parametrize("name", ["", "  ", None, 5, print])
def test_a_unique_name_must_be_a_name(build: Callable[..., Any], name: Any) -> None:
    with pytest.raises(InvalidOption, match="unique_name is the name"):
        build()(name)


@pytest.mark.parametrize("age", [0, -1, "1", None, True, float("nan"), float("inf")])
def test_an_age_must_be_a_number_of_days(build: Callable[..., Any], age: Any) -> None:
    with pytest.raises(InvalidOption, match="max_days_age must be a number of days"):
        build()("name", max_days_age=age)
