"""Notifications about the loop of a worker."""

from __future__ import annotations

from typing import Protocol

from gearmanny.working.ledger import Ledger


class Observer(Protocol):
    """An object that the loop of a worker notifies, between two jobs. It should be quick."""

    ledger: Ledger
    """Names the jobs that run."""

    def ready(self) -> None:
        """A job server has answered, so it knows the functions; or all of them are away. Called
        once, before the first job."""

    def interrupted(self) -> None:
        """A plain task was interrupted, and may have left anything half done."""

    def job_done(self) -> None:
        """A job was answered, with its result or a failure."""
