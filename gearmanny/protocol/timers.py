"""Timers, in the order in which they fire."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_STALE = 64
"""Number of cancelled timers that may stay in the heap before it is rebuilt."""


class Timer(Generic[T]):
    """A point in time, and an item that is due then."""

    __slots__ = ("_owner", "item", "when")

    def __init__(self, when: float, item: T, owner: Timers[T]) -> None:
        self.when = when
        self.item: T | None = item
        """The item; None after the timer has fired or was cancelled."""
        self._owner = owner

    def cancel(self) -> None:
        """Cancels the timer. Does nothing if it has fired."""
        if self.item is not None:
            self.item = None
            self._owner.armed -= 1


class Timers(Generic[T]):
    """Timers of one clock."""

    def __init__(self) -> None:
        self.armed = 0
        """Number of timers that will fire."""
        self._heap: list[tuple[float, int, Timer[T]]] = []
        self._made = 0

    def set(self, when: float, item: T) -> Timer[T]:
        """Returns a new timer.

        Args:
            when: when it fires, in seconds by the clock.
            item: the item that is due then.
        """
        timer = Timer(when, item, self)
        self.armed += 1
        self._made += 1
        heapq.heappush(self._heap, (when, self._made, timer))
        if len(self._heap) > 2 * self.armed + _STALE:
            self._heap = [entry for entry in self._heap if entry[2].item is not None]
            heapq.heapify(self._heap)
        return timer

    def next(self) -> float | None:
        """Returns when the next timer fires, in seconds by the clock; None if there is none."""
        while self._heap and self._heap[0][2].item is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[T]:
        """Yields the items of the timers that have fired, each once.

        Args:
            now: the current time, in seconds by the clock.
        """
        while (when := self.next()) is not None and when <= now:
            timer = heapq.heappop(self._heap)[2]
            item = timer.item
            timer.cancel()
            assert item is not None
            yield item
