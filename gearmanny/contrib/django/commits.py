"""The jobs that leave when Django's transaction is committed."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from gearmanny.records.contract import HandOver
from gearmanny.records.values import Submitted


class CommitOutbox:
    """Lets the jobs of a transaction leave together, when all of its commit hooks have run."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        """
        Args:
            connection: Django's.
        """
        self._held: dict[HandOver, list[Submitted]] | None = None
        self._connection = weakref.ref(connection)

    def send(self, hand_over: HandOver, jobs: Sequence[Submitted]) -> None:
        """Hands jobs over, now or when the hooks of this transaction have run.

        Args:
            hand_over: does it.
            jobs: the jobs.
        """
        if self._held is None:
            hand_over(jobs)
        else:
            self._held.setdefault(hand_over, []).extend(jobs)

    def run_and_clear_commit_hooks(self) -> None:
        """Does what the method of the connection does, whose place it takes."""
        connection = self._connection()
        assert connection is not None
        run = type(connection).run_and_clear_commit_hooks
        if self._held is not None:  # a hook has committed a transaction of its own
            run(connection)
            return
        held: dict[HandOver, list[Submitted]] = {}
        self._held = held
        try:
            run(connection)
        finally:
            self._held = None
            for hand_over, jobs in held.items():
                hand_over(jobs)


_OUTBOX = "_gearmanny_outbox"


def commit_outbox_of(connection: Any) -> CommitOutbox:
    """Returns the outbox of a connection. Its method that runs commit hooks is not public: without
    it, the jobs of a transaction would leave one by one.

    Args:
        connection: Django's.
    """
    outbox: CommitOutbox | None = getattr(connection, _OUTBOX, None)
    if outbox is None:
        outbox = CommitOutbox(connection)
        setattr(connection, _OUTBOX, outbox)
        if hasattr(connection, "run_and_clear_commit_hooks"):
            connection.run_and_clear_commit_hooks = outbox.run_and_clear_commit_hooks
    return outbox
