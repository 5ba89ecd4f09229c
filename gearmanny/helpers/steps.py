"""The steps by which a call is answered.

A generator yields them (`answers.py`); what a step brought is sent back, or thrown into the
generator if it failed. So a thread, an event loop and a stream do the same (`blocking.py`,
`aio.py`).
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from gearmanny.helpers import entries
from gearmanny.helpers.flights import Flight


class Nothing(enum.Enum):
    """The result of an operation that was not done."""

    AWAY = "MongoDB is not asked now, or did not answer"
    USELESS = "it did, and nothing can be made of that"
    HELD_UP = "the flight rests, and only the caller can carry it on"
    STALLED = "the flight has rested for too long"


@dataclass(frozen=True, slots=True)
class Ask:
    """Brings what an operation on the collection returns, or `Nothing`."""

    operation: entries.Operation
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
    """Does an operation that stores an answer; brings None, or `Nothing.USELESS`."""

    operation: entries.Operation


@dataclass(frozen=True, slots=True)
class Pause:
    """Lets so many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Join:
    """Waits until a flight has ended; brings its answer as JSON, None without one, or raises.

    Brings `Nothing` where waiting is of no use.
    """

    flight: Flight
    patience: float
    """Seconds for which it may rest."""


@dataclass(slots=True)
class Compute:
    """Computes; brings the answer as JSON, or raises."""

    flight: Flight
    begun: bool = False
    """Whether a part of the answer has been given out, so that no other answer can follow."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """Begins to compute beside the caller, by the steps of `answers.refreshing`."""


Step = Ask | Keep | Pause | Join | Compute | Refresh
Steps = Generator[Step, Any, Any]
