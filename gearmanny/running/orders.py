"""The vocabulary of a roster: processes and their stages, and the orders that follow from events.

Pure.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)


class Stage(enum.Enum):
    """The stages of a process."""

    STARTING = "it does not serve yet"
    SERVING = "it serves"
    OUTDATED = "it serves, and waits for its turn to be replaced"
    REPLACING = "it serves until its successor is ready"
    LEAVING = "it is finishing its current jobs, or was killed"


@dataclass(eq=False, slots=True)
class Member(Generic[S]):
    """A process."""

    slot: S
    """The work that it runs."""
    started: float
    """When it was started."""
    stage: Stage = Stage.STARTING
    asked: bool = False
    """Whether it asked to be replaced."""
    replaced_since: float = math.inf
    """When its replacement began."""
    kill_at: float = math.inf
    """When it has to have ended."""


@dataclass(frozen=True, slots=True)
class Start(Generic[S]):
    """An order: start a process. Afterwards, `not_started` reports a failure."""

    member: Member[S]


@dataclass(frozen=True, slots=True)
class Stop(Generic[S]):
    """An order: let a process finish its current jobs, and end."""

    member: Member[S]
    late: bool = False
    """Whether the reason is that its successor was not ready in time."""


@dataclass(frozen=True, slots=True)
class Kill(Generic[S]):
    """An order: end a process at once."""

    member: Member[S]
    overdue: bool = False
    """Whether the reason is that its grace is over."""


@dataclass(frozen=True, slots=True)
class Delay(Generic[S]):
    """News: the next process of a slot is started later, because the last one died at once."""

    slot: S
    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp(Generic[S]):
    """News: processes of a slot crashed too often. Orders to stop all others follow."""

    slot: S


Order = Start[S] | Stop[S] | Kill[S] | Delay[S] | GiveUp[S]
