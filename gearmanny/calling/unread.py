"""The updates of a call that nobody has read yet, in a bounded amount of memory. No I/O."""

from __future__ import annotations

from collections import deque

from gearmanny.protocol.client import DataSent, Progressed, Warned

UpdateEvent = DataSent | Warned | Progressed

MOST_UNREAD = 16 * 1024 * 1024
"""Bytes of updates that are kept for a caller who may never read them."""

_OVERHEAD = 256
"""Bytes that an update takes besides its payload, about."""


class Unread:
    """A queue of updates, of which the oldest are dropped when they take too much memory.

    One thread puts, and others may take: the size is right as long as it is one at a time, and
    again whenever the queue is empty.
    """

    __slots__ = ("_events", "_most", "_size", "dropped")

    def __init__(self, most: int) -> None:
        """
        Args:
            most: bytes that the updates may take.
        """
        self._events: deque[UpdateEvent] = deque()
        self._most = most
        self._size = 0
        self.dropped = 0
        """How many updates were dropped, and nobody was told."""

    def __bool__(self) -> bool:
        """Returns whether there is something to be read."""
        return bool(self._events)

    def keep(self, most: int) -> None:
        """Changes the limit.

        Args:
            most: bytes that the updates may take from now on.
        """
        self._most = most

    def put(self, event: UpdateEvent) -> None:
        """Adds an update.

        Args:
            event: the update.
        """
        if not self._events:
            self._size = 0
        self._events.append(event)
        self._size += _size_of(event)
        while self._size > self._most and self.take() is not None:
            self.dropped += 1

    def take(self) -> UpdateEvent | None:
        """Removes the oldest update. Returns it, or None where there is none."""
        try:
            event = self._events.popleft()
        except IndexError:  # another thread took it
            return None
        self._size -= _size_of(event)
        return event


def _size_of(event: UpdateEvent) -> int:
    return sum(map(len, event)) + _OVERHEAD
