"""A process that runs workers, as its parent knows it."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection

from gearmanny.net.forks import keep_from_children, signals_held_back
from gearmanny.running.childprocess import (
    FINISHED,
    HANDLED_SIGNALS,
    Parent,
    Shared,
    run,
)
from gearmanny.running.inherited import flush_logs
from gearmanny.running.memory import keep_shared
from gearmanny.running.pulse import Pulse, Vitals
from gearmanny.running.slots import Slot
from gearmanny.running.stacks import SIGNAL, Stacks
from gearmanny.working.condemned import CondemnedJobs
from gearmanny.working.jobtable import JobTable, RunningJob
from gearmanny.working.ledger import SharedLedger

_processes = multiprocessing.get_context("fork")


class WorkProcess:
    """A process that runs the workers of a slot."""

    def __init__(self, slot: Slot, condemned: CondemnedJobs, *, dumps_stacks: bool) -> None:
        """Forks it.

        Args:
            slot: what it runs.
            condemned: the jobs that are not to be run as others are.
            dumps_stacks: whether `ask_for_stacks` is going to be called.

        Raises:
            OSError: the system cannot start another process.
        """
        self.slot = slot
        self._finished = False
        """Whether its workers stopped by themselves. Without that, any end is a crash."""
        self._jobs = JobTable()
        self._pulse = Pulse()
        self._stacks = Stacks()
        news, reports = _processes.Pipe(duplex=False)
        self._news: Connection | None = keep_from_children(news)
        ledger = SharedLedger(self._jobs, condemned)
        shared = Shared(reports, ledger, self._pulse, self._stacks)
        self._process = _processes.Process(
            target=run,
            args=(slot, Parent(dumps_stacks=dumps_stacks), shared),
            name=f"gearmanny {slot}",
        )
        flush_logs()
        keep_shared()
        try:
            with signals_held_back(HANDLED_SIGNALS):
                self._process.start()
        except OSError:
            self._news.close()
            self._close_shared()
            raise
        finally:
            reports.close()
        self._end = end_of(self._process.pid)

    def __str__(self) -> str:
        return f"process {self.slot}, pid {self.pid}"

    @property
    def pid(self) -> int | None:
        """The id of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process; None while it lives, negative the signal that ended it."""
        return self._process.exitcode

    @property
    def crashed(self) -> bool:
        """Whether it ended in another way than by its workers stopping."""
        return self.exit_code != 0 or not self._finished

    @property
    def running_jobs(self) -> list[RunningJob]:
        """The jobs that it runs, or was running when it ended."""
        return self._jobs.running()

    @property
    def has_failed_a_job(self) -> bool:
        """Whether it has answered a job with a failure."""
        return self._jobs.has_failure

    @property
    def pulse(self) -> int | None:
        """The number of its signs of life so far; None while it gives none, for good reason."""
        return self._pulse.count

    @property
    def vitals(self) -> Vitals:
        """Its signs of life."""
        return self._pulse.vitals

    @property
    def runs_jobs(self) -> bool:
        """Whether it runs any job."""
        return not self._jobs.is_empty()

    def ask_for_stacks(self) -> None:
        """Has the process write its stacks."""
        pid = self._process.pid
        if pid is not None and self.exit_code is None:
            os.kill(pid, SIGNAL)

    def take_stacks(self) -> str:
        """Returns the stacks that it has written; empty if there are none."""
        return self._stacks.take()

    def to_wait_for(self) -> list[Connection | int]:
        """Returns what becomes readable when the process reports something, or has ended.

        Its end is only known from the process itself: a pipe to it stays open while anything lives
        that it has forked.
        """
        return [each for each in (self._news, self._end) if each is not None]

    @property
    def must_be_asked(self) -> bool:
        """Whether the system does not notify of the end of the process."""
        return self._end is None

    def hear(self) -> list[bytes]:
        """Returns what the process has reported since: `READY`, or why it should be replaced."""
        heard = []
        try:
            while self._news is not None and self._news.poll():
                message = self._news.recv_bytes()
                if message == FINISHED:
                    self._finished = True
                else:
                    heard.append(message)
        except (EOFError, OSError):
            self._close_news()
        return heard

    def stop(self) -> None:
        """Lets the process finish its current jobs. Call at most once: a second signal would count
        as another one."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends the process; gearmand gives its jobs to other workers."""
        self._process.kill()

    def close(self) -> None:
        """Waits for the end of the process, and releases what this object holds."""
        self._process.join()
        self._process.close()
        self._close_shared()
        self._close_news()
        if self._end is not None:
            os.close(self._end)
            self._end = None

    def _close_shared(self) -> None:
        self._jobs.close()
        self._pulse.close()
        self._stacks.close()

    def _close_news(self) -> None:
        if self._news is not None:
            self._news.close()
            self._news = None


def end_of(pid: int | None) -> int | None:
    """Returns a descriptor that becomes readable when a child has ended; None where there is no
    such thing, which is Linux's, since 5.3.

    Args:
        pid: the id of the child.
    """
    try:
        return os.pidfd_open(pid or 0)
    except (AttributeError, OSError):
        return None
