"""Processes that run beside the workers, and are replaced when they end."""

from __future__ import annotations

from typing import Protocol


class Companion(Protocol):
    """A process beside the workers, such as the embedded job server."""

    @property
    def sentinel(self) -> int:
        """The descriptor that becomes readable when it ends."""

    def has_ended(self) -> bool:
        """Returns whether it has ended."""

    def replace(self) -> None:
        """Starts it again.

        Raises:
            GearmanException: that is not possible now.
            OSError: the system cannot start another process.
        """
