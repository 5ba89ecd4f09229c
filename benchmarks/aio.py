"""gearmanny's asyncio client as a contestant, through its public API.

    aio.py PORT roundtrip N              N calls, one at a time
    aio.py PORT batch N                  N calls through `map`
    aio.py PORT together N               N calls, awaited all at once
    aio.py PORT open RATE SECONDS        an open loop: p50, p99 and p99.9, in ms
    aio.py PORT work N [PREFETCH]        the worker of `contestant.py`

Otherwise prints the seconds that it took. Every answer is checked.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time

import contestant
import openloop

from gearmanny.aio import AioClient


async def roundtrip(client: AioClient, count: int) -> None:
    for _ in range(count):
        assert await client.bench_add(a=1, b=2) == 3


async def batch(client: AioClient, count: int) -> None:
    arguments = ({"a": 1, "b": 2} for _ in range(count))
    async for result in client.map("bench_add", arguments):
        assert result == 3


async def together(client: AioClient, count: int) -> None:
    results = await asyncio.gather(*(client.bench_add(a=1, b=n) for n in range(count)))
    assert results == [n + 1 for n in range(count)]


async def main() -> None:
    modes = {"roundtrip": roundtrip, "batch": batch, "together": together}
    async with AioClient([f"127.0.0.1:{sys.argv[1]}"]) as client:
        await client.bench_add(a=1, b=2)  # connecting is not part of it
        if sys.argv[2] == "open":
            rate, seconds = map(float, sys.argv[3:5])
            call = functools.partial(client.bench_add, a=1, b=2)
            openloop.tell(await openloop.in_loop(call, rate, seconds))
            return
        started = time.perf_counter()
        await modes[sys.argv[2]](client, int(sys.argv[3]))
        print(time.perf_counter() - started)


if __name__ == "__main__":
    if sys.argv[2] == "work":
        contestant.main()
    else:
        asyncio.run(main())
