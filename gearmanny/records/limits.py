"""The limits of a task: how many of its jobs run at a time, and how often one begins.

A job over a limit is held in the database: it is queued, and not handed over before there is room
for it. Jobs of a key have limits of their own, so that none waits for those of another key.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection
from typing import Any, NamedTuple, Protocol

_LONGEST = 300
"""Characters of a name; a longer key is replaced by a hash."""

AHEAD = 0.1
"""Seconds by which a job may be released before its start: it has to travel. A worker waits for
them."""

_LOOK_EVERY = 0.1
"""Seconds after which to look for room that a job leaves when it ends."""


class Limit(NamedTuple):
    """The limit of a job."""

    name: str
    """All jobs with the same name share it."""
    max_running: int | None = None
    """Jobs that may run at a time."""
    every: float | None = None
    """Seconds from the start of one to the start of the next, at least."""


class LimitsOfJobs(Protocol):
    """The limits of the jobs of a function."""

    def limit(self, function: str, arguments: str | bytes) -> Limit | None:
        """Returns the limit of a job; None where it has none.

        Args:
            function: that of the job.
            arguments: as they travel.
        """


class Limits(NamedTuple):
    """The limits of a task, for all of its jobs, or for those with the same key."""

    max_running: int | None = None
    """Jobs that may run at a time."""
    every: float | None = None
    """Seconds from the start of one to the start of the next, at least."""
    key: str | None = None
    """The argument whose value is the key; None where all jobs share the limits."""
    default: Any = None
    """The key of jobs whose callers leave that argument out, as JSON has it."""

    def limit(self, function: str, arguments: str | bytes) -> Limit:
        """Returns the limit of a job.

        Args:
            function: that of the job.
            arguments: as they travel. What is not JSON, or nested too deeply, has the key null.
        """
        name = function if self.key is None else keyed(function, self._value(arguments))
        return Limit(name, self.max_running, self.every)

    def _value(self, arguments: str | bytes) -> Any:
        try:
            decoded = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
        return decoded.get(self.key, self.default) if isinstance(decoded, dict) else None


def keyed(name: str, value: object) -> str:
    """Returns the name of the limit of jobs with the same key.

    Args:
        name: that of all keys.
        value: of the key, as JSON has it; nested too deeply, it counts as null.
    """
    try:
        text = json.dumps(value, sort_keys=True)
    except RecursionError:
        text = "null"
    if len(text) > _LONGEST:
        text = hashlib.sha256(text.encode()).hexdigest()
    return f"{name} {text}"


class Use(NamedTuple):
    """The use of a limit at a moment."""

    max_running: int | None
    every: float | None
    wait: float
    """Seconds until the next job may begin, by the rate; 0 or less if one may begin now."""
    running: int
    released: int
    """Jobs that were released, and have not begun."""

    @property
    def is_forgotten(self) -> bool:
        """Whether nobody knows the limit any more, so that a claim has to say what it is."""
        return self.max_running is None and self.every is None

    def has_room(self, *, was_released: bool, others_are_held: bool) -> bool:
        """Returns whether a job may begin, as soon as the rate allows it.

        Args:
            was_released: whether it was held before.
            others_are_held: whether jobs wait that came before it.
        """
        if self.wait > AHEAD:
            return False
        if not was_released and (others_are_held or (self.released and self.every)):
            return False
        before = self.running if was_released else self.running + self.released
        return self.max_running is None or before < self.max_running

    @property
    def room(self) -> int:
        """The number of jobs to release."""
        rooms = [1000]
        if self.max_running is not None:
            rooms.append(self.max_running - self.running - self.released)
        if self.every is not None:
            ahead = AHEAD - max(self.wait, 0.0)
            rooms.append((0 if ahead < 0 else int(ahead / self.every) + 1) - self.released)
        return max(min(rooms), 0)

    @property
    def look_after(self) -> float:
        """Seconds after which to look for room again."""
        is_full = self.max_running is not None and self.running >= self.max_running
        if is_full or self.every is None:
            return _LOOK_EVERY
        return min(max(self.wait - AHEAD, _LOOK_EVERY / 2), 1.0)


class Released(NamedTuple):
    """An answer about the jobs that are held."""

    jobs: int
    """Those that may be handed over now."""
    wait: float
    """Seconds after which to ask again; `math.inf` if no job is held."""


NONE_HELD = Released(0, math.inf)


class Releasing(Protocol):
    """A store that holds jobs until there is room for them."""

    def release(self, names: Collection[str] | None = None) -> Released:
        """Releases held jobs for which there is room, so that they are handed over: of each
        function and key, the urgent first, and then the oldest.

        Args:
            names: of limits, as `changes()` tells of room in them; None for all, which takes the
                longer the more there are.
        """

    def forget_limits(self) -> None:
        """Forgets a batch of keys that have no open jobs."""
