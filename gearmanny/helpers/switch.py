"""Whether the caches of this process are used: tests turn them off, or on and empty. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


class Switch:
    """Turns all caches of this process off and on."""

    def __init__(self) -> None:
        self.is_on = True
        self.database: str | None = None
        """The database that all caches use instead of their own: then they are on."""
        self._at_the_end: list[Callable[[], object]] = []

    @contextlib.contextmanager
    def set_to(self, on: bool) -> Iterator[None]:
        """Turns the caches on or off until the block ends."""
        before, self.is_on = self.is_on, on
        try:
            yield
        finally:
            self.is_on = before

    @contextlib.contextmanager
    def isolated(self, database: str) -> Iterator[None]:
        """Turns the caches on until the block ends, in a database that is only theirs."""
        before = self.database, self._at_the_end
        self.database, self._at_the_end = database, []
        try:
            yield
        finally:
            for clean in self._at_the_end:
                clean()
            self.database, self._at_the_end = before

    def at_the_end(self, clean: Callable[[], object]) -> None:
        """Calls a function when the caches are no longer isolated."""
        self._at_the_end.append(clean)


switch = Switch()
"""That of this process."""
