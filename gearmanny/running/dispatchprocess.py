"""The dispatcher of a runner: a process beside its workers, which takes care of recorded jobs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator

from gearmanny.dispatching.dispatcher import Dispatcher
from gearmanny.dispatching.notices import Receiver, pipe
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.net.forks import end_with, signals_held_back
from gearmanny.net.hosts import HOSTS, parse_hosts
from gearmanny.records.contract import Store
from gearmanny.running.inherited import flush_logs
from gearmanny.running.options import RunnerOptions

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that stop a service may go to all of its processes at once. The dispatcher stops after
the workers."""

_PATIENCE = 5.0
"""Seconds that it may take to end."""

_processes = multiprocessing.get_context("fork")


class DispatchProcess:
    """A dispatcher in a child process, which can be replaced."""

    def __init__(self, store: Store, options: DispatchOptions) -> None:
        """
        Args:
            store: where the records are. It has no connection in this process.
            options: those of the dispatcher.

        Raises:
            OSError: the system cannot start another process.
        """
        self._store = store
        self._options = options
        self.replace()

    def __str__(self) -> str:
        return "the dispatcher"

    @property
    def sentinel(self) -> int:
        """The descriptor that becomes readable when it ends."""
        return self._process.sentinel

    def has_ended(self) -> bool:
        """Returns whether it has ended."""
        return not self._process.is_alive()

    def replace(self) -> None:
        """Starts it, again.

        Raises:
            OSError: the system cannot start another process.
        """
        receiver, sender = pipe()
        process = _processes.Process(
            target=_run,
            args=(self._store, self._options, receiver, os.getpid()),
            name="gearmanny dispatcher",
            daemon=True,
        )
        flush_logs()
        try:
            with signals_held_back(_IGNORED):
                process.start()
        except OSError:
            sender.close()
            raise
        finally:
            receiver.close()
        self._process, self._sender = process, sender

    def child_ended(self, pid: int, *, ordered: bool) -> None:
        """Tells it that a process of the runner has ended.

        Args:
            pid: the id of that process.
            ordered: whether it was told to end, so that none of its jobs is to blame.
        """
        self._sender.send(pid, ordered=ordered)

    def end(self) -> None:
        """Lets it do what is left to do, and ends it."""
        self._sender.close()
        self._process.join(_PATIENCE)
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def dispatching(options: RunnerOptions) -> Iterator[DispatchProcess | None]:
    """Runs the dispatcher of a runner until the block ends, if there are records and they are to be
    dispatched.

    Args:
        options: those of the runner.

    Yields:
        The process, if there is one.

    Raises:
        OSError: the system cannot start another process.
    """
    worker = options.worker
    if worker.records is None or not options.dispatch:
        yield None
        return
    process = DispatchProcess(
        worker.records,
        DispatchOptions(
            hosts=tuple(worker.hosts or parse_hosts(HOSTS)),
            tls=worker.tls,
            runner=worker.runner,
            keep=options.keep,
            max_deaths=options.max_deaths,
        ),
    )
    try:
        yield process
    finally:
        process.end()


def _run(store: Store, options: DispatchOptions, notices: Receiver, parent: int) -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)
    end_with(parent)
    Dispatcher(store, options, notices).run()
