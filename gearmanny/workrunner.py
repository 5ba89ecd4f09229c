"""Runs workers in processes: checks what it is given, and turns signals into orders.

The parent forks, watches and replaces (`running/supervisor.py`); it takes no jobs and
keeps no connection. Children are forked rather than spawned, so that worker
classes need not be importable by name and a warmed-up Django is shared.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from gearmanny.admin import JobServer
from gearmanny.errors import GearmanException, InvalidOption, InvalidTask, JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import CONNECT_TIMEOUT, HOSTS, parse_hosts
from gearmanny.net.tls import TLS, TLSOption
from gearmanny.payload.backoff import Backoff
from gearmanny.payload.checks import check_count
from gearmanny.payload.sizes import MAX_PACKET, check_max_packet
from gearmanny.running.childprocess import Slot, WorkOptions, resident_memory
from gearmanny.running.limits import Limits
from gearmanny.running.supervisor import Supervisor
from gearmanny.tasks.finding import functions_of
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.worker import (
    BaseWorker,
    JsonWorker,
    check_concurrency,
    check_prefetch,
    set_verbosity,
)
from gearmanny.working.hooks import Hook, SyncToAsync, check_hooks

__all__ = ["WorkRunner"]

logger = logging.getLogger("gearmanny.runner")

_SHORTEST_QUESTION = 0.1
"""Seconds that a job server gets to answer, however little time is left."""


class WorkRunner:
    """Runs worker classes in processes and replaces what ends.

    Args:
        workers: classes, not objects: they are made in the processes that run them.
        hosts: job servers, `"name:port"`. Default: `localhost:4730`.
        verbosity: 1 logs every job, 2 its arguments too, on the logger `gearmanny`.
        hooks: contexts around every job of every worker, outside of its own hooks.
        sync_to_async: overrides what the worker classes say, unless None: how synchronous hooks are
            called around `async def` tasks.
        send_tracebacks: overrides what the worker classes say, unless None.
        prefetch: how many jobs a process asks for or holds at a time; overrides what the worker
            classes say, of which the least counts for those that share a process.
        concurrency: how many jobs of `async def` tasks a process runs at a time; overrides what the
            workers say.
        max_packet: bytes of the longest packet, both ways; longer jobs fail.
        tls: how the job servers are secured, as `SimpleClient` takes it.
        default_work_class: stands in for `JsonWorker`, for workers that chose no other.
        grace: seconds that a process which is told to stop may take to finish its job; then it
            is killed, and gearmand gives the job to another worker. None: as long as it takes.
        max_jobs: a process that has done so many jobs is recycled: it leaves, between two jobs,
            when a fresh one is ready to serve. None: never.
        max_memory: MiB of resident memory with which a process is recycled after a job. Not
            enforced, with a warning, where there is no `/proc/self/statm` (that is Linux).
        max_crashes: with `keepAlive`, how many bad ends of one process and its replacements make
            the runner give up, when they fall within `crash_window` seconds. None: never.
        crash_window: see `max_crashes`.
        connect_timeout: seconds from the start within which a job server has to answer. None:
            job servers are waited for, however long it takes.

    Raises:
        InvalidTask: there are no workers, one cannot be exported, or two export the
            same function.
        InvalidOption: a host, a hook, a number or `tls` that cannot be.
    """

    def __init__(
        self,
        workers: Sequence[type[BaseWorker]],
        hosts: Sequence[str] | None = None,
        verbosity: int = 0,
        *,
        hooks: Sequence[Hook] = (),
        sync_to_async: SyncToAsync | None = None,
        send_tracebacks: bool | None = None,
        prefetch: int | None = None,
        concurrency: int | None = None,
        max_packet: int = MAX_PACKET,
        tls: TLSOption = None,
        default_work_class: type[GearmanWorker] = JsonWorker,
        grace: float | None = Limits.grace,
        max_jobs: int | None = Limits.max_jobs,
        max_memory: int | None = Limits.max_memory,
        max_crashes: int | None = Limits.max_crashes,
        crash_window: float = Limits.crash_window,
        connect_timeout: float | None = Limits.connect_timeout,
    ) -> None:
        _check_workers(workers)
        parse_hosts(HOSTS if hosts is None else hosts)
        if prefetch is not None:
            check_prefetch(prefetch)
        if concurrency is not None:
            check_concurrency(concurrency)
        check_max_packet(max_packet)
        self._limits = Limits(
            grace=grace,
            max_jobs=max_jobs,
            max_memory=max_memory,
            max_crashes=max_crashes,
            crash_window=crash_window,
            connect_timeout=connect_timeout,
        )
        if max_memory is not None:
            _check_memory(max_memory)
        set_verbosity(verbosity)
        self._workers = workers
        self._default_work_class = default_work_class
        self._options = WorkOptions(
            hosts=hosts,
            verbosity=verbosity,
            hooks=check_hooks(hooks),
            sync_to_async=sync_to_async,
            send_tracebacks=send_tracebacks,
            prefetch=prefetch,
            concurrency=concurrency,
            max_packet=max_packet,
            tls=TLS.of(tls),
            max_jobs=max_jobs,
            max_memory=max_memory,
        )
        self._supervisor: Supervisor | None = None
        self._stopped = False

    def start(self, threads: int = 1, keepAlive: bool = True) -> bool:
        """Runs the workers until SIGTERM or SIGINT, which let the current jobs finish, within
        `grace`; a second signal ends them at once, and gearmand gives their jobs to other workers.

        SIGHUP replaces the processes, see `restart()`. Where it says that the terminal was closed,
        it is like SIGTERM; where it was ignored (`nohup`), it stays so.

        Signals are handled only when this is called in the main thread; elsewhere, call `stop()`
        and `restart()`.

        Args:
            threads: processes for every distinct `work_class`; each runs all of its workers.
            keepAlive: whether a process that ends is replaced. If not, this returns when all
                have ended.

        Returns:
            With `keepAlive`, False when it gave up: a process crashed too often, see
            `max_crashes`. Without, False when a process ended badly by itself: with an exit code,
            or killed by a signal.

        Raises:
            InvalidOption: `threads` is no number of processes.
            JobServerUnavailable: no job server answered within `connect_timeout`.
        """
        check_count("threads", "processes", threads)
        supervisor = Supervisor(
            self._slots(threads), self._options, self._limits, keep_alive=keepAlive
        )
        self._supervisor = supervisor
        try:
            with _signals_handled(supervisor):
                if self._stopped and not supervisor.stopping:
                    supervisor.stop()
                if self._limits.connect_timeout is not None:
                    self._reach_a_job_server(supervisor, self._limits.connect_timeout)
                return supervisor.run()
        finally:
            self._supervisor = None
            self._stopped = False
            supervisor.close()

    def stop(self) -> None:
        """Lets `start()` return once the current jobs are done; called again, at once. For other
        threads; called before `start()`, it lets that return at once."""
        self._stopped = True
        if self._supervisor is not None:
            self._supervisor.stop()

    def restart(self) -> None:
        """Replaces the processes, one after another: each leaves when a fresh one is ready to
        serve. For other threads.

        The fresh ones are copies of this process as well: they have read again what `setUp()`
        reads, but run the code that was imported before `start()`. New code needs a new runner.
        """
        if self._supervisor is not None:
            self._supervisor.restart()

    def _slots(self, threads: int) -> list[Slot]:
        groups: dict[type[GearmanWorker], list[type[BaseWorker]]] = {}
        for worker in self._workers:
            chosen = worker.work_class
            work_class = self._default_work_class if chosen is JsonWorker else chosen
            groups.setdefault(work_class, []).append(worker)
        return [
            Slot(work_class, tuple(workers), number)
            for work_class, workers in groups.items()
            for number in range(1, threads + 1)
        ]

    def _reach_a_job_server(self, supervisor: Supervisor, timeout: float) -> None:
        """Returns when one has answered, or when there was a signal to stop. The connection is not
        kept: what a process holds when it forks, its children hold too."""
        hosts = [str(host) for host in parse_hosts(self._options.hosts or HOSTS)]
        deadline = Deadline(timeout)
        backoff = Backoff(first=0.1, longest=2.0)
        while not supervisor.stopping:
            failures: dict[str, str] = {}
            for asked, host in enumerate(hosts):
                share = (deadline.remaining() or 0.0) / (len(hosts) - asked)
                try:
                    JobServer(
                        host,
                        min(max(share, _SHORTEST_QUESTION), CONNECT_TIMEOUT),
                        tls=self._options.tls,
                    ).version()
                except JobServerUnavailable as error:
                    failures |= error.failures
                except GearmanException as error:
                    failures[host] = str(error)
                else:
                    return
            remaining = deadline.remaining()
            if not remaining:
                raise JobServerUnavailable(failures)
            if not backoff.attempts:
                logger.warning(
                    "waiting for a job server, at most %g s: %s",
                    timeout,
                    "; ".join(f"{host} ({reason})" for host, reason in failures.items()),
                    extra={"action": "server_away"},
                )
            supervisor.pause(min(remaining, backoff.next_delay()))


def _check_workers(workers: Sequence[type[BaseWorker]]) -> None:
    if not workers:
        raise InvalidTask("There are no workers to run. Give at least one worker class.")
    owners: dict[str, type[BaseWorker]] = {}
    for worker in workers:
        check_hooks(worker.hooks)
        for function in functions_of(worker):
            if function in owners:
                raise InvalidTask(
                    f"{function}() is exported by {_path(owners[function])} and by "
                    f"{_path(worker)}. Give one of them another name."
                )
            owners[function] = worker


def _check_memory(max_memory: int) -> None:
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


@contextlib.contextmanager
def _signals_handled(supervisor: Supervisor) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminals = [descriptor for descriptor in range(3) if os.isatty(descriptor)]

    def stop(number: int, frame: FrameType | None) -> None:
        supervisor.stop()

    def hang_up(number: int, frame: FrameType | None) -> None:
        if terminals and not any(map(os.isatty, terminals)):
            supervisor.stop()
        else:
            supervisor.restart()

    handlers: dict[int, Callable[[int, FrameType | None], None]] = {
        signal.SIGTERM: stop,
        signal.SIGINT: stop,
    }
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup does
        handlers[signal.SIGHUP] = hang_up
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _path(worker: type) -> str:
    return f"{worker.__module__}.{worker.__qualname__}"
