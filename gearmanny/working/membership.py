"""This process among those that run the jobs of a store.

It is registered when a loop begins to work, and shows from then on that it lives, by a thread: also
while a task runs, as the database may restart at any time. Several loops in one process are one
process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gearmanny.errors import StoreUnavailable
from gearmanny.net.doorbell import Doorbell
from gearmanny.records.contract import Store
from gearmanny.records.scheduling import NewSchedule
from gearmanny.working.schedules import log_taken

logger = logging.getLogger("gearmanny.worker")

INTERVAL = 1.0
"""Seconds between two signs of life."""

_RESTS_WITHIN = 1.0
"""Seconds for which a fork waits for the thread: it may be connecting to a database."""

_ENDS_WITHIN = 10.0
"""Seconds for which the end of the last loop waits for it."""


class Facts(NamedTuple):
    """The things that others are told about this process."""

    pool: str
    """The name of the pool that this process belongs to; empty without a runner."""
    runner: str
    """The id that the processes of one runner share; empty without one."""
    functions: str
    """The functions that it offers, with their help: the text of a JSON object."""
    client_id: str
    """The name by which it is known to job servers."""


class Membership:
    """The registration of this process in a store."""

    def __init__(self, store: Store) -> None:
        """
        Args:
            store: the store.
        """
        self._store = store
        self._lock = threading.RLock()
        self._facts: Facts | None = None
        self._process: str | None = None
        self._chores: list[Callable[[], object]] = []
        """One of each loop that works."""
        self._schedules: list[NewSchedule] = []
        """Those in code that the store has not been told yet."""
        self._thread: threading.Thread | None = None
        self._bell: Doorbell | None = None
        """The one of that thread; each has its own, as the last one may be slow to end."""
        self._is_away = False

    def join(
        self,
        facts: Facts,
        chore: Callable[[], object],
        schedules: Sequence[NewSchedule] = (),
    ) -> None:
        """Registers this process, unless it is registered, and the schedules in its code. Where the
        store cannot be reached, that is done later.

        Args:
            facts: about this process.
            chore: called about once a second by the thread, and when a dispatcher rings; raises
                StoreUnavailable as the store does.
            schedules: those of the tasks of the loop.

        Raises:
            GearmanException: the store is not one that can be used.
        """
        with self._lock:
            self._facts = self._facts or facts
            self._chores.append(chore)
            self._schedules += schedules
            with contextlib.suppress(StoreUnavailable):  # the thread says so
                self.process()
                self._offer()
        self.resume()

    def process(self) -> str:
        """Returns the id of this process in the store.

        Raises:
            StoreUnavailable: it is not registered yet, and the store cannot be reached.
        """
        with self._lock:
            if self._process is None:
                assert self._facts is not None, "it has joined"
                self._process = self._store.register(**self._facts._asdict()).id
            return self._process

    def _offer(self) -> None:
        with self._lock:
            if self._schedules:
                log_taken(self._store.schedules.offer(self._schedules))
                self._schedules.clear()

    def resume(self) -> None:
        """Begins to show that this process lives, or goes on with it after a fork."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and self._chores:
                    self._bell = Doorbell()
                    self._thread = threading.Thread(
                        target=self._run,
                        args=(self._bell,),
                        name="gearmanny records",
                        daemon=True,
                    )
                    self._thread.start()

    def hurry(self) -> None:
        """Lets the thread do its chores now."""
        self.resume()
        bell = self._bell
        if bell is not None:
            bell.ring()

    def rest(self, timeout: float = _RESTS_WITHIN) -> None:
        """Ends the thread: a process that has threads should not fork.

        Args:
            timeout: seconds to wait for it.
        """
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            assert self._bell is not None
            self._bell.end()
            thread.join(timeout)
            self._thread = None

    def leave(self, chore: Callable[[], object]) -> None:
        """Removes this process with its last loop.

        Args:
            chore: as it was given to `join`.
        """
        with self._lock:
            self._chores.remove(chore)
            if self._chores:
                return
        self.rest(_ENDS_WITHIN)
        with self._lock:
            self._facts = None
            is_registered, self._process = self._process is not None, None
            if is_registered:
                with contextlib.suppress(StoreUnavailable):  # it will be found dead
                    self._store.leave()

    def _run(self, bell: Doorbell) -> None:
        renewed = time.monotonic()
        with contextlib.closing(bell):
            while True:
                if self._process is not None:
                    bell.answer_to(self._process)
                bell.wait(max(0.0, renewed + INTERVAL - time.monotonic()))
                if bell.is_over:
                    return
                now = time.monotonic()
                is_due = now >= renewed + INTERVAL
                try:
                    if is_due:
                        renewed = now
                        self._show()
                    for chore in list(self._chores):
                        chore()
                except Exception as error:
                    self._note(error)
                else:
                    self._note(None)

    def _show(self) -> None:
        if self._chores:
            self.process()
            self._offer()
        self._store.renew()

    def _note(self, error: Exception | None) -> None:
        if error is not None and not isinstance(error, StoreUnavailable) and not self._is_away:
            logger.error(
                "the store of the records fails: %s",
                error,
                exc_info=error,
                extra={"action": "store_failed"},
            )
        elif error is not None and not self._is_away:
            logger.warning(
                "the store of the records is away (%s); trying until it is back",
                error,
                extra={"action": "store_away"},
            )
        elif error is None and self._is_away:
            logger.warning("the store of the records is back", extra={"action": "store_back"})
        self._is_away = error is not None


_memberships: weakref.WeakValueDictionary[int, Membership] = weakref.WeakValueDictionary()
"""By the `id()` of the store, which each of them has."""


def membership_of(store: Store) -> Membership:
    """Returns the membership of this process, which all its loops share.

    Args:
        store: of the records.
    """
    return _memberships.setdefault(id(store), Membership(store))


def _rest() -> None:
    for membership in list(_memberships.values()):
        membership.rest()


def _resume() -> None:
    for membership in list(_memberships.values()):
        membership.resume()


os.register_at_fork(before=_rest, after_in_parent=_resume, after_in_child=_memberships.clear)
