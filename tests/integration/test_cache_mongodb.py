"""The cache on a server that speaks MongoDB's wire protocol."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
from pymongo.collection import Collection

from gearmanny.client import SimpleClient
from gearmanny.errors import EncodingError, InvalidOption
from gearmanny.helpers.cache_mongodb import MongoCache, cacheBuilder, cached_by
from gearmanny.testing import running
from gearmanny.worker import BaseWorker
from tests.support.servers import Server, free_port, mongodb


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


class Counter:
    """A costly task: it counts how often it ran, and returns what it is told to."""

    def __init__(self, answer: Any = None) -> None:
        self.runs = 0
        self.answer = answer

    def __call__(self, a: Any, b: Any = 2, *, c: Any = None) -> Any:
        self.runs += 1
        return self.answer if self.answer is not None else {"sum": [a, b, c]}


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


@pytest.mark.parametrize(
    "value", [2**70, {"nul\0key": 1}, "x" * 17_000_000], ids=["int", "nul", "size"]
)
def test_what_no_document_can_hold_is_computed_each_time(
    build: Callable[..., Any], value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    counter = Counter(value)
    costly = cached(build(), counter)
    assert costly(1) == costly(1) == value
    assert counter.runs == 2
    assert {record.action for record in caplog.records} == {"cache_unstorable"}


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
    for nothing in ([], "", 0, {}):
        counter.answer = nothing
        assert costly(1) == "good"
    assert counter.runs == 5


def test_nothing_is_not_kept_as_an_answer(build: Callable[..., Any]) -> None:
    counter = Counter([])
    costly = cached(build(), counter)
    assert (costly(1), costly(1), counter.runs) == ([], [], 2)


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


class TestWithoutMongoDB:
    def away(self, host: str, caplog: pytest.LogCaptureFixture) -> None:
        counter = Counter()
        cachewrap = cacheBuilder(host=host)
        costly = cached(cachewrap, counter)
        started = time.monotonic()
        assert costly(1) == {"sum": [1, 2, None]}
        first = time.monotonic() - started
        started = time.monotonic()
        for number in range(50):
            costly(number)
        assert counter.runs == 51
        # Bounds of the promise, far from what is measured: 0.9 s, then next to nothing.
        assert first < 2
        assert time.monotonic() - started < 2
        assert [record.action for record in caplog.records] == ["cache_away"]

    def test_tasks_run_uncached_when_nobody_listens(self, caplog: pytest.LogCaptureFixture) -> None:
        self.away(f"mongodb://127.0.0.1:{free_port()}/", caplog)

    def test_tasks_run_uncached_when_nobody_answers(self, caplog: pytest.LogCaptureFixture) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            self.away("mongodb://127.0.0.1:%d/" % silent.getsockname()[1], caplog)

    def test_tasks_run_uncached_when_it_goes_away_later(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        counter = Counter()
        with mongodb(own=True) as uri:
            costly = cached(cacheBuilder(host=uri), counter)
            costly(1)
            costly(1)
            assert counter.runs == 1
        assert costly(1) == costly(1) == {"sum": [1, 2, None]}
        assert counter.runs == 3
        assert [record.action for record in caplog.records] == ["cache_away"]

    def test_a_long_absence_costs_one_client(self) -> None:
        cache = MongoCache(host=f"mongodb://127.0.0.1:{free_port()}/")
        costly = cached(cached_by(lambda: cache), Counter())
        costly(0)
        threads = threading.active_count()
        for number in range(3):
            cache._away_until = 0.0  # as if the half minute were over
            costly(number)
        assert threading.active_count() == threads

    @pytest.mark.parametrize("port", ["99999", "abc"])
    def test_a_port_that_cannot_be_is_told(self, port: str) -> None:
        costly = cached(cacheBuilder(host=f"mongodb://localhost:{port}/"), Counter())
        with pytest.raises(InvalidOption, match="The URI of MongoDB cannot be used"):
            costly(1)

    def test_a_uri_that_cannot_be_is_told_without_its_password(self) -> None:
        costly = cached(cacheBuilder(host="mongodb://me:hunter2@/?x"), Counter())
        with pytest.raises(InvalidOption, match="The URI of MongoDB cannot be used") as caught:
            costly(1)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "  ", None, 5, print])
def test_a_unique_name_must_be_a_name(build: Callable[..., Any], name: Any) -> None:
    with pytest.raises(InvalidOption, match="unique_name is the name"):
        build()(name)


@pytest.mark.parametrize("age", [0, -1, "1", None, True, float("nan"), float("inf")])
def test_an_age_must_be_a_number_of_days(build: Callable[..., Any], age: Any) -> None:
    with pytest.raises(InvalidOption, match="max_days_age must be a number of days"):
        build()("name", max_days_age=age)
