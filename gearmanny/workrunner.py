"""Keeps workers alive in processes. The only module that knows processes, and signals to them.

The parent forks, watches and restarts; it takes no jobs and opens no
connection. Children are forked rather than spawned, so that worker classes
need not be importable by name and a warmed-up Django is shared.

A terminal sends Ctrl-C to the whole process group: children ignore it and are
told to stop by the parent alone, so that one Ctrl-C never counts as two.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from types import FrameType
from typing import Any

from gearmanny.backoff import RestartTable
from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.gearman_api import GearmanWorker
from gearmanny.polling import Waker
from gearmanny.tasks import functions_of
from gearmanny.transport import HOSTS, parse_hosts
from gearmanny.worker import (
    BaseWorker,
    Hook,
    JsonWorker,
    check_prefetch,
    set_verbosity,
)

__all__ = ["WorkRunner"]

logger = logging.getLogger("gearmanny.runner")

_PARENT_CHECK_INTERVAL = 0.5
"""Seconds a child may outlive a parent that was killed. A pipe would tell sooner, but any
process that the parent forks meanwhile would hold its other end open."""

_PR_SET_PDEATHSIG = 1

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_processes = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place for one child: what it runs, and its number among the children that run the same."""

    work_class: type[GearmanWorker]
    workers: tuple[type[BaseWorker], ...]
    number: int

    def __str__(self) -> str:
        return f"{'+'.join(worker.name for worker in self.workers)}-{self.number}"


