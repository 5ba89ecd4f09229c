"""The roster of a supervisor: which processes there are, at which stage each one is, and what is to
be done next.

Pure: events come in, orders go out. Nothing here forks, waits, logs or looks at a clock: the
current time is an argument, in seconds of any monotonic clock.

::

    STARTING ──ready──> SERVING ──restart, asked──> OUTDATED ──its turn──> REPLACING
        │                  │                            │                      │
        └──────────────────┴────── told to stop ────────┴──── successor ready ─┴──> LEAVING

A slot has one process that stays. One that is to be replaced leaves when its successor is ready to
serve, so that service never drops; one that leaves has nothing left but its grace. Processes are
replaced one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Generic

from gearmanny.running.orders import Delay, GiveUp, Kill, Member, Order, S, Stage, Start, Stop
from gearmanny.running.restarts import RestartTable

AT_ONCE = -math.inf

_SERVES = (Stage.SERVING, Stage.OUTDATED)
_STAYS = (Stage.STARTING, *_SERVES)


class Roster(Generic[S]):
    """The processes of a supervisor.

    Each event returns the orders that follow from it, to be carried out in turn. `advance` returns
    those that follow from the time: call it after other events, and when it is `wakes_at`.
    """

    def __init__(
        self,
        slots: Sequence[S],
        restarts: RestartTable,
        *,
        keep_alive: bool,
        grace: Callable[[S], float | None],
        ready_timeout: float,
    ) -> None:
        """
        Args:
            slots: what is to run, one process each.
            restarts: when what ended is restarted.
            keep_alive: whether a process that ends by itself is replaced.
            grace: the seconds that a process may take to end after an order to stop, by its
                slot; None for as long as it takes.
            ready_timeout: seconds for a successor to be ready. After that, others do not wait for
                their turn to be replaced, and a process that asked for it leaves without one.
        """
        self.members: list[Member[S]] = []
        self.all_well = True
        """Whether it neither gave up nor, without `keep_alive`, saw a process end badly."""
        self.has_served = False
        """Whether any process was ever ready."""
        self._due = dict.fromkeys(slots, AT_ONCE)
        self._restarts = restarts
        self._keep_alive = keep_alive
        self._grace = grace
        self._ready_timeout = ready_timeout
        self._stopping = False

    @property
    def done(self) -> bool:
        """Whether all processes have ended, and none is to be started."""
        return not self.members and not self._due

    @property
    def is_starting(self) -> bool:
        """Whether a process does not serve yet, or is to be started."""
        return bool(self._due) or any(each.stage is Stage.STARTING for each in self.members)

    def wakes_at(self, now: float) -> float | None:
        """Returns when `advance` is to be called again at the latest; None if time changes nothing.

        Args:
            now: the current time.
        """
        late = [
            member.replaced_since + self._ready_timeout
            for member in self.members
            if member.stage is Stage.REPLACING
        ]
        moments = [
            *self._due.values(),
            *(member.kill_at for member in self.members),
            *(moment for moment in late if moment > now),
        ]
        first = min(moments, default=math.inf)
        return None if first == math.inf else first

    def advance(self, now: float) -> list[Order[S]]:
        """Returns what is to be done now.

        Args:
            now: the current time.
        """
        return [*self._replace(now), *self._start_due(now), *self._kill_overdue(now)]

    def not_started(self, member: Member[S], now: float) -> float:
        """Takes in that a process could not be started. Another attempt follows.

        Args:
            member: the process.
            now: the current time.

        Returns:
            The seconds until then.
        """
        self.members.remove(member)
        delay = self._restarts.delay(member.slot, now, now)
        self._due[member.slot] = now + delay
        return delay

    def ready(self, member: Member[S]) -> None:
        """Takes in that a process serves.

        Args:
            member: the process.
        """
        self.has_served = True
        if member.stage is Stage.STARTING:
            member.stage = Stage.SERVING

    def reject(self, now: float) -> list[Order[S]]:
        """Takes in that a process cannot run, now or ever: all are to stop.

        Args:
            now: the current time.
        """
        self.all_well = False
        return self._dismiss_all(now)

    def ask(self, member: Member[S], now: float) -> list[Order[S]]:
        """Takes in that a process asks to be replaced.

        Args:
            member: the process.
            now: the current time.
        """
        member.asked = True
        if not self._keep_alive:
            return self._dismiss([member], now)
        if member.stage in _STAYS:
            member.stage = Stage.OUTDATED
        return []

    def end(
        self, member: Member[S], now: float, *, crashed: bool, explained: bool = False
    ) -> list[Order[S]]:
        """Takes in that a process has ended.

        Args:
            member: the process.
            now: the current time.
            crashed: whether it ended in another way than by its workers stopping.
            explained: whether a job made it crash that will not do so for ever: then it is
                replaced at once, and does not count as a crash of its slot.
        """
        self.members.remove(member)
        slot = member.slot
        if member.stage is Stage.LEAVING:
            return []
        if not self._keep_alive:
            self.all_well = self.all_well and not crashed
            return []
        if crashed and not explained and self._restarts.is_crash_loop(slot, now):
            self.all_well = False
            return [GiveUp(slot), *self._dismiss_all(now)]
        if self._staying(slot):
            return []
        delay = 0.0 if explained else self._restarts.delay(slot, member.started, now)
        self._due.setdefault(slot, now + delay)
        return [Delay(slot, delay)] if delay else []

    def stop(self, now: float) -> list[Order[S]]:
        """Takes in that everything is to stop: within the grace the first time, then at once.

        Args:
            now: the current time.
        """
        if not self._stopping:
            self._stopping = True
            return self._dismiss_all(now)
        self._due.clear()
        return [self._kill(member) for member in self.members]

    def restart(self, now: float) -> list[Order[S]]:
        """Takes in that all processes are to be replaced, one after another.

        Args:
            now: the current time.
        """
        starting = [member for member in self.members if member.stage is Stage.STARTING]
        for member in self.members:
            if member.stage is Stage.SERVING:
                member.stage = Stage.OUTDATED
        # One that starts serves nobody yet, and may wait for what has changed.
        for member in starting:
            self._due.setdefault(member.slot, AT_ONCE)
        return self._dismiss(starting, now)

    def _replace(self, now: float) -> list[Order[S]]:
        """Lets those leave whose successor is ready, and begins to replace the next one."""
        orders: list[Order[S]] = []
        busy = False
        for member in self.members:
            if member.stage is not Stage.REPLACING:
                continue
            if any(successor.stage in _SERVES for successor in self._staying(member.slot)):
                orders += self._dismiss([member], now)
            elif now < member.replaced_since + self._ready_timeout:
                busy = True
            elif member.asked:
                orders += self._dismiss([member], now, late=True)
        outdated = [member for member in self.members if member.stage is Stage.OUTDATED]
        if outdated and not busy:
            outdated[0].stage = Stage.REPLACING
            outdated[0].replaced_since = now
            self._due.setdefault(outdated[0].slot, AT_ONCE)
        return orders

    def _start_due(self, now: float) -> list[Order[S]]:
        started = [Member(slot, now) for slot, at in self._due.items() if at <= now]
        for member in started:
            del self._due[member.slot]
        self.members += started
        return [Start(member) for member in started]

    def _kill_overdue(self, now: float) -> list[Order[S]]:
        return [
            self._kill(member, overdue=True) for member in self.members if member.kill_at <= now
        ]

    def _staying(self, slot: S) -> list[Member[S]]:
        return [each for each in self.members if each.slot == slot and each.stage in _STAYS]

    def _dismiss_all(self, now: float) -> list[Order[S]]:
        self._due.clear()
        return self._dismiss(self.members, now)

    def _dismiss(
        self, members: Sequence[Member[S]], now: float, *, late: bool = False
    ) -> list[Order[S]]:
        orders: list[Order[S]] = []
        for member in members:
            if member.stage is not Stage.LEAVING:
                member.stage = Stage.LEAVING
                grace = self._grace(member.slot)
                member.kill_at = math.inf if grace is None else now + grace
                orders.append(Stop(member, late))
        return orders

    def _kill(self, member: Member[S], *, overdue: bool = False) -> Kill[S]:
        member.stage = Stage.LEAVING
        member.kill_at = math.inf
        return Kill(member, overdue)
