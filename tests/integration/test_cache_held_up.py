"""Computations that nobody carries on, or whose answers nobody may have: others do not wait for
them, and nothing wrong is stored."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gearmanny.helpers.cache_mongodb import MongoCache, cacheBuilder
from tests.support.servers import PATIENCE


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Waiting for ever is a failure, and not a hang: also in the thread of the test."""

    def give_up(*_args: object) -> None:
        pytest.fail("waits for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(int(PATIENCE))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def build(mongodb_uri: str, unique_name: str) -> Callable[..., Any]:
    """Builds a cache like that of another process each time."""

    def build(lease: float = 1) -> Any:
        return cacheBuilder(mongodb_uri, "cachetests", unique_name, timeout=10, lease=lease)

    return build


def count_to(cachewrap: Any, runs: list[int]) -> Callable[[int], Iterator[int]]:
    @cachewrap("count")
    def count(n: int) -> Iterator[int]:
        runs.append(n)
        yield from range(n)

    return count


class TestStreams:
    def test_one_thread_reads_the_same_stream_twice_at_a_time(
        self, build: Callable[..., Any]
    ) -> None:
        count = count_to(build(lease=300), runs := [])
        assert list(zip(count(3), count(3), strict=True)) == [(0, 0), (1, 1), (2, 2)]
        assert runs == [3, 3]
        assert list(count(3)) == [0, 1, 2]
        assert runs == [3, 3]

    def test_refreshing_does_not_wait_for_a_stream_of_the_same_thread(
        self, build: Callable[..., Any]
    ) -> None:
        count = count_to(build(lease=300), [])
        half_read = count(2)
        assert next(half_read) == 0
        assert count.refresh(n=2) == [0, 1]  # type: ignore[attr-defined]
        assert list(half_read) == [1]

    @pytest.mark.parametrize("same_process", [True, False])
    def test_others_do_not_wait_for_a_stream_that_is_not_read(
        self, build: Callable[..., Any], same_process: bool
    ) -> None:
        cachewrap = build()
        count = count_to(cachewrap, [])
        half_read = count(3)
        assert next(half_read) == 0
        other = count if same_process else count_to(build(), [])
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(list, other(3)) for _ in range(2)]
            assert [each.result(PATIENCE) for each in answers] == [[0, 1, 2]] * 2
        assert list(half_read) == [1, 2]

    def test_others_do_wait_for_a_stream_that_is_read(self, build: Callable[..., Any]) -> None:
        count = count_to(build(lease=300), runs := [])
        stream = count(3)
        assert next(stream) == 0
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(list, count(3))
            assert list(stream) == [1, 2]
            assert other.result(PATIENCE) == [0, 1, 2]
        assert runs == [3]

    def test_asynchronous_streams(self, build: Callable[..., Any]) -> None:
        @build()("count")
        async def count(n: int) -> AsyncIterator[int]:
            for each in range(n):
                yield each

        async def read_twice() -> list[list[int]]:
            half_read = count(3)
            assert await anext(half_read) == 0
            same_task = [each async for each in count(3)]
            await count.cache_clear()
            another = count(2)
            assert await anext(another) == 0
            other_task = await asyncio.create_task(read(2))
            return [same_task, other_task, [each async for each in half_read]]

        async def read(n: int) -> list[int]:
            return [each async for each in count(n)]

        assert asyncio.run(read_twice()) == [[0, 1, 2], [0, 1], [1, 2]]


