"""An open loop: calls that are due at fixed times, however long those before them take.

A call's latency counts from when it was due. A loop that waits for each answer before it makes the
next call would leave out the calls that a slow one delays, which are those that tails are made of.
It imports nothing of gearmanny: contestants of other environments use it, too.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

WARM_UP = 50
"""Calls before those that count."""

THREADS = 16
"""Threads that make calls, each the next one that is due."""


def threaded(call: Callable[[], object], rate: float, seconds: float) -> list[float]:
    """Returns the latencies, in seconds, of calls by threads.

    Args:
        call: makes a call and waits for its answer.
        rate: calls a second.
        seconds: how long calls are made.
    """
    for _ in range(WARM_UP):
        call()
    count = int(rate * seconds)
    latencies: list[float] = []
    numbers = iter(range(count))
    taking = threading.Lock()
    began = time.perf_counter() + 0.1

    def make() -> None:
        while True:
            with taking:
                number = next(numbers, None)
            if number is None:
                return
            due = began + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            call()
            latencies.append(time.perf_counter() - due)

    threads = [threading.Thread(target=make) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(latencies) == count
    return latencies


async def in_loop(
    call: Callable[[], Awaitable[object]], rate: float, seconds: float
) -> list[float]:
    """Returns the latencies, in seconds, of calls by tasks of an event loop.

    Args:
        call: makes a call and waits for its answer.
        rate: calls a second.
        seconds: how long calls are made.
    """
    for _ in range(WARM_UP):
        await call()
    latencies: list[float] = []
    began = time.perf_counter() + 0.1

    async def one(due: float) -> None:
        await call()
        latencies.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(due))
    return latencies


def tell(latencies: list[float]) -> None:
    """Prints the median, the 99th and the 99.9th percentile, in ms."""
    ordered = sorted(latencies)
    for share in (0.5, 0.99, 0.999):
        print(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))])
