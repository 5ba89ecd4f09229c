"""The dispatcher: hands over what is due, and sees to it that nothing gets lost.

Any number of dispatchers work side by side on one store, without a leader: the database gives each
job to one of them. One thread does everything but connecting and listening, and waits for nothing
longer than for the database.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Callable

from gearmanny.dispatching import log
from gearmanny.dispatching.children import Children
from gearmanny.dispatching.jobservers import JobServers, Question
from gearmanny.dispatching.listening import Listener
from gearmanny.dispatching.losses import CONFIRMED_FOR, MISSING_FOR, Losses, Verdict
from gearmanny.dispatching.notices import Receiver
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.dispatching.schedule import SPACING, Chore, Schedule
from gearmanny.errors import StoreUnavailable
from gearmanny.net.polling import Poller, Waker
from gearmanny.records.contract import Store
from gearmanny.records.values import Change, HandedOver

_BATCH = 500
"""Jobs that are handed over at a time."""

_QUESTIONS = 200
"""Jobs that job servers are asked for at a time."""

_PRUNED = 200
"""Records that are forgotten at a time."""

_QUIET_WITHIN = 600.0
"""Seconds for which old records stay longer, at most, because there is other work."""

_DATABASE_SETTLES = 30.0
"""Seconds after the database was lost in which deaths do not count: it takes everybody's locks with
it, and who is slow to take a lock again looks dead."""

_REST_FROM_LIMITS = 5.0
"""Times as long as it took to look at all limits, until that is done again: of many thousand keys,
the database would do nothing else."""

_PARTING = 1.0
"""Seconds in which job servers may answer what was sent, in the end."""


class Dispatcher:
    """A dispatcher, for one thread."""

    def __init__(
        self, store: Store, options: DispatchOptions, notices: Receiver | None = None
    ) -> None:
        """
        Args:
            store: where the records are.
            options: the job servers, and limits.
            notices: the ends of processes of its runner; it stops when the runner closes them.
                None where it belongs to no runner.
        """
        now = time.monotonic()
        self._store = store
        self._options = options
        self._notices = notices
        self._waker = Waker()
        self._poller = Poller()
        self._poller.add(self._waker)
        self._notice_descriptor = -1 if notices is None else self._poller.add(notices)
        self._schedule = Schedule(now)
        self._losses = Losses()
        self._servers = JobServers(
            options.hosts, options.tls, self._poller, self._waker.wake, self._losses
        )
        self._question: Question | None = None
        self._children = Children(store, options, self._schedule)
        self._database_lost = -math.inf
        self._handed_at = -math.inf
        self._room: set[str] = set()
        """Limits in which there is room, as the store says."""
        self._look_for_room_at = -math.inf
        self._pruned_at = now
        self._unreadable: dict[str, str] = {}
        """Schedules that cannot be read, which the log has said."""
        self._held_until = -math.inf
        self._stopped = False
        self._chores: dict[Chore, Callable[[float], None]] = {
            Chore.CHILDREN: self._children.look_after,
            Chore.INTERRUPT: self._children.interrupt,
            Chore.TICK: self._tick,
            Chore.RELEASE: self._release,
            Chore.HAND_OVER: self._hand_over,
            Chore.LOOK: self._look,
            Chore.BURY: self._bury,
            Chore.COUNT: self._count,
            Chore.PRUNE: self._prune,
        }

    def stop(self) -> None:
        """Lets `run` return. For signal handlers and threads."""
        self._stopped = True
        self._waker.wake()

    def run(self) -> None:
        """Works until `stop` is called, or the runner closes the pipe."""
        with contextlib.closing(Listener(self._store, self._waker.wake)) as listener:
            try:
                while not self._stopped:
                    self._step(listener)
                self._part()
            finally:
                self._servers.close()
                self._waker.close()
                self._store.close()

    def _step(self, listener: Listener) -> None:
        now = time.monotonic()
        self._servers.tend(now)
        for chore in self._schedule.due(now):
            self._do(chore, self._chores[chore])
        now = time.monotonic()
        wakes_at = min(self._schedule.wakes_at(), self._servers.wakes_at())
        for descriptor in self._poller.wait(max(0.0, wakes_at - now)):
            self._take(descriptor)
        self._waker.clear()
        self._hear(listener.take(), now)
        question = self._question
        if question is not None and not question.waiting:
            self._question = None
            self._do(Chore.LOOK, lambda now: self._judge(question, now))

    def _hear(self, changes: set[Change], now: float) -> None:
        subjects = {change.subject for change in changes}
        if "lost" in subjects:
            self._database_lost = time.monotonic()
        if "due" in subjects:
            self._schedule.hurry(Chore.HAND_OVER, now)
        if "room" in subjects:
            self._room.update(change.id for change in changes if change.subject == "room")
            self._schedule.hurry(Chore.RELEASE, now)
        if "cancel" in subjects:
            self._children.cancelled.update(
                change.id for change in changes if change.subject == "cancel"
            )
            self._schedule.hurry(Chore.INTERRUPT, now)

    def _take(self, descriptor: int) -> None:
        now = time.monotonic()
        if descriptor == self._notice_descriptor and self._notices is not None:
            self._children.ended.update(self._notices.receive())
            self._schedule.hurry(Chore.CHILDREN, now)
            if self._notices.is_closed:
                self._poller.remove(descriptor)
                self._stopped = True
        else:
            up = len(self._servers.up)
            self._servers.receive(descriptor, now)
            if len(self._servers.up) > up:
                self._schedule.hurry(Chore.HAND_OVER, now)
                self._schedule.hurry(Chore.LOOK, self._losses.doubt_begins)

    def _do(self, chore: Chore, work: Callable[[float], None]) -> None:
        """Does a chore, or sees to it that it is done when the store is there again."""
        was_away = self._schedule.is_away
        try:
            work(time.monotonic())
        except Exception as error:
            if not isinstance(error, StoreUnavailable):
                log.failed()
                return
            self._database_lost = time.monotonic()
            self._schedule.store_failed(chore, self._database_lost)
            if not was_away:
                log.store_away(error)
        else:
            self._schedule.store_answered()
            if was_away:
                log.store_back()

    def _tick(self, now: float) -> None:
        ticked = self._store.schedules.tick(random.random)
        for tick in ticked.ticks:
            log.ticked(tick)
        for name, reason in ticked.unreadable.items():
            if self._unreadable.get(name) != reason:
                log.unreadable(name, reason)
        self._unreadable = ticked.unreadable
        if any(tick.jobs for tick in ticked.ticks):
            self._schedule.hurry(Chore.HAND_OVER, now)
        if ticked.wait is not None:
            self._schedule.hurry(Chore.TICK, time.monotonic() + ticked.wait)

    def _hand_over(self, now: float) -> None:
        if not self._servers.up:
            return
        jobs = self._store.hand_over(_BATCH, self._options.max_unclaimed)
        if jobs or self._servers.held:
            self._servers.hand_over(jobs, self._store.id, now)
        if jobs:
            log.handed_over(jobs)
            self._handed_at = now
            self._schedule.hurry(Chore.HAND_OVER, now + SPACING)

    def _release(self, now: float) -> None:
        names, self._room = self._room, set()
        looks_at_all = now >= self._look_for_room_at
        released = self._store.release(None if looks_at_all else names)
        if looks_at_all:
            self._look_for_room_at = now + (time.monotonic() - now) * _REST_FROM_LIMITS
        if released.jobs:
            self._schedule.hurry(Chore.HAND_OVER, now)
        if released.wait < math.inf:
            at = max(now + released.wait, self._look_for_room_at)
            self._schedule.hurry(Chore.RELEASE, at)

    def _look(self, now: float) -> None:
        """Asks job servers for the jobs that nobody has claimed for a while."""
        if self._servers.held and now >= self._held_until:
            self._held_until = now + CONFIRMED_FOR / 2
            self._store.confirm(self._servers.held, CONFIRMED_FOR)
        if self._question is not None or not self._servers.up or self._losses.is_settling(now):
            return
        jobs = self._store.handed_before(self._losses.age(now), _QUESTIONS)
        if jobs:
            self._question = self._servers.ask(jobs, self._store.id, now)
        else:
            self._losses.none_left(now)

    def _judge(self, question: Question, now: float) -> None:
        """Does what follows from the answers of job servers."""
        confirmed: list[str] = []
        lost: list[HandedOver] = []
        known = question.known.union(self._servers.held)
        for job in question.jobs:
            if job.id in question.undecided - known:
                continue
            verdict = self._losses.judge(job, now, is_known=job.id in known)
            if verdict is Verdict.CONFIRM:
                confirmed.append(job.id)
            elif verdict is Verdict.AGAIN:
                lost.append(job)
        self._store.confirm(confirmed, CONFIRMED_FOR)
        if lost:
            self._hand_over_again(lost, now)
        if len(confirmed) + len(lost) < len(question.jobs):
            self._schedule.hurry(Chore.LOOK, now + MISSING_FOR)
        elif len(question.jobs) >= _QUESTIONS or self._losses.is_in_doubt(now):
            self._schedule.hurry(Chore.LOOK, now)

    def _hand_over_again(self, jobs: list[HandedOver], now: float) -> None:
        again = self._store.hand_over_again(
            jobs, counts=self._losses.counts(now), seconds=self._losses.pause(now)
        )
        for job in again.failed:
            log.never_claimed(job)
        if again.handed:
            self._servers.hand_over(again.handed, self._store.id, now)
            log.lost(again.handed)

    def _bury(self, now: float) -> None:
        counts = now - self._database_lost >= _DATABASE_SETTLES
        for id in self._store.dead_processes():
            self._children.take_back(id, id, counts=counts, now=now)

    def _count(self, now: float) -> None:
        log.counted(self._store.counts())

    def _prune(self, now: float) -> None:
        """Forgets one batch of old records, unless there is other work."""
        is_busy = now - self._handed_at < 1.0
        if is_busy and now - self._pruned_at < _QUIET_WITHIN:
            return
        self._pruned_at = now
        self._store.forget_limits()
        for state, keep in self._options.kept.items():
            count = self._store.prune(state, keep, _PRUNED)
            if count:
                log.pruned(count)
            if count >= _PRUNED:
                self._schedule.hurry(Chore.PRUNE, now + 10 * SPACING)

    def _part(self) -> None:
        """Does what is left to do in the end: the last processes of the runner have ended."""
        if self._children.ended:
            self._do(Chore.CHILDREN, self._children.look_after)
        until = time.monotonic() + _PARTING
        while self._servers.is_waiting and (left := until - time.monotonic()) > 0:
            for descriptor in self._poller.wait(left):
                self._take(descriptor)
            self._waker.clear()
