"""A process that runs workers: how it is made, what happens in it, what it tells its parent.

A terminal sends Ctrl-C, and that it was closed, to the whole process group:
children ignore both and are told to stop by the parent alone, so that one
Ctrl-C never counts as two.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, Protocol

from gearmanny import timelimits
from gearmanny.gearman_api import GearmanWorker
from gearmanny.hooks import Hook
from gearmanny.tls import TLS
from gearmanny.worker import BaseWorker

logger = logging.getLogger("gearmanny.runner")

_PARENT_CHECK_INTERVAL = 0.5
"""Seconds a child may outlive a parent that was killed, where the kernel does not end it. A pipe
would tell sooner, but any process that the parent forks meanwhile would hold its other end open."""

_PR_SET_PDEATHSIG = 1

_HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_READY = b""
"""What a child tells first. Whatever it tells later is the reason why it should be replaced."""

_processes = multiprocessing.get_context("fork")


class Closable(Protocol):
    """What a child gives back that it inherited."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one child: what it runs, and its number among the children that run the same."""

    work_class: type[GearmanWorker]
    workers: tuple[type[BaseWorker], ...]
    number: int

    def __str__(self) -> str:
        return f"{'+'.join(worker.name for worker in self.workers)}-{self.number}"


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """What a child does with its workers. `WorkRunner` tells the meaning of each."""

    hosts: Sequence[str] | None
    verbosity: int
    hooks: tuple[Hook, ...]
    send_tracebacks: bool | None
    prefetch: int | None
    concurrency: int | None
    max_packet: int
    tls: TLS | None
    max_jobs: int | None
    max_memory: int | None


class WorkProcess:
    """A child, as its parent sees it."""

    def __init__(self, slot: Slot, options: WorkOptions, inherited: Sequence[Closable]) -> None:
        """Forks it.

        Args:
            slot: what it runs.
            options: how.
            inherited: what only the parent needs: the child closes it.

        Raises:
            OSError: the system has no room for it.
        """
        self.slot = slot
        self.started = time.monotonic()
        self.ready = False
        """Whether it serves: a job server has answered it, or none of them can be reached."""
        self.recycling = False
        """Whether it asked to be replaced."""
        self.outdated = False
        """Whether it is to be replaced."""
        self.replaced_since: float | None = None
        """When its replacement was begun, by `time.monotonic`."""
        self.leaving = False
        """Whether it was told to stop."""
        self.kill_at: float | None = None
        """When it has to have stopped, by `time.monotonic`."""
        self.news, teller = _processes.Pipe(duplex=False)
        self._process = _processes.Process(
            target=_run,
            args=(slot, options, _Parent(), teller, (self.news, *inherited)),
            name=f"gearmanny {slot}",
        )
        try:
            with signals_held_back():
                self._process.start()
        except OSError:
            self.news.close()
            raise
        finally:
            teller.close()

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Returns None while it lives; negative is the signal that ended it."""
        return self._process.exitcode

    def to_wait_for(self) -> list[Connection | int]:
        """Returns what is readable when it has news or has ended."""
        return [self._process.sentinel, *([] if self.news.closed else [self.news])]

    def hear(self) -> str | None:
        """Takes in what it told; returns the reason when it asks to be replaced."""
        reason = None
        try:
            while not self.news.closed and self.news.poll():
                told = self.news.recv_bytes()
                if told == _READY:
                    self.ready = True
                else:
                    self.recycling = True
                    reason = told.decode()
        except (EOFError, OSError):
            self.news.close()
        return reason

    def stop(self, grace: float | None) -> None:
        """Lets it finish its job within so many seconds. To be told once."""
        self.leaving = True
        self.kill_at = None if grace is None else time.monotonic() + grace
        self._process.terminate()

    def kill(self) -> None:
        """Ends it; gearmand gives its jobs to other workers."""
        self.leaving = True
        self.kill_at = None
        self._process.kill()

    def close(self) -> None:
        """Waits for its end, and gives back what it held."""
        self._process.join()
        self._process.close()
        self.news.close()


class _Parent:
    """What a child has to know of who forks it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.is_main_thread = threading.current_thread() is threading.main_thread()


