"""A process with a cached function, of gearmanny, dogpile.cache or cashews.

    cache_contestant.py gearmanny|dogpile|cashews PLACE hits BYTES N      seconds for N hits
    cache_contestant.py ... PLACE stampede CALLERS SECONDS                see below
    cache_contestant.py ... PLACE reads A_SECOND EXPIRIES                 see below

PLACE is the URI of a MongoDB for gearmanny, and a folder for the others, which keep their answers
in files: dogpile.cache with its dbm backend, cashews with diskcache. gearmanny and dogpile.cache
are called by threads, and cashews by coroutines. `bare` is a bare `find_one` of what gearmanny has
stored.

`stampede` says `ready`, waits for a line, lets so many callers want one answer, and says
`computing` whenever it is computed, which takes so many seconds. `reads` prints the longest wait of
a reader in seconds, how often the answer was computed, and how many computed at a time at most; the
answer is too old every half second, and computing takes 0.2 s.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

HALF_A_SECOND = 0.5
COMPUTING = 0.2
LONG = 3600

Costly = Callable[[int], Any]


def gearmanny(place: str, costly: Costly, seconds: float) -> Costly:
    from gearmanny.helpers.cache_mongodb import cacheBuilder  # noqa: PLC0415

    cachewrap = cacheBuilder(place, "benchmarks", "answers", timeout=10, lease=3)
    cached: Costly = cachewrap("costly", max_days_age=seconds / 86_400, stale_days=1)(costly)
    return cached


def bare(place: str, costly: Costly, seconds: float) -> Costly:
    import pymongo  # noqa: PLC0415

    gearmanny(place, costly, seconds)(1)
    answers = pymongo.MongoClient(place, tz_aware=True)["benchmarks"]["answers"]
    stored: Any = answers.find_one({"added": {"$exists": True}})
    return lambda n: answers.find_one({"key": stored["key"]})["data"]  # type: ignore[index]


def dogpile(place: str, costly: Costly, seconds: float) -> Costly:
    from dogpile.cache import make_region  # noqa: PLC0415

    region = make_region().configure(
        "dogpile.cache.dbm", expiration_time=seconds, arguments={"filename": f"{place}/dogpile"}
    )

    def compute(n: int) -> Any:
        return costly(n)

    cached: Costly = region.cache_on_arguments()(compute)
    return cached


def cashews(place: str, costly: Costly, seconds: float) -> Costly:
    from cashews import Cache  # noqa: PLC0415

    cache = Cache()
    cache.setup(f"disk://?directory={place}/cashews&shards=0")

    async def compute(n: int) -> Any:
        return await asyncio.to_thread(costly, n)

    if seconds == LONG:
        return cache(ttl=LONG, key="costly:{n}", lock=True)(compute)
    return cache.early(ttl=LONG, early_ttl=seconds, key="costly:{n}")(compute)


CONTESTANTS = {each.__name__: each for each in (gearmanny, bare, dogpile, cashews)}


def say(line: str) -> None:
    print(line, flush=True)


def hits(call: Costly, count: int) -> float:
    async def calls() -> float:
        await call(1)
        started = time.perf_counter()
        for _ in range(count):
            await call(1)
        return time.perf_counter() - started

    if asyncio.iscoroutinefunction(call):
        return asyncio.run(calls())
    call(1)
    started = time.perf_counter()
    for _ in range(count):
        call(1)
    return time.perf_counter() - started


def many(call: Costly, callers: int) -> None:
    async def gather() -> None:
        await asyncio.gather(*(call(1) for _ in range(callers)))

    if asyncio.iscoroutinefunction(call):
        asyncio.run(gather())
        return
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(call, [1] * callers))


class Counting:
    """A costly function that counts."""

    def __init__(self, seconds: float, answer: Any = 1) -> None:
        self.runs = self.inside = self.most = 0
        self._seconds = seconds
        self._answer = answer
        self._lock = threading.Lock()

    def __call__(self, n: int) -> Any:
        with self._lock:
            self.runs += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(self._seconds)
        with self._lock:
            self.inside -= 1
        return self._answer


def reads(call: Costly, a_second: int, expiries: int) -> float:
    """Returns the longest wait in seconds, after the first answer."""
    waits: list[float] = []
    readers = 4
    ends = time.perf_counter() + expiries * (HALF_A_SECOND + COMPUTING) + COMPUTING

    def read() -> None:
        due = time.perf_counter()
        while due < ends:
            time.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            call(1)
            waits.append(time.perf_counter() - started)
            due += readers / a_second

    async def aread() -> None:
        due = time.perf_counter()
        while due < ends:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            await call(1)
            waits.append(time.perf_counter() - started)
            due += readers / a_second

    async def areads() -> None:
        await call(1)
        await asyncio.gather(*(aread() for _ in range(readers)))

    if asyncio.iscoroutinefunction(call):
        asyncio.run(areads())
    else:
        call(1)
        with ThreadPoolExecutor(readers) as pool:
            for reader in [pool.submit(read) for _ in range(readers)]:
                reader.result()
    return max(waits)


def main(name: str, place: str, mode: str, *numbers: str) -> None:
    make = CONTESTANTS[name]
    if mode == "hits":
        size, count = map(int, numbers)
        rows = [{"id": n, "text": "x" * 60} for n in range(max(1, size // 100))]
        answer = rows if size > 100 else rows[0]
        say(str(hits(make(place, lambda n: answer, LONG), count)))
    elif mode == "stampede":
        seconds = float(numbers[1])

        def costly(n: int) -> int:
            say("computing")
            time.sleep(seconds)
            return n

        call = make(place, costly, LONG)
        say("ready")
        sys.stdin.readline()
        many(call, int(numbers[0]))
    else:
        counting = Counting(COMPUTING)
        longest = reads(make(place, counting, HALF_A_SECOND), *map(int, numbers))
        say(f"{longest} {counting.runs - 1} {counting.most}")


if __name__ == "__main__":
    main(*sys.argv[1:])
