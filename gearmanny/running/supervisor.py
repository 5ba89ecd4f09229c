"""Keeps a process in every slot: carries out what the roster orders, and logs it."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import wait

from gearmanny.errors import InvalidTask
from gearmanny.net.polling import Poller, Waker
from gearmanny.running.childprocess import MISCONFIGURED, READY, Slot
from gearmanny.running.options import RunnerOptions
from gearmanny.running.restarts import RestartTable
from gearmanny.running.roster import (
    Delay,
    GiveUp,
    Kill,
    Member,
    Order,
    Roster,
    Stage,
    Start,
    Stop,
)
from gearmanny.running.workprocess import WorkProcess

logger = logging.getLogger("gearmanny.runner")

_READY_TIMEOUT = 60.0
"""Seconds for a successor to be ready: see `Roster`."""

_ASK_INTERVAL = 0.5
"""Seconds between two looks whether a process has ended, where the system does not notify."""


class Supervisor:
    """Keeps a process alive in every slot, until `stop` is called or it gives up."""

    def __init__(self, slots: Sequence[Slot], options: RunnerOptions, *, keep_alive: bool) -> None:
        """
        Args:
            slots: what is to run, one process each.
            options: the options of the runner.
            keep_alive: whether a process that ends by itself is replaced.
        """
        self._options = options
        self._roster = Roster(
            slots,
            RestartTable(max_crashes=options.max_crashes, crash_window=options.crash_window),
            keep_alive=keep_alive,
            grace=options.grace,
            ready_timeout=_READY_TIMEOUT,
        )
        self._processes: dict[Member[Slot], WorkProcess] = {}
        self._waker = Waker()
        self._stops = 0
        self._stops_obeyed = 0
        self._restart_wanted = False
        self._misconfigured: str | None = None
        """Why nothing was ever served."""

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stops > 0

    def stop(self) -> None:
        """Lets `run` return once the current jobs are done; a second call ends them at once.

        For signal handlers and threads.
        """
        self._stops += 1
        self._waker.wake()

    def restart(self) -> None:
        """Replaces the processes, one after another. For signal handlers and threads."""
        self._restart_wanted = True
        self._waker.wake()

    def pause(self, seconds: float) -> None:
        """Waits, until `stop` or `restart` is called at the longest.

        Args:
            seconds: how long.
        """
        poller = Poller()
        poller.add(self._waker)
        poller.wait(seconds)
        self._waker.clear()

    def run(self) -> bool:
        """Works until all processes have ended and none is to be started.

        Returns:
            Whether it neither gave up nor, without `keep_alive`, saw a process end badly.

        Raises:
            InvalidTask: the workers of a process cannot be made, and no process has served before.
        """
        try:
            while True:
                self._obey()
                self._carry_out(self._roster.advance(time.monotonic()))
                if self._roster.done:
                    if self._misconfigured is not None:
                        raise InvalidTask(self._misconfigured)
                    return self._roster.all_well
                self._wait()
                for member, process in list(self._processes.items()):
                    ended = process.exit_code is not None  # before it is heard for the last time
                    self._hear(member, process)
                    if ended:
                        self._bury(member, process)
        finally:
            for process in self._processes.values():
                process.kill()
                process.close()

    def close(self) -> None:
        """Releases what `run` and `pause` wait with."""
        self._waker.close()

    def _obey(self) -> None:
        """Takes in what signal handlers and threads asked for."""
        while self._stops_obeyed < self._stops:
            self._stops_obeyed += 1
            if self._stops_obeyed == 1:
                logger.info(
                    "finishing the current jobs; a second signal ends them at once",
                    extra={"action": "stopping"},
                )
            else:
                logger.warning(
                    "ending at once; unfinished jobs go back to their queues",
                    extra={"action": "killing"},
                )
            self._carry_out(self._roster.stop(time.monotonic()))
        if self._restart_wanted:
            self._restart_wanted = False
            if any(member.stage is not Stage.LEAVING for member in self._roster.members):
                logger.info(
                    "replacing the processes, one after another", extra={"action": "restarting"}
                )
            self._carry_out(self._roster.restart(time.monotonic()))

    def _carry_out(self, orders: Iterable[Order[Slot]]) -> None:
        for order in orders:
            match order:
                case Start(member):
                    self._start(member)
                case Stop(member, late):
                    if late:
                        self._log_late(member)
                    self._processes[member].stop()
                case Kill(member, overdue):
                    if overdue:
                        self._log_overdue(member)
                    self._processes[member].kill()
                case Delay(slot, seconds):
                    logger.warning(
                        "process %s ended soon after its start; restarting in %.1f s",
                        slot,
                        seconds,
                        extra={"action": "child_delayed"},
                    )
                case GiveUp(slot):
                    logger.error(
                        "process %s crashed %d times within %g s; giving up, and stopping the "
                        "others",
                        slot,
                        self._options.max_crashes,
                        self._options.crash_window,
                        extra={"action": "gave_up"},
                    )

    def _start(self, member: Member[Slot]) -> None:
        try:
            process = WorkProcess(member.slot, self._options)
        except OSError as error:
            delay = self._roster.not_started(member, time.monotonic())
            logger.error(
                "process %s cannot be started (%s); trying again in %.1f s",
                member.slot,
                error,
                delay,
                extra={"action": "child_delayed"},
            )
            return
        self._processes[member] = process
        logger.info(
            "process %s started with pid %d",
            member.slot,
            process.pid,
            extra={"action": "child_started"},
        )

    def _wait(self) -> None:
        now = time.monotonic()
        wakes_at = self._roster.wakes_at(now)
        timeout = None if wakes_at is None else max(0.0, wakes_at - now)
        processes = self._processes.values()
        if any(process.must_be_asked for process in processes):
            timeout = _ASK_INTERVAL if timeout is None else min(timeout, _ASK_INTERVAL)
        news = [descriptor for process in processes for descriptor in process.to_wait_for()]
        wait([self._waker.fileno(), *news], timeout)
        self._waker.clear()

    def _hear(self, member: Member[Slot], process: WorkProcess) -> None:
        for message in process.hear():
            if message == READY:
                self._roster.ready(member)
                continue
            if message.startswith(MISCONFIGURED):
                self._reject(member, message.removeprefix(MISCONFIGURED).decode())
                continue
            if member.stage is not Stage.LEAVING:
                logger.info(
                    "process %s, pid %s, is to be recycled: %s",
                    member.slot,
                    process.pid,
                    message.decode(),
                    extra={"action": "recycling"},
                )
            self._carry_out(self._roster.ask(member, time.monotonic()))

    def _reject(self, member: Member[Slot], reason: str) -> None:
        """Takes in that the workers of a process cannot be made."""
        text = f"The workers of process {member.slot} cannot be made: {reason}"
        if self._roster.has_served:
            logger.error("%s", text, extra={"action": "child_failed"})
        elif self._misconfigured is None:
            self._misconfigured = text
            self._carry_out(self._roster.reject(time.monotonic()))

    def _bury(self, member: Member[Slot], process: WorkProcess) -> None:
        crashed = process.crashed
        self._log_end(member, process)
        del self._processes[member]
        process.close()
        self._carry_out(self._roster.end(member, time.monotonic(), crashed=crashed))

    def _log_end(self, member: Member[Slot], process: WorkProcess) -> None:
        code = process.exit_code or 0
        unexpected = process.crashed and member.stage is not Stage.LEAVING
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        if not code and unexpected:
            how += ", though its workers had not stopped"
        logger.log(
            logging.ERROR if unexpected else logging.INFO,
            "process %s, pid %s, %s",
            member.slot,
            process.pid,
            how,
            extra={"action": "child_ended", "exit_code": code},
        )

    def _log_late(self, member: Member[Slot]) -> None:
        logger.warning(
            "no replacement of process %s, pid %s, was ready within %g s; it leaves",
            member.slot,
            self._processes[member].pid,
            _READY_TIMEOUT,
            extra={"action": "replacement_late"},
        )

    def _log_overdue(self, member: Member[Slot]) -> None:
        logger.warning(
            "process %s, pid %s, is busy after %g s of grace; ending it, unfinished jobs go back "
            "to their queues",
            member.slot,
            self._processes[member].pid,
            self._options.grace,
            extra={"action": "killing"},
        )