class _Reporter:
    """Tells the parent what happens in the loop of a child."""

    def __init__(self, teller: Connection, options: WorkOptions) -> None:
        self._teller = teller
        self._max_jobs = options.max_jobs
        self._max_memory = options.max_memory
        self._jobs = 0
        self._asked = False

    def ready(self) -> None:
        self._tell(_READY)

    def job_done(self) -> None:
        self._jobs += 1
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
        self._tell(reason.encode())

    def _tell(self, news: bytes) -> None:
        with contextlib.suppress(OSError):  # without a parent this process is about to end
            self._teller.send_bytes(news)


def resident_memory() -> int | None:
    """Returns how much memory of this process is resident, in whole MiB; None where the system
    does not tell (`/proc/self/statm`, Linux)."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return None
    try:
        pages = int(os.read(descriptor, 256).split()[1])
    finally:
        os.close(descriptor)
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def _run(
    slot: Slot,
    options: WorkOptions,
    parent: _Parent,
    teller: Connection,
    inherited: Sequence[Closable],
) -> None:
    # Ready for a signal before anything of the user's runs.
    first: BaseWorker | None = None
    stopped = False

    def handle(number: int, frame: FrameType | None = None) -> None:
        nonlocal stopped
        stopped = True
        if first is not None:
            first.stop()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, handle)
    if not parent.is_main_thread:
        timelimits.interrupt_by_signals = False
        _handle_in_a_thread(signal.SIGTERM, handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED_SIGNALS)
    for closable in inherited:
        closable.close()
    end_with(parent.pid)
    try:
        gearman_worker = slot.work_class()
        made = [_make(worker, gearman_worker, options) for worker in slot.workers]
        made[0].prefetch = options.prefetch or min(worker.prefetch for worker in made)
        made[0].concurrency = options.concurrency or max(w.concurrency for w in made)
        made[0].max_packet = options.max_packet
        made[0].tls = options.tls or made[0].tls
        made[0].observer = _Reporter(teller, options)
        first = made[0]
        if stopped:
            first.stop()
        first.start()
    except Exception:
        logger.exception("process %s failed", slot, extra={"action": "child_failed"})
        sys.exit(1)


def _handle_in_a_thread(number: int, handle: Callable[[int], object]) -> None:
    """Lets a thread call the handler of a signal, beside Python.

    Since 3.13, Python tells of signals the thread that was the main one before the fork. In a child
    of another thread, which is its main thread now, handlers run only when a signal happens to
    interrupt a system call.
    """
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)

    def receive() -> None:
        while received := os.read(receiver, 1):
            if received[0] == number:
                handle(number)

    threading.Thread(target=receive, name="gearmanny signals", daemon=True).start()


def _make(
    worker: type[BaseWorker], gearman_worker: GearmanWorker, options: WorkOptions
) -> BaseWorker:
    arguments: dict[str, Any] = {"hosts": options.hosts, "verbosity": options.verbosity}
    made = worker(gearman_worker=gearman_worker, **arguments)
    made.hooks = (*options.hooks, *made.hooks)
    if options.send_tracebacks is not None:
        made.send_tracebacks = options.send_tracebacks
    return made


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Lets a signal for a child that is forked wait until the child can handle it, so that it is
    not taken for one to the parent, whose handlers the child inherits."""
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


def end_with(parent: int) -> None:
    """Sees to it that this process ends when its parent does, and its job goes back to the queue.

    Args:
        parent: process id of the parent.
    """
    # The kernel does it at once, also to a task that keeps the interpreter for itself.
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0:
        if os.getppid() != parent:  # it ended before the kernel was asked
            os._exit(1)
        return
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_INTERVAL)
    os._exit(1)
