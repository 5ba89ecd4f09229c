"""The life of a process that runs workers, and its reports to its parent.

A terminal sends its signals, for Ctrl-C and when it is closed, to the whole process group. Children
ignore them, and stop when their parent sends SIGTERM, so that one Ctrl-C never counts as two.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType

from gearmanny.errors import GearmanException, InvalidOption, InvalidTask
from gearmanny.net.forks import (
    Handler,
    end_as_a_program,
    end_with,
    end_with_still,
    handle_signals,
    ignore,
    keep_from_children,
    this_process,
)
from gearmanny.payload.checks import COUNT
from gearmanny.running import parting
from gearmanny.running.factory import make_workers
from gearmanny.running.inherited import reseed
from gearmanny.running.options import RunnerOptions
from gearmanny.running.pulse import Pulse
from gearmanny.running.slots import Slot
from gearmanny.running.stacks import SIGNAL, Stacks
from gearmanny.worker import BaseWorker
from gearmanny.working import timelimits
from gearmanny.working.ledger import Ledger

logger = logging.getLogger("gearmanny.runner")

HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, SIGNAL)
"""Signals that are blocked when a child starts, until it can handle them."""

READY = b""
"""The first report of a child: a job server has answered it, or none of them can be reached."""

FINISHED = b"\0"
"""The last report of a child whose workers stopped by themselves. Any other report is a reason to
replace it."""


MISCONFIGURED = b"\1"
"""How the report of a child begins whose workers cannot be made, and never could. Why follows."""


class Parent:
    """The process that forks a child, as far as the child has to know it."""

    def __init__(self, *, dumps_stacks: bool) -> None:
        """
        Args:
            dumps_stacks: whether it sends signals to have the child write its stacks.
        """
        self.pid = os.getpid()
        self.is_main_thread = threading.current_thread() is threading.main_thread()
        self.dumps_stacks = dumps_stacks


@dataclass(frozen=True, slots=True)
class Shared:
    """The things that a child shares with its parent."""

    reports: Connection
    """The pipe to the parent."""
    ledger: Ledger
    """Names the jobs that run."""
    pulse: Pulse
    """The sign of life of the child."""
    stacks: Stacks
    """Its stacks, when the parent wants them."""


class _Reporter:
    """An observer of the loop of a child: it reports to the parent."""

    def __init__(self, shared: Shared, options: RunnerOptions) -> None:
        self.ledger = shared.ledger
        self._reports = shared.reports
        self._pulse = shared.pulse if options.pulse_timeout else None
        self._max_jobs = options.max_jobs
        self._max_memory = options.max_memory
        self._recycle_after_timeout = options.recycle_after_timeout
        self._jobs = 0
        self._asked = False

    def ready(self) -> None:
        if self._pulse is not None:  # which rests if a setUp has forked
            self._pulse.resume()
        self._report(READY)

    def finished(self) -> None:
        self._report(FINISHED)

    def misconfigured(self, error: GearmanException) -> None:
        self._report(MISCONFIGURED + str(error).encode(errors="backslashreplace"))

    def interrupted(self) -> None:
        if self._recycle_after_timeout and not self._asked:
            self._ask_for_replacement("it interrupted a task")

    def job_done(self) -> None:
        self._jobs += 1
        if self._pulse is not None:
            self._pulse.resume()
        if self._asked:
            return
        if self._max_jobs is not None and self._jobs >= self._max_jobs:
            self._ask_for_replacement(f"{self._jobs} jobs are done")
        elif self._max_memory is not None:
            memory = resident_memory()
            if memory is not None and memory >= self._max_memory:
                self._ask_for_replacement(f"{memory} MiB are resident after {self._jobs} jobs")

    def _ask_for_replacement(self, reason: str) -> None:
        self._asked = True
        self._report(reason.encode())

    def _report(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # without a parent this process is about to end
            self._reports.send_bytes(message)


def resident_memory() -> int | None:
    """Returns the resident memory of this process in whole MiB; None on systems without
    `/proc/self/statm`, which is Linux's."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return None
    try:
        pages = int(os.read(descriptor, 256).split()[1])
    finally:
        os.close(descriptor)
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def check_memory(max_memory: int | None) -> None:
    """Checks that this process, of which others are copies, leaves them memory.

    Args:
        max_memory: MiB with which they are recycled; None: they are not.

    Raises:
        InvalidOption: it takes more already, or that is no number of MiB.
    """
    COUNT.check("max_memory", max_memory, optional=True)
    if max_memory is None:
        return
    taken = resident_memory()
    if taken is None:
        logger.warning(
            "max_memory is not enforced: this system has no /proc/self/statm",
            extra={"action": "memory_unknown"},
        )
    elif max_memory <= taken:
        raise InvalidOption(
            f"max_memory is {max_memory} MiB, but this process takes {taken} MiB before it has "
            "any children, which are copies of it. Allow more."
        )


def run(slot: Slot, parent: Parent, shared: Shared) -> None:
    """Runs the workers of a slot. A child does this and nothing else.

    Args:
        slot: what is run.
        parent: the process that forked this one.
        shared: what it shares with that process.

    Raises:
        SystemExit: with 1, when the workers cannot be made or their loop fails.
    """
    forks, options = this_process.forks, slot.options
    # Signals are handled before any code of the user runs.
    first: BaseWorker | None = None
    stopped = False

    def handle(number: int, frame: FrameType | None = None) -> None:
        nonlocal stopped
        stopped = True
        if first is not None:
            first.stop()

    handlers: dict[signal.Signals, Handler] = {signal.SIGTERM: handle, signal.SIGINT: ignore}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup does, for programs as well
        handlers[signal.SIGHUP] = ignore
    handle_signals(handlers)
    if not parent.is_main_thread:
        timelimits.interrupt_by_signals = False
        _handle_in_a_thread(signal.SIGTERM, handle)
    if parent.dumps_stacks:
        shared.stacks.write_on_signal()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
    keep_from_children(shared.reports)
    end_with(parent.pid)
    reseed()
    reporter = _Reporter(shared, options)
    if options.pulse_timeout is not None:
        shared.pulse.start(options.pulse_timeout, lambda: first.work_loop if first else None)
    try:
        try:
            made = make_workers(slot.workers, options.worker)
        except (InvalidTask, InvalidOption) as error:
            logger.debug("process %s failed", slot, exc_info=True, extra={"action": "child_failed"})
            reporter.misconfigured(error)
            sys.exit(1)
        if this_process.forks != forks:
            end_as_a_program()
        end_with_still(parent.pid)  # a setUp may have dropped privileges
        made[0].observer = reporter
        first = made[0]
        if stopped:
            first.stop()
        first.start()
    except Exception:
        logger.exception("process %s failed", slot, extra={"action": "child_failed"})
        parting.begin(str(slot), options.grace, exit_code=1)
        sys.exit(1)
    reporter.finished()
    parting.begin(str(slot), options.grace)


def _handle_in_a_thread(number: int, handle: Callable[[int], object]) -> None:
    """Lets a thread call the handler of a signal, in addition to Python.

    Since 3.13, Python notifies the thread that was the main one before the fork. In a child that
    another thread forked, and where that thread is the main one now, handlers run only if a signal
    happens to interrupt a system call.
    """
    receiver, sender = map(keep_from_children, socket.socketpair())
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)

    def receive() -> None:
        with sender:  # open for as long as there may be signals
            while received := receiver.recv(1):
                if received[0] == number:
                    handle(number)

    threading.Thread(target=receive, name="gearmanny signals", daemon=True).start()
