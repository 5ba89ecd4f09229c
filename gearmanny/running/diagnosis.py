"""Whether the processes of a runner are healthy, by their signs of life.

Pure: the current time is an argument, in seconds of any monotonic clock.

A process is alive as long as it beats, and its loop turns or a job runs. A long job is healthy, and
so is a process whose job servers are away. A runner is ready when a process serves in every slot,
and a job server has answered it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from gearmanny.running.orders import Stage
from gearmanny.running.pulse import Vitals
from gearmanny.running.stalls import Stalls

_TURN = 6.0
"""Seconds for which the loop of an idle worker may wait: it looks after its job servers again."""

_SERVES = (Stage.SERVING, Stage.OUTDATED, Stage.REPLACING)

P = TypeVar("P", bound=Hashable)


class Examined(NamedTuple, Generic[P]):
    """A process at one moment."""

    process: P
    """It; as text, its name."""
    slot: Hashable
    """Its place; as text, the name of that."""
    stage: Stage
    vitals: Vitals
    runs_jobs: bool


class Report(NamedTuple):
    """The health of a runner."""

    processes: int
    """How many there are, without those that leave."""
    not_alive: Sequence[str]
    """Why it is not alive; empty if it is."""
    not_ready: Sequence[str]
    """Why it is not ready, though it is alive; empty if it is."""


class Diagnosis(Generic[P]):
    """Looks at the processes of a runner from time to time."""

    def __init__(self, timeout: float) -> None:
        """
        Args:
            timeout: seconds without a beat that are too long.
        """
        self._timeout = timeout
        self._beats = Stalls[P](self._timeout)
        self._turns = Stalls[P](self._timeout + _TURN)

    def look(
        self, slots: Iterable[Hashable], processes: Iterable[Examined[P]], now: float
    ) -> Report:
        """Takes in the signs of life of the processes. Call it every second or so.

        Args:
            slots: the places in which a process is to serve; empty when the runner stops.
            processes: all of them.
            now: the current time.
        """
        watched = [each for each in processes if each.stage is not Stage.LEAVING]
        self._beats.look({each.process: each.vitals.beats for each in watched}, now)
        self._turns.look({each.process: _turns_of(each) for each in watched}, now)
        stalled = self._beats.stalled
        not_alive = [
            *(f"{each} has shown no sign of life for {self._timeout:g} s" for each in stalled),
            *(
                f"{each} runs no job, and has not turned to its job servers for "
                f"{self._timeout + _TURN:g} s"
                for each in self._turns.stalled
                if each not in stalled
            ),
        ]
        return Report(len(watched), not_alive, list(_not_ready(slots, watched)))


def _turns_of(examined: Examined[P]) -> int | None:
    """Returns how often a loop has turned that should turn; None for another one."""
    beats, turns, _ = examined.vitals
    return None if beats is None or examined.runs_jobs or not turns else turns


def _not_ready(slots: Iterable[Hashable], processes: Sequence[Examined[P]]) -> Iterable[str]:
    serving: dict[Hashable, list[Examined[P]]] = {slot: [] for slot in slots}
    if not serving:
        yield "it is stopping"
    for each in processes:
        if each.stage in _SERVES and each.slot in serving:
            serving[each.slot].append(each)
    for slot, members in serving.items():
        if not members:
            yield f"no process serves as {slot}"
        elif not any(each.vitals.connected or each.vitals.beats is None for each in members):
            yield f"{members[0].process} is connected to no job server that answers"
