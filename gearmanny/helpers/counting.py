"""How calls of cached functions were answered: counted here, and by whoever listens."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple


class Outcome(enum.Enum):
    """How one call was answered."""

    HIT = "hit"
    """From the cache."""
    STALE = "stale"
    """From the cache, by an answer past its age that is being computed again."""
    FALLBACK = "fallback"
    """From the cache, by an old answer, because computing returned nothing or failed."""
    JOINED = "joined"
    """By the answer that another call was computing."""
    MISS = "miss"
    """By computing."""
    UNCACHED = "uncached"
    """By computing, while MongoDB could not be used."""


class CacheInfo(NamedTuple):
    """How the calls of a function were answered in this process."""

    hits: int
    stale: int
    fallbacks: int
    joined: int
    misses: int
    uncached: int


Listener = Callable[[str, Outcome], object]

listeners: list[Listener] = []
"""Called with the unique name of a function and the outcome, for every call in this process."""


class Counts:
    """The outcomes of one function."""

    def __init__(self, unique_name: str) -> None:
        self.unique_name = unique_name
        self._counts = dict.fromkeys(Outcome, 0)

    def add(self, outcome: Outcome) -> None:
        """Counts one call. Two threads at once may lose one of two calls, which no lock is
        worth."""
        self._counts[outcome] += 1
        for listener in listeners:
            listener(self.unique_name, outcome)

    def info(self) -> CacheInfo:
        """Returns the numbers."""
        return CacheInfo(*self._counts.values())
