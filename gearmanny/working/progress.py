"""Loops that report their progress to the caller of a task, at most ten times a second."""

from __future__ import annotations

import contextlib
import operator
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sized
from typing import Any, TypeVar

from gearmanny.payload.checks import whole_number

Item = TypeVar("Item")

Report = Callable[[int, int], object]
"""Reports how much is done, and of how much; 0 where that is unknown."""

_INTERVAL = 1 / 9
"""Seconds between two updates: with the last one, which waits for nothing, ten a second."""


_AMOUNT = whole_number(0)

_BITS = 32
"""gearmand keeps progress in as many, and drops the packet when the text is too long."""


def fitted(done: object, total: object) -> tuple[int, int]:
    """Returns progress as job servers can keep it: the same fraction, where the numbers are larger.

    Args:
        done: how much is done: a whole number, also one of another type, such as NumPy's.
        total: of how much.

    Raises:
        InvalidOption: the numbers are not whole, or negative.
    """
    first, second = _whole(done), _whole(total)
    surplus = max(0, max(first, second).bit_length() - _BITS)
    return first >> surplus, second >> surplus


def _whole(number: Any) -> int:
    if not isinstance(number, int) and hasattr(number, "__index__"):
        with contextlib.suppress(TypeError):  # an array has it, too
            number = operator.index(number)
    _AMOUNT.check("progress", number)
    return int(number)


def _length_of(items: object) -> int:
    """Returns how many items there are; 0 where that is unknown."""
    if not isinstance(items, Sized):
        return 0
    try:
        return len(items)
    except OverflowError:  # of a range, which may be longer than Python can count
        return (items[-1] - items[0]) // items.step + 1 if isinstance(items, range) else 0


class _Counter:
    """Counts finished items; reports the first count and the last one, and some in between."""

    def __init__(self, report: Report, items: object, total: int | None) -> None:
        self._report = report
        self._total = _length_of(items) if total is None else total
        self._done = 0
        self._reported = -1
        self._due = 0.0

    def start(self) -> None:
        self._update(time.monotonic())

    def count(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now >= self._due:
            self._update(now)

    def finish(self) -> None:
        if self._reported != self._done:
            self._update(time.monotonic())

    def _update(self, now: float) -> None:
        self._reported = self._done
        self._due = now + _INTERVAL
        self._report(self._done, self._total)


def counted(items: Iterable[Item], total: int | None, report: Report) -> Iterator[Item]:
    """Yields the items, and reports how many of them are done.

    Args:
        items: to go through.
        total: how many there are; None for their length, where they have one.
        report: called with the counts.
    """
    counter = _Counter(report, items, total)
    counter.start()
    for item in items:
        yield item
        counter.count()
    counter.finish()


async def counted_async(
    items: AsyncIterable[Item], total: int | None, report: Report
) -> AsyncIterator[Item]:
    """Yields the items of an `async for`, and reports how many of them are done.

    Args:
        items: to go through.
        total: how many there are; None for their length, where they have one.
        report: called with the counts.
    """
    counter = _Counter(report, items, total)
    counter.start()
    async for item in items:
        yield item
        counter.count()
    counter.finish()