class TestEventLoops:
    @pytest.fixture
    def costly(self, build: Callable[..., Any]) -> Any:
        self.begun = 0

        @build()("costly")
        async def costly(n: int) -> int:
            self.begun += 1
            if self.begun == 1:
                await asyncio.get_running_loop().create_future()
            return n

        return costly

    async def begin(self, costly: Any) -> asyncio.Task[int]:
        task = asyncio.get_running_loop().create_task(costly(1))
        while not self.begun:
            await asyncio.sleep(0.01)
        return task

    @pytest.mark.parametrize("same_thread", [True, False])
    def test_others_do_not_wait_for_a_loop_that_does_not_run(
        self, costly: Any, same_thread: bool
    ) -> None:
        loop = asyncio.new_event_loop()
        task = loop.run_until_complete(self.begin(costly))
        if same_thread:
            assert asyncio.run(costly(1)) == 1
        else:
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(asyncio.run, costly(1)).result(PATIENCE) == 1
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def test_a_coroutine_that_is_destroyed_says_nothing(
        self, mongodb_uri: str, unique_name: str
    ) -> None:
        # In a process of its own: asyncio and pymongo do not survive a loop that is just closed.
        script = [sys.executable, "-c", DESTROYED, mongodb_uri, unique_name]
        found = subprocess.run(
            script, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert found.stdout == "destroyed\n", found.stderr
        assert "gearmanny" not in found.stderr


DESTROYED = """
import asyncio, gc, logging, sys
from gearmanny.helpers.cache_mongodb import cacheBuilder

logging.getLogger("asyncio").disabled = True  # which names the task
begun = asyncio.Event()

@cacheBuilder(sys.argv[1], "cachetests", sys.argv[2], timeout=10)("costly")
async def costly(n):
    begun.set()
    await asyncio.get_running_loop().create_future()

async def begin():
    task = asyncio.create_task(costly(1))
    await begun.wait()
    return task

loop = asyncio.new_event_loop()
task = loop.run_until_complete(begin())
loop.close()
del task
gc.collect()
print("destroyed", flush=True)
"""


class TestClearing:
    def test_what_was_being_computed_is_not_stored(self, build: Callable[..., Any]) -> None:
        begun, go_on = threading.Semaphore(0), threading.Event()
        price = [1]

        @build()("costly")
        def costly(n: int) -> int:
            found = price[0]
            begun.release()
            assert go_on.wait(PATIENCE)
            return found

        for clear in (lambda: costly.cache_clear(n=1), costly.cache_clear):
            go_on.clear()
            with ThreadPoolExecutor(2) as pool:
                before = pool.submit(costly, 1)
                assert begun.acquire(timeout=PATIENCE)
                price[0] += 1
                clear()
                after = pool.submit(costly, 1)
                assert begun.acquire(timeout=PATIENCE)  # which is not that of before
                go_on.set()
                assert (before.result(), after.result()) == (price[0] - 1, price[0])
            assert costly.cached(n=1) == price[0]
            costly.cache_clear()

    def test_nor_that_of_another_process(
        self, build: Callable[..., Any], mongodb_uri: str, unique_name: str
    ) -> None:
        begun, go_on = threading.Event(), threading.Event()

        @build()("costly")
        def costly(n: int) -> int:
            begun.set()
            assert go_on.wait(PATIENCE)
            return n

        with ThreadPoolExecutor(1) as pool:
            before = pool.submit(costly, 1)
            assert begun.wait(PATIENCE)
            MongoCache(mongodb_uri, "cachetests", unique_name).clear()
            go_on.set()
            assert before.result() == 1
        assert costly.cached(n=1) is None


def test_a_process_that_a_function_forked_stores_nothing(build: Callable[..., Any]) -> None:
    @build()("forking")
    def forking(fails: bool) -> str:
        child = os.fork()
        if child == 0:
            if fails:
                raise ValueError
            return "child"
        os.waitpid(child, 0)
        return "parent"

    parent = os.getpid()
    for fails in (False, True):
        try:
            answer = forking(fails)
        finally:
            if os.getpid() != parent:
                os._exit(0)
        assert answer == "parent"
        assert forking.cached(fails=fails) == "parent"


def test_many_that_begin_at_the_same_moment_all_get_the_answer(build: Callable[..., Any]) -> None:
    together = threading.Barrier(16)

    def call(_: int) -> list[int]:
        @build()("costly")  # as in a process of its own
        def costly(n: int) -> int:
            return n

        answers = []
        for n in range(20):
            together.wait(PATIENCE)
            answers.append(costly(n))
        return answers

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(call, range(16))) == [list(range(20))] * 16
