"""Cached functions: of every kind, with the attributes that functools gives them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pymongo
import pytest
from django.core.serializers.json import DjangoJSONEncoder
from pymongo.collection import Collection

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import EncodingError, InvalidOption, TaskTimeLimitExceeded
from gearmanny.helpers import counting
from gearmanny.helpers.cache_mongodb import MongoCache, cacheBuilder, cached_by
from gearmanny.helpers.counting import CacheInfo, Outcome
from gearmanny.helpers.switch import switch
from gearmanny.interface import task
from gearmanny.results import Data
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, RunWorker, until

Entries = Collection[dict[str, Any]]


@pytest.fixture
def entries(mongodb_uri: str, unique_name: str) -> Iterator[Entries]:
    with pymongo.MongoClient(mongodb_uri, tz_aware=True) as client:
        yield client["cachetests"][unique_name]


@pytest.fixture
def build(mongodb_uri: str, unique_name: str) -> Callable[..., Any]:
    def build(**options: Any) -> Any:
        options = {"timeout": 10, **options}
        return cacheBuilder(mongodb_uri, "cachetests", unique_name, **options)

    return build


def make_old(entries: Entries, days: float) -> None:
    entries.update_many({}, {"$set": {"added": datetime.now(UTC) - timedelta(days=days)}})


class TestSurface:
    @pytest.fixture
    def runs(self) -> list[int]:
        return []

    @pytest.fixture
    def costly(self, build: Callable[..., Any], runs: list[int]) -> Any:
        @build()("costly")
        def costly(n: int, debug: bool = False) -> dict[str, int]:
            "Costs much"
            runs.append(n)
            return {"n": n, "run": len(runs)}

        return costly

    def test_it_looks_as_the_function_does(self, costly: Any, runs: list[int]) -> None:
        assert (costly.__name__, costly.__doc__) == ("costly", "Costs much")
        assert list(inspect.signature(costly).parameters) == ["n", "debug"]
        assert costly.__wrapped__(3) == {"n": 3, "run": 1}
        assert costly.__wrapped__(3) == {"n": 3, "run": 2}

    def test_a_look_never_computes(self, costly: Any, runs: list[int], entries: Entries) -> None:
        assert costly.cached(n=1) is None
        assert runs == []
        answer = costly(1)
        assert costly.cached(n=1) == costly.cached(1, debug=False) == answer
        make_old(entries, days=2)
        assert costly.cached(n=1) is None
        assert runs == [1]

    def test_a_refresh_computes_and_stores(self, costly: Any, runs: list[int]) -> None:
        costly(1)
        assert costly.refresh(n=1) == {"n": 1, "run": 2}
        assert costly(1) == {"n": 1, "run": 2}
        assert costly.refresh(2) == costly(2) == {"n": 2, "run": 3}

    def test_a_refresh_raises_what_computing_raises(
        self, build: Callable[..., Any], entries: Entries
    ) -> None:
        answers: list[Any] = ["good", ValueError("no")]

        @build()("failing")
        def failing() -> Any:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        assert failing() == "good"
        with pytest.raises(ValueError, match="no"):
            failing.refresh()
        assert failing() == "good"

    def test_clearing_deletes_the_answer_of_a_call_or_all_of_the_function(
        self, build: Callable[..., Any], costly: Any, runs: list[int]
    ) -> None:
        other = build()("other")(lambda: "kept")
        other()
        for n in (1, 2, 3):
            costly(n)
        assert costly.cache_clear(n=1) == 1
        assert costly.cache_clear(n=1) == 0
        assert [costly.cached(n) is None for n in (1, 2, 3)] == [True, False, False]
        assert costly.cache_clear() == 2
        assert costly.cached(2) is None
        assert other.cached() == "kept"

    def test_clearing_makes_the_next_call_compute_also_where_the_first_version_has_an_answer(
        self, costly: Any, entries: Entries
    ) -> None:
        now = datetime.now()
        entry = {"type": "costly", "data": "theirs", "added": now, "purge_at": now + timedelta(1)}
        entries.insert_one({**entry, "query": {"kwargs": {"n": 1}}})
        assert costly(1) == "theirs"
        assert costly.cache_clear(n=1) == 1
        assert costly(1) == {"n": 1, "run": 1}

    def test_the_info_counts_what_calls_got(self, costly: Any, entries: Entries) -> None:
        assert costly.cache_info() == CacheInfo(0, 0, 0, 0, 0, 0)
        for n in (1, 1, 1, 2):
            costly(n)
        assert costly.cache_info() == CacheInfo(
            hits=2, stale=0, fallbacks=0, joined=0, misses=2, uncached=0
        )

    def test_whoever_listens_is_told(self, costly: Any) -> None:
        heard: list[tuple[str, Outcome]] = []
        counting.listeners.append(lambda *args: heard.append(args))
        try:
            costly(1)
            costly(1)
        finally:
            counting.listeners.pop()
        assert heard == [("costly", Outcome.MISS), ("costly", Outcome.HIT)]

    def test_two_functions_of_one_name_are_told(
        self, build: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        def one() -> None: ...

        def two() -> None: ...

        for cachewrap in (build(), build()):
            cachewrap("same")(one)
        assert not caplog.records
        build()("same")(two)
        (record,) = caplog.records
        assert record.action == "cache_name_shared"  # type: ignore[attr-defined]
        assert "one and " in record.getMessage()


class TestOptions:
    def test_ignored_arguments_do_not_count(self, build: Callable[..., Any]) -> None:
        costly = build()("costly", ignore=("debug",))(lambda n, debug: [n, debug])
        assert costly(1, debug=True) == costly(1, debug=False) == [1, True]
        assert costly(2, debug=False) == [2, False]

    def test_a_key_stands_in_for_the_arguments(self, build: Callable[..., Any]) -> None:
        class Reports:
            @build()("costly", key=lambda text: text.lower())
            def report(self, text: str) -> str:
                return text

        assert Reports().report("ABC") == Reports().report(text="abc") == "ABC"
        assert Reports().report("abd") == "abd"

    def test_a_version_begins_anew(self, build: Callable[..., Any]) -> None:
        one = build()("costly", version=1)(lambda: "one")
        assert one() == build()("costly", version=1)(lambda: "never")() == "one"
        assert build()("costly", version=2)(lambda: "two")() == "two"

    def test_an_encoder_makes_json_of_what_json_cannot(self, build: Callable[..., Any]) -> None:
        costly = build(json_encoder=DjangoJSONEncoder)("costly")(lambda n: [n, Decimal(1)])
        assert costly(Decimal("1.5")) == costly(Decimal("1.5")) == ["1.5", "1"]
        assert costly("1.5") == ["1.5", "1"]
        assert costly.cache_info().misses == 2

    def test_a_cache_that_is_off_computes_and_connects_to_nothing(self) -> None:
        cachewrap = cacheBuilder(
            "mongodb://never.invalid", enabled=False, returnvalue_washer=lambda value: value + 1
        )
        costly = cachewrap("costly")(lambda n: n)
        assert (costly(1), costly.refresh(1), costly.cached(1), costly.cache_clear()) == (
            *(2, 2, None, 0),
        )
        with pytest.raises(EncodingError):
            cacheBuilder(enabled=False)("set")(lambda: {1})()

    def test_the_switch_turns_all_caches_off(self, build: Callable[..., Any]) -> None:
        costly = build()("costly")(lambda: object)
        with switch.set_to(False), pytest.raises(EncodingError):
            costly()
        assert switch.is_on

    @pytest.mark.parametrize(
        "options",
        [
            *({"timeout": 0}, {"timeout": "1"}, {"lease": -1}, {"stale_days": -1}),
            *({"enabled": None},),
        ],
        ids=str,
    )
    def test_a_wrong_option_of_a_cache_is_told_when_it_is_made(
        self, options: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidOption, match=next(iter(options))):
            cacheBuilder(**options)

    @pytest.mark.parametrize(
        "options",
        [{"stale_days": "1"}, {"ignore": ("x",)}, {"key": 1}, {"version": 1.5}],
        ids=str,
    )
    def test_a_wrong_option_of_a_function_is_told_where_it_is_decorated(
        self, build: Callable[..., Any], options: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidOption, match=next(iter(options))):
            build()("costly", **options)(lambda n: n)


class TestMethods:
    def test_of_a_class_or_of_none(self, build: Callable[..., Any]) -> None:
        cachewrap = build()

        class Reports:
            @cachewrap("method")
            def method(self, n: int) -> int:
                return n

            @classmethod
            @cachewrap("class")
            def of_class(cls, n: int) -> int:
                return n

            @staticmethod
            @cachewrap("static")
            def static(n: int) -> int:
                return n

            @cachewrap("above")
            @staticmethod
            def above(n: int) -> int:
                return n

            @cachewrap("above class")
            @classmethod
            def above_class(cls, n: int) -> str:
                return f"{cls.__name__} {n}"

        reports = Reports()
        assert (reports.method(1), Reports().method(n=1)) == (1, 1)
        assert (Reports.of_class(1), reports.static(1), reports.above(1)) == (1, 1, 1)
        assert Reports.above_class(1) == reports.above_class(n=1) == "Reports 1"
        assert reports.method.cached(n=1) == 1
        assert reports.method.refresh(reports, n=1) == 1
        assert reports.method.cache_clear(n=1) == 1
        assert reports.method.cache_info()[:1] == (1,)
        assert Reports.of_class.cached(n=1) == 1


class TestCoroutines:
    def test_they_are_cached_by_one_loop_and_the_next(self, build: Callable[..., Any]) -> None:
        runs: list[int] = []

        @build()("costly")
        async def costly(n: int) -> dict[str, int]:
            runs.append(n)
            await asyncio.sleep(0)
            return {"n": n}

        async def surface() -> None:
            assert await costly(1) == {"n": 1}
            assert await costly.cached(n=1) == {"n": 1}
            assert await costly.refresh(1) == {"n": 1}
            assert await costly.cache_clear(n=1) == 1
            assert await costly.cached(n=1) is None
            await costly(2)
            assert await costly.cache_clear() == 1
            assert await costly.__wrapped__(3) == {"n": 3}

        assert inspect.iscoroutinefunction(costly)
        asyncio.run(surface())
        assert runs == [1, 1, 2, 3]
        for _ in range(2):
            assert asyncio.run(costly(4)) == {"n": 4}
        assert runs == [1, 1, 2, 3, 4]

    def test_of_many_one_computes(self, build: Callable[..., Any]) -> None:
        runs: list[object] = []
        go_on = asyncio.Event()

        @build()("costly")
        async def costly(n: int) -> list[int]:
            runs.append(asyncio.current_task())
            await go_on.wait()
            return [n]

        async def calls() -> None:
            calls = [asyncio.create_task(costly(1)) for _ in range(50)]
            while not runs:
                await asyncio.sleep(0.001)
            waiting = next(call for call in calls if call not in runs)
            calls.remove(waiting)
            waiting.cancel()
            go_on.set()
            answers = await asyncio.gather(*calls)
            answers[0].append("changed")
            assert answers[1:] == [[1]] * 48
            assert runs[0] in calls

        asyncio.run(calls())
        assert len(runs) == 1

    def test_when_the_one_that_computes_is_cancelled_another_one_does(
        self, build: Callable[..., Any]
    ) -> None:
        runs: list[int] = []

        @build(lease=60)("costly")
        async def costly(n: int) -> int:
            runs.append(n)
            if len(runs) == 1:
                await asyncio.Event().wait()
            return n

        async def calls() -> None:
            first = asyncio.create_task(costly(1))
            while not runs:
                await asyncio.sleep(0.001)
            others = [asyncio.create_task(costly(1)) for _ in range(5)]
            await asyncio.sleep(0)
            first.cancel()
            async with asyncio.timeout(PATIENCE):
                assert await asyncio.gather(*others) == [1] * 5
            with pytest.raises(asyncio.CancelledError):
                await first

        asyncio.run(calls())
        assert runs == [1, 1]

    def test_asynchronous_generators_replay(self, build: Callable[..., Any]) -> None:
        runs: list[int] = []

        @build()("costly")
        async def costly(n: int) -> AsyncIterator[Any]:
            runs.append(n)
            for item in range(n):
                yield (item, "x")

        async def calls() -> None:
            for _ in range(2):
                assert [item async for item in costly(3)] == [[0, "x"], [1, "x"], [2, "x"]]
            assert await costly.cached(3) == [[0, "x"], [1, "x"], [2, "x"]]
            with switch.set_to(False):
                assert [item async for item in costly(1)] == [[0, "x"]]

        assert inspect.isasyncgenfunction(costly)
        asyncio.run(calls())
        assert runs == [3, 1]


class TestGenerators:
    def test_items_come_as_they_are_computed_and_again_from_the_cache(
        self, build: Callable[..., Any]
    ) -> None:
        log: list[str] = []

        @build()("costly")
        def costly(n: int) -> Iterator[tuple[int, int]]:
            for item in range(n):
                log.append(f"made {item}")
                yield (item, item)

        for item in costly(2):
            log.append(f"got {item[0]}")
        assert log == ["made 0", "got 0", "made 1", "got 1"]
        assert list(costly(2)) == costly.cached(2) == [[0, 0], [1, 1]]
        assert len(log) == 4
        assert costly.refresh(2) == [[0, 0], [1, 1]]
        assert inspect.isgeneratorfunction(costly)

    def test_a_stream_that_is_left_is_not_stored_and_keeps_nobody_waiting(
        self, build: Callable[..., Any]
    ) -> None:
        ended: list[str] = []

        @build(lease=60)("costly")
        def costly() -> Iterator[int]:
            try:
                yield 1
                yield 2
            finally:
                ended.append("ended")

        stream = costly()
        assert next(stream) == 1
        stream.close()
        assert ended == ["ended"]
        assert costly.cached() is None
        assert list(costly()) == [1, 2]

    def test_one_that_fails_before_its_first_item_falls_back(
        self, build: Callable[..., Any], entries: Entries
    ) -> None:
        fail_at = [3]

        @build()("costly")
        def costly() -> Iterator[int]:
            for item in range(2):
                if item == fail_at[0]:
                    raise ValueError("no")
                yield item + 10 * (fail_at[0] == 1)

        assert list(costly()) == [0, 1]
        make_old(entries, days=2)
        fail_at[0] = 0
        assert list(costly()) == [0, 1]
        fail_at[0] = 1
        stream = costly()
        assert next(stream) == 10
        with pytest.raises(ValueError, match="no"):  # items of two answers would be mixed
            next(stream)

    def test_what_a_washer_cleans_comes_at_the_end(self, build: Callable[..., Any]) -> None:
        def costly() -> Iterator[int]:
            yield from (3, 1, 2)

        washed = build(returnvalue_washer=sorted)("costly")(costly)
        assert list(washed()) == list(washed()) == [1, 2, 3]
        with switch.set_to(False):
            assert list(washed()) == [1, 2, 3]

    def test_nested_and_switched_off_ones_are_computed(self, build: Callable[..., Any]) -> None:
        @build()("costly")
        def costly(depth: int = 0) -> Iterator[Any]:
            yield "item"

        with switch.set_to(False):
            assert list(costly()) == ["item"]


class TestSingleFlight:
    def test_of_threads_that_call_at_once_one_computes_and_all_have_copies(
        self, build: Callable[..., Any]
    ) -> None:
        runs: list[int] = []
        go_on = threading.Event()

        @build()("costly")
        def costly(n: int) -> list[int]:
            runs.append(n)
            assert go_on.wait(PATIENCE)
            return [n]

        with ThreadPoolExecutor(32) as pool:
            calls = [pool.submit(costly, 1) for _ in range(32)]
            until(lambda: runs)
            go_on.set()
            answers = [call.result() for call in calls]
        assert answers == [[1]] * 32
        assert len({id(answer) for answer in answers}) == 32
        assert runs == [1]
        info = costly.cache_info()
        assert info.misses == 1
        assert info.misses + info.joined + info.hits == 32

    def test_the_same_without_mongodb(self) -> None:
        runs: list[int] = []
        go_on = threading.Event()

        cache = MongoCache("mongodb://127.0.0.1:1/", timeout=0.2)

        @cached_by(lambda: cache)("costly")
        def costly(n: int) -> int:
            runs.append(n)
            assert go_on.wait(PATIENCE)
            return n

        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(costly, 1) for _ in range(8)]
            until(lambda: waiting(cache) == 7, "the others waiting")
            go_on.set()
            assert [call.result() for call in calls] == [1] * 8
        assert runs == [1]

    def test_those_who_wait_get_the_failure(self, mongodb_uri: str, unique_name: str) -> None:
        runs: list[int] = []
        go_on = threading.Event()
        cache = MongoCache(mongodb_uri, "cachetests", unique_name, timeout=10, lease=60)

        @cached_by(lambda: cache)("costly")
        def costly(n: int) -> None:
            runs.append(n)
            assert go_on.wait(PATIENCE)
            raise ValueError("no")

        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(costly, 1) for _ in range(4)]
            until(lambda: waiting(cache) == 3, "the others waiting")
            go_on.set()
            for call in calls:
                with pytest.raises(ValueError, match="no"):
                    call.result()
        assert runs == [1]

    def test_a_call_out_of_itself_is_noticed(self, build: Callable[..., Any]) -> None:
        depths: list[int] = []

        @build()("costly")
        def costly(n: int) -> int:
            depths.append(n)
            return costly(n) + costly.refresh(n) if len(depths) == 1 else n

        assert costly(5) == 10
        assert costly.cached(5) == 10

        @build()("acostly")
        async def acostly(n: int) -> int:
            depths.append(n)
            if len(depths) == 4:
                return sum(await asyncio.gather(acostly(n), asyncio.create_task(acostly(n))))
            return n

        assert asyncio.run(acostly(5)) == 10

    def test_a_forked_child_computes_for_itself(self, build: Callable[..., Any]) -> None:
        begun, go_on = threading.Event(), threading.Event()

        @build()("costly")
        def costly(n: int) -> int:
            if os.getpid() == parent:
                begun.set()
                assert go_on.wait(PATIENCE)
            return n

        parent = os.getpid()
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(costly, 1)
            assert begun.wait(PATIENCE)
            child = os.fork()
            if child == 0:
                os._exit(0 if costly(2) == 2 else 1)
            assert os.waitpid(child, 0)[1] == 0
            go_on.set()
            assert call.result() == 1


def waiting(cache: MongoCache) -> int:
    """How many calls wait for another one in this process."""
    return sum(flight.passengers for flight in cache.flights._flights.values())


@pytest.mark.usefixtures("caches_on")
class TestTasks:
    def test_every_kind_of_task_is_cached(
        self,
        build: Callable[..., Any],
        gearman_worker: RunWorker,
        gearman_async_client: AsyncClient,
    ) -> None:
        cachewrap = build()
        runs: list[str] = []

        class Reports(BaseWorker):
            name = "reports"

            @cachewrap("plain")
            def task_plain(self, n: int) -> int:
                runs.append("plain")
                return n

            @cachewrap("coroutine")
            async def task_coroutine(self, n: int) -> int:
                runs.append("coroutine")
                return n

            @cachewrap("stream")
            def task_stream(self, n: int) -> Iterator[int]:
                runs.append("stream")
                yield from range(n)

            @cachewrap("astream")
            async def task_astream(self, n: int) -> AsyncIterator[int]:
                runs.append("astream")
                for item in range(n):
                    yield item

        gearman_worker(Reports)
        for _ in range(2):
            for name, answer in [
                ("plain", 3),
                ("coroutine", 3),
                ("stream", [0, 1, 2]),
                ("astream", [0, 1, 2]),
            ]:
                work = gearman_async_client.call(f"reports_{name}", n=3)
                parts = [update.value for update in work.updates() if isinstance(update, Data)]
                assert work.get_result() == answer
                assert parts == (answer if "stream" in name else [])
        assert sorted(runs) == ["astream", "coroutine", "plain", "stream"]

    def test_a_time_limit_ends_the_computation_and_lets_others_compute(
        self,
        build: Callable[..., Any],
        gearman_worker: RunWorker,
        gearman_client: SimpleClient,
    ) -> None:
        cachewrap = build(lease=60)
        hang = threading.Event()

        class Reports(BaseWorker):
            name = "reports"

            @task(timeout=0.3, retries=1, retry_on=TaskTimeLimitExceeded, backoff=0)
            @cachewrap("slow")
            def slow(self) -> str:
                if not hang.is_set():
                    hang.set()
                    while True:
                        threading.Event().wait(0.01)
                return "done"

        gearman_worker(Reports)
        assert gearman_client.reports_slow() == "done"


def test_no_warning_is_logged_when_all_is_well(
    build: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    costly = build()("costly")(lambda n: n)
    assert [costly(1), costly(1)] == [1, 1]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
