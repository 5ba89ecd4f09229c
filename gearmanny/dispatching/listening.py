"""A thread that listens to the changes in a store."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gearmanny.payload.backoff import Backoff
from gearmanny.records.contract import Store
from gearmanny.records.values import Change, Changes

_WAIT = 1.0
"""Seconds of one wait: also the time within which the thread ends."""

_LOST = Change("lost")

_HEARD = ("due", "room", "cancel")
"""The subjects that matter to a dispatcher."""


class Listener:
    """Listens until it is closed, however often the store goes away."""

    def __init__(self, store: Store, wake: Callable[[], object]) -> None:
        """
        Args:
            store: the store.
            wake: called in the thread when there is something to `take`.
        """
        self._store = store
        self._wake = wake
        self._heard: set[Change] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._listen, name="gearmanny listens to the store", daemon=True
        )
        self._thread.start()

    def take(self) -> set[Change]:
        """Returns the changes since the last call, and one with the subject "lost" where the
        connection was lost in between."""
        with self._lock:
            heard, self._heard = self._heard, set()
        return heard

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        self._thread.join()

    def _listen(self) -> None:
        backoff = Backoff(first=0.2, longest=2.0)
        changes: Changes | None = None
        while not self._closing.is_set():
            try:
                changes = changes or self._store.changes()
                heard = set(changes.wait(_WAIT))
                backoff.reset()
            except Exception:  # the dispatcher, which asks the same store, says why in the log
                self._hear({_LOST})
                self._closing.wait(backoff.next_delay())
                continue
            subjects = {change.subject for change in heard}
            if not subjects.isdisjoint(_HEARD):
                self._hear(heard)
            elif "anything" in subjects:  # the dispatcher looks once a second anyway
                self._closing.wait(_WAIT)
        if changes is not None:
            changes.close()

    def _hear(self, heard: set[Change]) -> None:
        with self._lock:
            self._heard |= heard
        self._wake()
