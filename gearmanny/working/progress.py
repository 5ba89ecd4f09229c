"""Loops that tell the caller of a task how far they are, as often as it is worth while."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")

Tell = Callable[[int, int], object]
"""Tells how much is done, and of how much; 0 of what has no known end."""

_INTERVAL = 1 / 9
"""Seconds between two updates: with the last one, which waits for nothing, ten a second."""


class _Counter:
    """Counts what is done; tells the first count and the last one, and some in between."""

    def __init__(self, tell: Tell, items: object, total: int | None) -> None:
        self._tell = tell
        self._total = (len(items) if isinstance(items, Sized) else 0) if total is None else total
        self._done = 0
        self._told = -1
        self._due = 0.0

    def start(self) -> None:
        self._update(time.monotonic())

    def count(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now >= self._due:
            self._update(now)

    def finish(self) -> None:
        if self._told != self._done:
            self._update(time.monotonic())

    def _update(self, now: float) -> None:
        self._told = self._done
        self._due = now + _INTERVAL
        self._tell(self._done, self._total)


def counted(items: Iterable[Item], total: int | None, tell: Tell) -> Iterator[Item]:
    """Yields the items, and tells how many of them are done."""
    counter = _Counter(tell, items, total)
    counter.start()
    for item in items:
        yield item
        counter.count()
    counter.finish()


async def counted_async(
    items: AsyncIterable[Item], total: int | None, tell: Tell
) -> AsyncIterator[Item]:
    """Yields the items of an `async for`, and tells how many of them are done."""
    counter = _Counter(tell, items, total)
    counter.start()
    async for item in items:
        yield item
        counter.count()
    counter.finish()
