"""Stale answers: served at once while one caller computes the next one."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pymongo
import pytest
from pymongo.collection import Collection

from gearmanny.helpers.cache_mongodb import cacheBuilder
from tests.support.servers import PATIENCE, until

Entries = Collection[dict[str, Any]]

SECOND = 1 / 86_400
"""In days."""


@pytest.fixture
def entries(mongodb_uri: str, unique_name: str) -> Iterator[Entries]:
    with pymongo.MongoClient(mongodb_uri, tz_aware=True) as client:
        yield client["cachetests"][unique_name]


@pytest.fixture
def build(mongodb_uri: str, unique_name: str) -> Callable[..., Any]:
    def build(**options: Any) -> Any:
        return cacheBuilder(mongodb_uri, "cachetests", unique_name, timeout=10, **options)

    return build


def make_old(entries: Entries, days: float) -> None:
    entries.update_many({}, {"$set": {"added": datetime.now(UTC) - timedelta(days=days)}})


class Gate:
    """A costly function that waits until it is let go, and counts who is in it."""

    def __init__(self) -> None:
        self.runs = 0
        self.most = 0
        self.inside = 0
        self.open = threading.Event()
        self.answer: Any = None
        self._counting = threading.Lock()

    def __call__(self, n: int) -> Any:
        with self._counting:
            self.runs += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.open.wait(PATIENCE)
        with self._counting:
            self.inside -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def cached(cachewrap: Any, gate: Gate, **options: Any) -> Any:
    @cachewrap("costly", **options)
    def costly(n: int) -> Any:
        return gate(n)

    return costly


def test_callers_get_the_old_answer_while_one_computes_the_next(
    build: Callable[..., Any], entries: Entries, gate: Gate
) -> None:
    costly = cached(build(), gate, stale_days=1)
    gate.open.set()
    gate.answer = "first"
    costly(1)
    gate.open.clear()
    gate.answer = "second"
    make_old(entries, days=1.5)
    assert [costly(1) for _ in range(20)] == ["first"] * 20
    until(lambda: gate.inside == 1)
    gate.open.set()
    until(lambda: costly(1) == "second", "the next answer")
    assert (gate.runs, gate.most) == (2, 1)
    assert costly.cache_info().stale >= 20


def test_stale_days_of_the_cache_are_those_of_functions_that_say_none(
    build: Callable[..., Any], entries: Entries, gate: Gate
) -> None:
    cachewrap = build(stale_days=1)
    gate.open.set()
    gate.answer = "first"
    costly = cached(cachewrap, gate)
    costly(1)
    make_old(entries, days=1.5)
    gate.answer = "second"
    assert costly(1) == "first"
    until(lambda: costly(1) == "second")
    make_old(entries, days=1.5)
    gate.answer = "third"
    assert cached(cachewrap, gate, stale_days=0)(1) == "third"


def test_beyond_the_stale_days_callers_wait(
    build: Callable[..., Any], entries: Entries, gate: Gate
) -> None:
    costly = cached(build(), gate, stale_days=1)
    gate.open.set()
    gate.answer = "first"
    costly(1)
    make_old(entries, days=2.5)
    gate.answer = "second"
    assert costly(1) == "second"
    entry = entries.find_one()
    assert entry is not None
    assert entry["delete_at"] - entry["added"] == timedelta(days=32)


@pytest.mark.parametrize("failure", [ValueError("no"), []], ids=["raises", "nothing"])
def test_after_a_failure_the_old_answer_stays_and_is_not_computed_at_every_call(
    build: Callable[..., Any],
    entries: Entries,
    gate: Gate,
    failure: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    costly = cached(build(lease=60), gate, stale_days=1)
    gate.open.set()
    gate.answer = "first"
    costly(1)
    make_old(entries, days=1.5)
    gate.answer = failure
    assert costly(1) == "first"
    until(lambda: gate.runs == 2)
    for _ in range(20):
        assert costly(1) == "first"
    other = cached(build(lease=60), gate, stale_days=1)  # as in another process
    for _ in range(20):
        assert other(1) == "first"
    assert gate.runs == 2
    failed = [record for record in caplog.records if record.levelname == "WARNING"]
    expected = ["cache_refresh_failed"] if isinstance(failure, Exception) else []
    assert [record.action for record in failed] == expected  # type: ignore[attr-defined]


def test_an_answer_that_another_process_is_computing_is_not_computed_here(
    build: Callable[..., Any], entries: Entries, gate: Gate
) -> None:
    here, there = (cached(build(), gate, stale_days=1) for _ in range(2))
    gate.open.set()
    gate.answer = "first"
    here(1)
    gate.open.clear()
    gate.answer = "second"
    make_old(entries, days=1.5)
    assert here(1) == "first"
    until(lambda: gate.inside == 1)
    for _ in range(50):
        assert there(1) == "first"
    gate.open.set()
    until(lambda: there(1) == "second")
    assert gate.runs == 2


def test_coroutines_get_the_old_answer_too(build: Callable[..., Any], entries: Entries) -> None:
    answers = iter(["first", "second"])

    @build()("costly", stale_days=1)
    async def costly(n: int) -> str:
        await asyncio.sleep(0)
        return next(answers)

    async def calls() -> None:
        assert await costly(1) == "first"
        await asyncio.to_thread(make_old, entries, 1.5)
        assert await costly(1) == "first"
        async with asyncio.timeout(PATIENCE):
            while await costly(1) != "second":
                pass

    asyncio.run(calls())


def test_generators_replay_the_old_stream_meanwhile(
    build: Callable[..., Any], entries: Entries
) -> None:
    runs = itertools.count(1)

    @build()("costly", stale_days=1)
    def costly(n: int) -> Iterator[int]:
        run = next(runs)
        yield from (run, n)

    assert list(costly(7)) == [1, 7]
    make_old(entries, days=1.5)
    assert list(costly(7)) == [1, 7]
    until(lambda: list(costly(7)) == [2, 7])


def test_over_ten_expiries_no_reader_waits_and_one_computes_at_a_time(
    build: Callable[..., Any], gate: Gate
) -> None:
    """Every computation waits until all readers have been served meanwhile."""
    costly = cached(build(), gate, max_days_age=SECOND / 4, stale_days=1)
    served = [0, 0]
    stop = threading.Event()

    def read(number: int) -> None:
        while not stop.is_set():
            assert costly(1) is not None
            served[number] += 1

    def all_are_served(since: list[int]) -> bool:
        return all(now > before for now, before in zip(served, since, strict=True))

    gate.open.set()
    gate.answer = -1
    costly(1)
    with ThreadPoolExecutor(len(served)) as readers:
        try:
            reading = [readers.submit(read, number) for number in range(len(served))]
            for expiry in range(10):
                gate.open.clear()
                gate.answer = expiry
                until(lambda: gate.inside == 1, "a computation")
                until(partial(all_are_served, list(served)), "readers being served")
                gate.open.set()
                until(lambda: gate.inside == 0, "the end of the computation")
        finally:
            gate.open.set()
            stop.set()
    for thread in reading:
        thread.result()
    assert gate.most == 1


def test_answers_age_by_themselves(build: Callable[..., Any]) -> None:
    runs = itertools.count()
    costly = build()("costly", max_days_age=SECOND / 10)(lambda: next(runs))
    costly()
    until(lambda: costly() > 0, "the answer being too old")
