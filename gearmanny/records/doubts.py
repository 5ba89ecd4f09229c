"""Claims whose answer was lost.

The database may have written such a claim, and then the job is running, of a process that lives and
does not know of it: nobody would ever take it back. So the process gives it back itself.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from gearmanny.errors import StoreUnavailable
from gearmanny.records.values import Claim

REMEMBERED_FOR = 60.0
"""Seconds in which a statement that was sent is executed, or never: a session whose peer is gone
ends within a few seconds, unless it waits for somebody."""


class Doubts:
    """The claims of this process that may have been written."""

    def __init__(self) -> None:
        self._since: dict[Claim, float] = {}

    @contextlib.contextmanager
    def unless_answered(self, claim: Claim) -> Iterator[None]:
        """Remembers a claim if the store cannot be reached in the block."""
        try:
            yield
        except StoreUnavailable:
            self._since[claim] = time.monotonic()
            raise

    def settle(self, give_back: Callable[[Claim], object]) -> None:
        """Gives back what was written.

        Args:
            give_back: gives a job back; returns None when the claim is not, or not yet, valid.
        """
        for claim, since in list(self._since.items()):
            if give_back(claim) is not None or time.monotonic() - since > REMEMBERED_FOR:
                self._since.pop(claim, None)
