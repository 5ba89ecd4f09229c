"""The part of the contract of a store that is for who waits for a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from gearmanny.records.values import Changes, Snapshot

Answer = TypeVar("Answer")


class Bell(Protocol):
    """Somebody who waits, and looks at a record when the bell rings."""

    def ring(self) -> None:
        """Wakes who waits. Called in any thread; returns at once and raises nothing."""


class Listener(Protocol):
    """Rings when records change, for all who wait in this process. It has one connection, which is
    made when the first one waits, closed when nobody has waited for some seconds, and made again
    when it was lost. A child that is forked has its own."""

    @property
    def listens(self) -> bool:
        """Whether there is a connection, as somebody has waited just now."""

    def add(self, id: str, bell: Bell, is_for_the_end: bool = False) -> None:
        """Rings a bell whenever a watched record changes, and when a change may have been missed.

        Args:
            id: of the record.
            bell: until nobody refers to it any more.
            is_for_the_end: whether it rings for the end of the job alone.
        """


class Watched(Protocol):
    """What a store does for who waits for a record."""

    @property
    def notifies(self) -> bool:
        """Whether `listener` rings. Elsewhere, who waits looks from time to time.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """

    @property
    def listener(self) -> Listener:
        """Rings for all who wait in this process."""

    def watch(self, id: str) -> Snapshot | None:
        """Lets `changes()` report what becomes of a job that is open: its start, its progress, its
        return to the queue, its end. Look again from time to time: a change at the same moment may
        be missed.

        Returns:
            The record, as `look` returns it, read afterwards.
        """

    def changes(self) -> Changes:
        """Returns a wait for changes, with a connection of its own."""

    def waits_in_vain(self, id: str) -> bool:
        """Returns whether nothing that becomes of a job can be seen in the transaction that is open
        in this thread: it has recorded the job, or sees everything as it was before."""

    async def aside(self, ask: Callable[[], Answer]) -> Answer:
        """Does something with this store for a coroutine, whose event loop goes on meanwhile.

        Args:
            ask: does it, in another thread.
        """
