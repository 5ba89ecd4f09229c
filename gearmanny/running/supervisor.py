"""Keeps a process in every slot: starts, watches, replaces, stops. It obeys `RestartTable`.

A slot has one process that stays. One that is to be replaced leaves when its
successor is ready to serve, so that service never drops; what has been told to
stop counts for nothing any more but its grace.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import wait

from gearmanny.net.polling import Poller, Waker
from gearmanny.running.childprocess import Slot
from gearmanny.running.options import RunnerOptions
from gearmanny.running.restarts import RestartTable
from gearmanny.running.workprocess import WorkProcess

logger = logging.getLogger("gearmanny.runner")

_READY_TIMEOUT = 60.0
"""Seconds for a successor to be ready. After that, others do not wait for it to be replaced in
their turn, and a process that may have outgrown its memory leaves without one."""

_ASK_INTERVAL = 0.5
"""Seconds between looks whether a process has ended, where the system does not tell by itself."""


class Supervisor:
    """Keeps processes alive until it is told to stop, or gives up."""

    def __init__(self, slots: Sequence[Slot], options: RunnerOptions, *, keep_alive: bool) -> None:
        """
        Args:
            slots: what is to run.
            options: how, and until when.
            keep_alive: whether a process that ends by itself is replaced.
        """
        self._options = options
        self._grace = options.grace
        self._keep_alive = keep_alive
        self._restarts = RestartTable(
            max_crashes=options.max_crashes, crash_window=options.crash_window
        )
        self._due = dict.fromkeys(slots, 0.0)
        self._children: list[WorkProcess] = []
        self._waker = Waker()
        self._stops = 0
        self._stops_obeyed = 0
        self._restart_wanted = False
        self._all_well = True

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stops > 0

    def stop(self) -> None:
        """Lets `run` return once the current jobs are done; called again, at once. For signal
        handlers and threads."""
        self._stops += 1
        self._waker.wake()

    def restart(self) -> None:
        """Replaces the processes, one after another. For signal handlers and threads."""
        self._restart_wanted = True
        self._waker.wake()

    def pause(self, seconds: float) -> None:
        """Waits, but not longer than until it is told something."""
        poller = Poller()
        poller.add(self._waker)
        poller.wait(seconds)
        self._waker.clear()

    def run(self) -> bool:
        """Works until all processes have ended and none is due.

        Returns:
            Whether it neither gave up nor, without `keep_alive`, saw a process end badly.
        """
        try:
            while True:
                self._obey()
                self._replace_outdated()
                self._start_due()
                if not self._children and not self._due:
                    return self._all_well
                self._kill_overdue()
                self._wait()
                for child in self._children:
                    self._hear(child)
                for child in list(self._children):
                    if child.exit_code is not None:
                        self._bury(child)
        finally:
            for child in self._children:
                child.kill()
                child.close()

    def close(self) -> None:
        """Gives back what `run` waited with."""
        self._waker.close()

    def _obey(self) -> None:
        if self._stops > self._stops_obeyed:
            self._stops_obeyed = self._stops
            if self._stops == 1:
                logger.info(
                    "finishing the current jobs; a second signal ends them at once",
                    extra={"action": "stopping"},
                )
                self._stop_all()
            else:
                logger.warning(
                    "ending at once; unfinished jobs go back to their queues",
                    extra={"action": "killing"},
                )
                self._due.clear()
                for child in self._children:
                    child.kill()
        if self._restart_wanted:
            self._restart_wanted = False
            self._outdate_all()

    def _stop_all(self) -> None:
        self._due.clear()
        for child in self._children:
            self._stop(child)

    def _stop(self, child: WorkProcess) -> None:
        if not child.leaving:
            child.stop(self._grace)

    def _outdate_all(self) -> None:
        if not self._children or all(child.leaving for child in self._children):
            return
        logger.info("replacing the processes, one after another", extra={"action": "restarting"})
        for child in self._children:
            if child.leaving:
                continue
            if child.ready:
                child.outdated = True
            else:  # it serves nobody yet, and may wait for what has changed
                self._stop(child)
                self._due.setdefault(child.slot, 0.0)

    def _replace_outdated(self) -> None:
        """Lets those leave whose successor is ready, and begins to replace the next one."""
        now = time.monotonic()
        busy = False
        for child in self._children:
            if child.replaced_since is None or child.leaving:
                continue
            if any(successor.ready for successor in self._staying(child.slot)):
                self._stop(child)
            elif now < child.replaced_since + _READY_TIMEOUT:
                busy = True
            elif child.recycling:
                logger.warning(
                    "no replacement of process %s, pid %s, was ready within %g s; it leaves",
                    child.slot,
                    child.pid,
                    _READY_TIMEOUT,
                    extra={"action": "replacement_late"},
                )
                self._stop(child)
        if busy:
            return
        for child in self._children:
            if child.outdated and child.replaced_since is None and not child.leaving:
                child.replaced_since = now
                self._due.setdefault(child.slot, 0.0)
                return

    def _staying(self, slot: Slot) -> list[WorkProcess]:
        return [
            child
            for child in self._children
            if child.slot == slot and child.replaced_since is None and not child.leaving
        ]

    def _start_due(self) -> None:
        for slot, at in list(self._due.items()):
            now = time.monotonic()
            if at > now:
                continue
            try:
                child = WorkProcess(slot, self._options)
            except OSError as error:
                delay = self._restarts.delay(slot, now, now)
                self._due[slot] = now + delay
                logger.error(
                    "process %s cannot be started (%s); trying again in %.1f s",
                    slot,
                    error,
                    delay,
                    extra={"action": "child_delayed"},
                )
                continue
            del self._due[slot]
            self._children.append(child)
            logger.info(
                "process %s started with pid %d", slot, child.pid, extra={"action": "child_started"}
            )

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.kill_at is not None and child.kill_at <= now:
                logger.warning(
                    "process %s, pid %s, is busy after %g s of grace; ending it, unfinished jobs "
                    "go back to their queues",
                    child.slot,
                    child.pid,
                    self._grace,
                    extra={"action": "killing"},
                )
                child.kill()

    def _wait(self) -> None:
        now = time.monotonic()
        chores = [
            *self._due.values(),
            *(child.kill_at for child in self._children if child.kill_at is not None),
            *(
                late
                for child in self._children
                if child.replaced_since is not None
                and not child.leaving
                and (late := child.replaced_since + _READY_TIMEOUT) > now
            ),
        ]
        if any(child.must_be_asked for child in self._children):
            chores.append(now + _ASK_INTERVAL)
        news = [descriptor for child in self._children for descriptor in child.to_wait_for()]
        wait(
            [self._waker.fileno(), *news],
            max(0.0, min(chores) - now) if chores else None,
        )
        self._waker.clear()

    def _hear(self, child: WorkProcess) -> None:
        reason = child.hear()
        if reason is None or child.leaving:
            return
        logger.info(
            "process %s, pid %s, is to be recycled: %s",
            child.slot,
            child.pid,
            reason,
            extra={"action": "recycling"},
        )
        if self._keep_alive:
            child.outdated = True
        else:
            self._stop(child)

    def _bury(self, child: WorkProcess) -> None:
        self._children.remove(child)
        child.hear()  # what it told last
        slot, crashed, ended = child.slot, child.crashed, time.monotonic()
        self._report_end(child)
        child.close()
        if child.leaving:
            return
        if crashed and not self._keep_alive:
            self._all_well = False
        elif crashed and self._restarts.is_crash_loop(slot, ended):
            self._give_up(slot)
        elif self._keep_alive and not self._staying(slot):
            delay = self._restarts.delay(slot, child.started, ended)
            self._due.setdefault(slot, ended + delay)
            if delay:
                logger.warning(
                    "process %s died at once; restarting in %.1f s",
                    slot,
                    delay,
                    extra={"action": "child_delayed"},
                )

    def _report_end(self, child: WorkProcess) -> None:
        code = child.exit_code or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        if not code and child.crashed and not child.leaving:
            how += ", though its workers had not stopped"
        logger.log(
            logging.INFO if child.leaving or not child.crashed else logging.ERROR,
            "process %s, pid %s, %s",
            child.slot,
            child.pid,
            how,
            extra={"action": "child_ended", "exit_code": code},
        )

    def _give_up(self, slot: Slot) -> None:
        self._all_well = False
        logger.error(
            "process %s crashed %d times within %g s; giving up, and stopping the others",
            slot,
            self._restarts.max_crashes,
            self._restarts.crash_window,
            extra={"action": "gave_up"},
        )
        self._stop_all()
