"""Whether the caches of this process are used: tests turn them off. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Switch:
    """Turns all caches of this process off, and on again."""

    def __init__(self) -> None:
        self.is_on = True

    @contextlib.contextmanager
    def set_to(self, on: bool) -> Iterator[None]:
        """Turns the caches on or off until the block ends."""
        before, self.is_on = self.is_on, on
        try:
            yield
        finally:
            self.is_on = before


switch = Switch()
"""That of this process."""
