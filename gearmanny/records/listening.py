"""Wakes all who wait for records in this process: one thread, one connection."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence

from gearmanny.errors import StoreUnavailable
from gearmanny.net.forks import this_process
from gearmanny.records.values import Change, Changes
from gearmanny.records.waiting import Bell

logger = logging.getLogger("gearmanny.client")

_TURN = 0.5
"""Seconds after which the thread looks whether anybody waits."""

_LINGER = 5.0
"""Seconds that the connection is kept when nobody waits: somebody may again."""

_REST = 0.5
"""Seconds between two attempts to reach the database."""

_ANY = (Change("anything"),)

_NONE: Mapping[Bell, bool] = {}


class SharedListener:
    """Rings for who waits. See `gearmanny.records.waiting.Listener`.

    Bells are known by weak references: who is interrupted has nothing to take back.
    """

    def __init__(self, changes: Callable[[], Changes]) -> None:
        """
        Args:
            changes: returns a wait for changes, with a connection of its own.
        """
        self._changes = changes
        self._forget()

    def _forget(self) -> None:
        self._forks = this_process.forks
        self._lock = threading.RLock()  # a signal handler may wait, too
        self._bells: dict[str, weakref.WeakKeyDictionary[Bell, bool]] = {}
        self._thread: threading.Thread | None = None

    @property
    def listens(self) -> bool:
        thread = self._thread
        return self._forks == this_process.forks and thread is not None and thread.is_alive()

    def add(self, id: str, bell: Bell, is_for_the_end: bool = False) -> None:
        if self._forks != this_process.forks:
            self._forget()  # the thread of the parent is not here, but who holds its lock may be
        with self._lock:
            self._bells.setdefault(id, weakref.WeakKeyDictionary())[bell] = is_for_the_end
            if not self.listens:
                self._thread = threading.Thread(
                    target=self._listen, daemon=True, name="gearmanny-records"
                )
                self._thread.start()

    def close(self) -> None:
        """Lets the thread end, and close its connection, within half a second, unless somebody
        waits."""
        if self._forks == this_process.forks:
            with self._lock:
                if not any(self._bells.values()):
                    self._thread = None

    def _listen(self) -> None:
        changes: Changes | None = None
        needed = time.monotonic()
        try:
            while True:
                try:
                    heard: Sequence[Change] = _ANY  # of what happened before, nobody told
                    if changes is None:
                        changes = self._changes()
                    else:
                        heard = changes.wait(_TURN)
                except StoreUnavailable:
                    heard = ()
                    time.sleep(_REST)
                with self._lock:
                    self._ring(heard)
                    self._bells = {id: bells for id, bells in self._bells.items() if bells}
                    if self._thread is not threading.current_thread():
                        return
                    if self._bells:
                        needed = time.monotonic()
                    elif time.monotonic() - needed > _LINGER:
                        self._thread = None
                        return
        except Exception:
            # Who waits looks again without being told, only later.
            logger.exception(
                "Changes of records are not heard of.", extra={"action": "listening_failed"}
            )
        finally:
            if changes is not None:
                changes.close()

    def _ring(self, heard: Sequence[Change]) -> None:
        for change in heard:
            if change.subject == "anything":
                rung = [bell for bells in self._bells.values() for bell in bells]
            else:
                is_end = change.subject == "done"
                rung = [
                    bell
                    for bell, is_for_the_end in self._bells.get(change.id, _NONE).items()
                    if is_end or not is_for_the_end
                ]
            for bell in rung:
                bell.ring()