class WorkRunner:
    """Runs worker classes in processes and restarts what ends."""

    def __init__(
        self,
        workers: Sequence[type[BaseWorker]],
        hosts: Sequence[str] | None = None,
        verbosity: int = 0,
        *,
        hooks: Sequence[Hook] = (),
        send_tracebacks: bool | None = None,
        prefetch: int | None = None,
        default_work_class: type[GearmanWorker] = JsonWorker,
    ) -> None:
        """
        Args:
            workers: classes, not objects: they are made in the processes that run them.
            hosts: job servers, `"name:port"`. Default: `localhost:4730`.
            verbosity: 1 logs every job, 2 its arguments too, on the logger `gearmanny`.
            hooks: contexts around every job of every worker, outside of its own hooks.
            send_tracebacks: overrides what the worker classes say, unless None.
            prefetch: how many jobs a process asks for or holds at a time; overrides what the worker
                classes say, of which the least counts for those that share a process.
            default_work_class: stands in for `JsonWorker`, for workers that chose no other.

        Raises:
            InvalidTask: there are no workers, one cannot be exported, or two export the
                same function.
            InvalidOption: a host, or a prefetch, that cannot be.
        """
        if not workers:
            raise InvalidTask("There are no workers to run. Give at least one worker class.")
        owners: dict[str, type[BaseWorker]] = {}
        for worker in workers:
            for function in functions_of(worker):
                if function in owners:
                    raise InvalidTask(
                        f"{function}() is exported by {_path(owners[function])} and by "
                        f"{_path(worker)}. Give one of them another name."
                    )
                owners[function] = worker
        parse_hosts(HOSTS if hosts is None else hosts)
        if prefetch is not None:
            check_prefetch(prefetch)
        self._prefetch = prefetch
        set_verbosity(verbosity)
        self._workers = workers
        self._hosts = hosts
        self._verbosity = verbosity
        self._hooks = tuple(hooks)
        self._send_tracebacks = send_tracebacks
        self._default_work_class = default_work_class
        self._stops = 0
        self._waker: Waker | None = None

    def start(self, threads: int = 1, keepAlive: bool = True) -> bool:
        """Runs the workers until SIGTERM or SIGINT, which let the current jobs finish; a second
        signal ends them at once, and gearmand gives their jobs to other workers.

        Signals are handled only when this is called in the main thread; elsewhere, call `stop()`.

        Args:
            threads: processes for every distinct `work_class`; each runs all of its workers.
            keepAlive: whether a process that ends is replaced. If not, this returns when all
                have ended.

        Returns:
            Whether no process ended badly by itself: with an exit code, or killed by a signal.
            With `keepAlive`, such a one was replaced and does not count.

        Raises:
            InvalidOption: `threads` is no number of processes.
        """
        if not isinstance(threads, int) or threads < 1:
            raise InvalidOption(f"threads is a number of processes, at least 1, not {threads!r}.")
        self._waker = Waker()
        try:
            with self._signals_handled():
                return self._supervise(self._slots(threads), keepAlive)
        finally:
            self._waker.close()
            self._waker = None

    def stop(self) -> None:
        """Lets `start()` return once the current jobs are done; called again, at once."""
        self._stops += 1
        if self._waker is not None:
            self._waker.wake()

    def _slots(self, threads: int) -> list[_Slot]:
        groups: dict[type[GearmanWorker], list[type[BaseWorker]]] = {}
        for worker in self._workers:
            chosen = worker.work_class
            work_class = self._default_work_class if chosen is JsonWorker else chosen
            groups.setdefault(work_class, []).append(worker)
        return [
            _Slot(work_class, tuple(workers), number)
            for work_class, workers in groups.items()
            for number in range(1, threads + 1)
        ]

    def _supervise(self, slots: list[_Slot], keep_alive: bool) -> bool:
        assert self._waker is not None
        all_well = True
        restarts = RestartTable()
        running: dict[_Slot, tuple[ForkProcess, float]] = {}
        due = dict.fromkeys(slots, 0.0)
        stops_told = 0
        try:
            while running or (due and not self._stops):
                if self._stops > stops_told:
                    stops_told = self._stops
                    self._tell_to_stop([process for process, _ in running.values()])
                for slot, at in list(due.items()):
                    if at <= time.monotonic() and not self._stops:
                        running[slot] = self._fork(slot), time.monotonic()
                        del due[slot]
                wait(
                    [self._waker.fileno(), *(process.sentinel for process, _ in running.values())],
                    None
                    if self._stops or not due
                    else max(0.0, min(due.values()) - time.monotonic()),
                )
                self._waker.clear()
                for slot, (process, started) in list(running.items()):
                    if process.exitcode is None:
                        continue
                    del running[slot]
                    self._report_end(slot, process)
                    if process.exitcode and not keep_alive and not self._stops:
                        all_well = False
                    process.close()
                    if keep_alive and not self._stops:
                        ended = time.monotonic()
                        delay = restarts.delay(slot, started, ended)
                        due[slot] = ended + delay
                        if delay:
                            logger.warning(
                                "process %s died at once; restarting in %.1f s",
                                slot,
                                delay,
                                extra={"action": "child_delayed"},
                            )
            return all_well
        finally:
            for process, _ in running.values():
                process.kill()
                process.join()

    def _fork(self, slot: _Slot) -> ForkProcess:
        process = _processes.Process(
            target=self._run_child, args=(slot, os.getpid()), name=f"gearmanny {slot}"
        )
        process.start()
        logger.info(
            "process %s started with pid %d", slot, process.pid, extra={"action": "child_started"}
        )
        return process

    def _tell_to_stop(self, processes: list[ForkProcess]) -> None:
        if self._stops == 1:
            logger.info(
                "finishing the current jobs; a second signal ends them at once",
                extra={"action": "stopping"},
            )
            for process in processes:
                process.terminate()
        else:
            logger.warning(
                "ending at once; unfinished jobs go back to their queues",
                extra={"action": "killing"},
            )
            for process in processes:
                process.kill()

    def _report_end(self, slot: _Slot, process: ForkProcess) -> None:
        code = process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        logger.log(
            logging.INFO if self._stops or not code else logging.ERROR,
            "process %s, pid %s, %s",
            slot,
            process.pid,
            how,
            extra={"action": "child_ended", "exit_code": code},
        )

    @contextlib.contextmanager
    def _signals_handled(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            self.stop()

        previous = {number: signal.signal(number, handle) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _run_child(self, slot: _Slot, parent: int) -> None:
        # Ready for a signal before anything of the user's runs.
        first: BaseWorker | None = None

        def handle(number: int, frame: FrameType | None) -> None:
            self._stops += 1
            if first is not None:
                first.stop()

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, handle)
        assert self._waker is not None
        self._waker.close()
        _end_with(parent)
        try:
            gearman_worker = slot.work_class()
            made = [self._make(worker, gearman_worker) for worker in slot.workers]
            first = made[0]
            first.prefetch = self._prefetch or min(worker.prefetch for worker in made)
            # Not only by the handler above: until it was set, the parent's was ours.
            if self._stops:
                first.stop()
            first.start()
        except Exception:
            logger.exception("process %s failed", slot, extra={"action": "child_failed"})
            sys.exit(1)

    def _make(self, worker: type[BaseWorker], gearman_worker: GearmanWorker) -> BaseWorker:
        options: dict[str, Any] = {"hosts": self._hosts, "verbosity": self._verbosity}
        made = worker(gearman_worker=gearman_worker, **options)
        made.hooks = (*self._hooks, *made.hooks)
        if self._send_tracebacks is not None:
            made.send_tracebacks = self._send_tracebacks
        return made


def _end_with(parent: int) -> None:
    """Sees to it that this process ends when its parent does; its job goes back to the queue."""
    if sys.platform == "linux":
        # The kernel does it at once, also to a task that keeps the interpreter for itself.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_INTERVAL)
    os._exit(1)


def _path(worker: type) -> str:
    return f"{worker.__module__}.{worker.__qualname__}"
