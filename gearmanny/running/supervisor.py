"""Keeps a process in every slot: carries out what the roster orders, and logs it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import wait

from gearmanny.errors import GearmanException, InvalidTask
from gearmanny.net.polling import Poller, Waker
from gearmanny.running import log
from gearmanny.running.backlog import Backlog
from gearmanny.running.childprocess import MISCONFIGURED, READY
from gearmanny.running.companions import Companion
from gearmanny.running.deaths import ALONE, Deaths
from gearmanny.running.dispatchprocess import DispatchProcess
from gearmanny.running.health import Health
from gearmanny.running.options import RunnerOptions
from gearmanny.running.orders import Delay, GiveUp, Kill, Member, Order, Stage, Start, Stop
from gearmanny.running.orphans import INTERVAL, bury_orphans, inherits_orphans
from gearmanny.running.restarts import RestartTable
from gearmanny.running.roster import Roster
from gearmanny.running.slots import Slot
from gearmanny.running.stacks import WRITTEN_WITHIN, Stacks
from gearmanny.running.stalls import Stalls
from gearmanny.running.workprocess import WorkProcess
from gearmanny.working.condemned import CondemnedJobs
from gearmanny.working.jobtable import RunningJob

_READY_TIMEOUT = 60.0
"""Seconds for a successor to be ready: see `Roster`."""

_COMPANION_INTERVAL = 1.0
"""Seconds between two attempts to replace processes beside the workers."""

_ASK_INTERVAL = 0.5
"""Seconds between two looks whether a process has ended, where the system does not notify."""


class Supervisor:
    """Keeps a process alive in every slot, until `stop` is called or it gives up."""

    def __init__(
        self,
        slots: Sequence[Slot],
        options: RunnerOptions,
        *,
        keep_alive: bool,
        companions: Sequence[Companion] = (),
        backlog: Backlog | None = None,
    ) -> None:
        """
        Args:
            slots: what is to run, one process each.
            options: the options of the runner.
            keep_alive: whether a process that ends by itself is replaced.
            companions: processes beside them, which are replaced, too.
            backlog: the jobs after which to end; None: only when told to.

        Raises:
            InvalidOption: the health file cannot be written.
        """
        self._health = Health(options)
        self._slots = slots
        self._options = options
        self._roster = Roster(
            slots,
            RestartTable(max_crashes=options.max_crashes, crash_window=options.crash_window),
            keep_alive=keep_alive,
            grace=lambda slot: slot.options.grace,
            ready_timeout=_READY_TIMEOUT,
        )
        self._processes: dict[Member[Slot], WorkProcess] = {}
        self._deaths = Deaths(options.max_deaths)
        self._condemned = CondemnedJobs()
        self._others = companions
        self._backlog = backlog
        self.dispatcher: DispatchProcess | None = None
        """One more of them, which is told of the processes that end."""
        self._companions_due = -math.inf
        self._inherits_orphans = inherits_orphans()
        self._stalls = Stalls[WorkProcess](options.stall_timeout or math.inf)
        self._stacks = Stacks()
        self.dumps_stacks = False
        """Whether `dump_stacks` is going to be called."""
        self._stacks_wanted = False
        self._stacks_due = math.inf
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

    def dump_stacks(self) -> None:
        """Writes the Python stacks of all processes to the log. For signal handlers and threads."""
        self._stacks_wanted = True
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
        self.look_at_health()

    def look_at_health(self) -> None:
        """Writes down how the processes are, if that is due."""
        self._health.look(() if self.stopping else self._slots, self._processes.items())

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
                self._watch()
                for member, process in list(self._processes.items()):
                    ended = process.exit_code is not None  # before it is heard for the last time
                    self._hear(member, process)
                    if ended:
                        self._bury(member, process)
        finally:
            for process in self._processes.values():
                process.kill()
                self._close(process, ordered=True)

    def close(self) -> None:
        """Releases what `run` and `pause` wait with."""
        self._waker.close()
        self._condemned.close()
        self._stacks.close()
        self._health.close()

    def _obey(self) -> None:
        """Takes in what signal handlers and threads asked for."""
        while self._stops_obeyed < self._stops:
            self._stops_obeyed += 1
            log.stopping(at_once=self._stops_obeyed > 1)
            self._carry_out(self._roster.stop(time.monotonic()))
        if self._restart_wanted:
            self._restart_wanted = False
            if any(member.stage is not Stage.LEAVING for member in self._roster.members):
                log.restarting()
            self._carry_out(self._roster.restart(time.monotonic()))
        if self._stacks_wanted:
            self._stacks_wanted = False
            self._stacks_due = time.monotonic() + WRITTEN_WITHIN
            for process in self._processes.values():
                process.ask_for_stacks()

    def _carry_out(self, orders: Iterable[Order[Slot]]) -> None:
        for order in orders:
            match order:
                case Start(member):
                    self._start(member)
                case Stop(member, late):
                    if late:
                        log.late(self._processes[member], _READY_TIMEOUT)
                    self._processes[member].stop()
                case Kill(member, overdue):
                    if overdue:
                        log.overdue(self._processes[member], member.slot.options.grace)
                    self._processes[member].kill()
                case Delay(slot, seconds):
                    log.delayed(slot, seconds)
                case GiveUp(slot):
                    log.gave_up(slot, self._options)

    def _start(self, member: Member[Slot]) -> None:
        try:
            process = WorkProcess(member.slot, self._condemned, dumps_stacks=self.dumps_stacks)
        except OSError as error:
            delay = self._roster.not_started(member, time.monotonic())
            log.not_started(member.slot, error, delay)
            return
        self._processes[member] = process
        log.started(process)

    def _wait(self) -> None:
        now = time.monotonic()
        processes = self._processes.values()
        at = min(self._roster.wakes_at(now) or math.inf, self._stacks_due, self._health.due)
        timeout = min(max(0.0, at - now), self._stalls.interval)
        if self._backlog is not None and not self.stopping:
            timeout = min(timeout, max(0.0, self._backlog.looks_at - now))
        if any(process.must_be_asked for process in processes):
            timeout = min(timeout, _ASK_INTERVAL)
        if self._inherits_orphans:
            timeout = min(timeout, INTERVAL)
        if not self.stopping:
            ended = [each for each in self._companions() if each.has_ended()]
            timeout = min(timeout, max(0.0, self._companions_due - now)) if ended else timeout
        news = [descriptor for process in processes for descriptor in process.to_wait_for()]
        news += [each.sentinel for each in self._companions() if not each.has_ended()]
        wait([self._waker.fileno(), *news], timeout if timeout < math.inf else None)
        self._waker.clear()

    def _watch(self) -> None:
        """Looks after processes: those without a sign of life, those asked for stacks, orphans."""
        self.look_at_health()
        if self._inherits_orphans:
            bury_orphans()
        now = time.monotonic()
        if not self.stopping and now >= self._companions_due:
            self._replace_companions(now)
        self._end_without_jobs(now)
        pulses = {process: process.pulse for process in self._processes.values()}
        for process, stalled in self._stalls.look(pulses, now).items():
            log.stalled(process, self._options.stall_timeout, stalled=stalled)
        if now >= self._stacks_due:
            self._stacks_due = math.inf
            self._stacks.write()
            log.stacks("the runner", self._stacks.take())
            for process in pulses:
                log.stacks(process, process.take_stacks())

    def _end_without_jobs(self, now: float) -> None:
        """Stops when nothing is left to do, if that is wanted."""
        if self._backlog is None or self.stopping or now < self._backlog.looks_at:
            return
        processes = self._processes.values()
        working = self._roster.is_starting or any(process.running_jobs for process in processes)
        if self._backlog.is_worked_off(
            [process.pid for process in processes], working=working, now=now
        ):
            log.worked_off()
            self._stops = self._stops_obeyed = 1
            self._carry_out(self._roster.stop(now))

    def _replace_companions(self, now: float) -> None:
        for companion in self._companions():
            if companion.has_ended():
                self._companions_due = now + _COMPANION_INTERVAL
                try:
                    companion.replace()
                except (GearmanException, OSError) as error:
                    log.companion_not_started(companion, error)
                else:
                    log.companion_replaced(companion)

    def _companions(self) -> list[Companion]:
        return [*self._others, *([self.dispatcher] if self.dispatcher is not None else [])]

    def _hear(self, member: Member[Slot], process: WorkProcess) -> None:
        for message in process.hear():
            if message == READY:
                self._roster.ready(member)
                continue
            if message.startswith(MISCONFIGURED):
                self._reject(member, message.removeprefix(MISCONFIGURED).decode())
                continue
            if member.stage is not Stage.LEAVING:
                log.recycling(process, message.decode())
            self._carry_out(self._roster.ask(member, time.monotonic()))

    def _reject(self, member: Member[Slot], reason: str) -> None:
        """Takes in that the workers of a process cannot be made."""
        if self._roster.has_served:
            log.rejected(member.slot, reason)
        elif self._misconfigured is None:
            self._misconfigured = f"The workers of process {member.slot} cannot be made: {reason}"
            self._carry_out(self._roster.reject(time.monotonic()))

    def _bury(self, member: Member[Slot], process: WorkProcess) -> None:
        crashed = process.crashed
        unexpected = crashed and member.stage is not Stage.LEAVING
        jobs = process.running_jobs if unexpected else []
        log.ended(process, jobs, unexpected=unexpected)
        self._judge(jobs, log.end_of(process))
        del self._processes[member]
        if self._backlog is not None:
            self._backlog.note_end(jobs, failed=process.has_failed_a_job)
        self._close(process, ordered=member.stage is Stage.LEAVING)
        now, explained = time.monotonic(), bool(jobs and self._options.max_deaths)
        self._carry_out(self._roster.end(member, now, crashed=crashed, explained=explained))

    def _close(self, process: WorkProcess, *, ordered: bool) -> None:
        pid = process.pid
        process.close()
        if self.dispatcher is not None and pid is not None:
            self.dispatcher.child_ended(pid, ordered=ordered)

    def _judge(self, jobs: Sequence[RunningJob], end: str) -> None:
        """Sees to it that no job kills processes for ever."""
        for job, verdict in self._deaths.judge(jobs, end).items():
            self._condemned.add(job, verdict)
            if verdict != ALONE:
                log.condemned(job, verdict)
