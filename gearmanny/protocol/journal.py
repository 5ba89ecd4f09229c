"""The interface of the storage for background jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Journal(Protocol):
    """Storage in which background jobs survive a restart of the job server."""

    def jobs(self) -> Iterable[tuple[int, bytes, bytes, bytes, int, float]]:
        """Returns the stored jobs: the row number of each, and the arguments of `keep`."""

    def keep(self, function: bytes, unique: bytes, data: bytes, priority: int, due: float) -> int:
        """Stores a job.

        Args:
            function: the name of its function.
            unique: its unique id; empty for none.
            data: its payload.
            priority: HIGH, NORMAL or LOW.
            due: when to run it, in seconds since the epoch; 0 for at once.

        Returns:
            The row number to pass to `forget`.

        Raises:
            Refusal: the job cannot be stored.
        """

    def forget(self, row: int) -> None:
        """Deletes a job that is done, by the row number that `keep` returned."""
