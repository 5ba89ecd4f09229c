"""Whether a cached answer may be used: hit, stale, old or miss.

Pure: the current time comes in as an argument.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

KEEP_STALE = timedelta(days=30)
"""How long an entry is kept when it may no longer be served at once: it is served when nothing
newer can be had."""


class Freshness(enum.Enum):
    """The freshness of an entry of the cache."""

    HIT = "hit"
    """It is the answer."""
    STALE = "stale"
    """It is the answer, and somebody computes the next one."""
    OLD = "old"
    """It is the answer when there is no newer one."""
    MISS = "miss"
    """There is none."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How old the answers of a function may be."""

    fresh: timedelta
    """Up to this age they are used."""
    stale: timedelta = timedelta(0)
    """For so long after that, they are used while the next one is computed."""

    def judge(self, added: datetime | None, now: datetime) -> Freshness:
        """Returns what an entry is worth.

        Args:
            added: when it was stored, aware; None when there is none.
            now: the current time, aware.
        """
        if added is None:
            return Freshness.MISS
        age = now - added
        if age <= self.fresh:
            return Freshness.HIT
        return Freshness.STALE if age <= self.fresh + self.stale else Freshness.OLD

    def delete_at(self, added: datetime) -> datetime:
        """Returns when an entry may be deleted."""
        return added + self.fresh + self.stale + KEEP_STALE
