"""Helpers for tests of workers and their callers: eager mode, and live workers and job servers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Self

from gearmanny.admin import JobServer
from gearmanny.eager.everywhere import calls_run_in
from gearmanny.eager.joined import Eager
from gearmanny.eager.outbox import Sent, outbox
from gearmanny.errors import GearmanException, InvalidOption
from gearmanny.helpers.switch import switch
from gearmanny.net.hosts import Host
from gearmanny.net.loopback import free_port
from gearmanny.net.permission import permission
from gearmanny.running.factory import check_kind
from gearmanny.tasks.agreement import check_interface, differences
from gearmanny.tasks.finding import functions_of
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.worker import BaseWorker, Hook, JsonWorker
from gearmanny.working.options import Transaction

__all__ = [
    "Eager",
    "Gearmand",
    "Sent",
    "calls_run_in",
    "check_interface",
    "differences",
    "eager",
    "outbox",
    "running",
]

PATIENCE = 20.0
"""The timeout for a server or worker to start or stop, in seconds: enough for a busy machine."""

_PROGRAM = "GEARMANNY_TEST_GEARMAND"
"""An environment variable: the path of the gearmand to use, of whichever version."""

_JOB_RETRIES = "--job-retries=255"

_PAUSE = 0.005
"""The seconds between two checks whether a process has started."""


@contextlib.contextmanager
def eager(
    workers: Sequence[type[BaseWorker]] = (),
    *,
    hooks: Sequence[Hook] = (),
    send_tracebacks: bool | None = None,
    default_work_class: type[GearmanWorker] = JsonWorker,
    transaction: Transaction | None = None,
) -> Iterator[Eager]:
    """Runs the jobs of all clients in this process, inside the call, until the block ends.

    Arguments and results pass through the encoders, and failures arrive as they do from a job
    server. A job has run when its call returns; timeouts are ignored. A call to a function that
    no worker offers raises `TaskTimeout` immediately. Background calls also run immediately, and
    are recorded in `outbox`, which is emptied at the beginning of the block.

    Args:
        workers: the worker classes that run the jobs. An inner block replaces all of an outer one.
        hooks: contexts around every job of every worker, outside the worker's own hooks.
        send_tracebacks: overrides the setting of the worker classes, unless None.
        default_work_class: replaces `JsonWorker` in workers that do not choose a work class.
        transaction: returns the transaction in which an atomic task runs, as `BaseWorker` takes it.

    Yields:
        The `Eager`, to which more workers may be added.

    Raises:
        InvalidTask: a worker class is invalid, or two export the same function.
    """
    stand_in = Eager(
        workers,
        hooks=hooks,
        send_tracebacks=send_tracebacks,
        default_work_class=default_work_class,
        transaction=transaction,
    )
    with calls_run_in(stand_in):
        yield stand_in


class Gearmand:
    """A real gearmand, on a free port that it keeps when it is restarted. A context manager.

    Attributes:
        host: `"127.0.0.1:PORT"`.
        port: its port.
    """

    def __init__(self, *options: str, address: str = "127.0.0.1") -> None:
        """
        Args:
            options: further arguments of its command line. Unless `--job-retries` is among them,
                whose default depends on the version, a job is given to 255 workers that die of it.
            address: the local address to listen on.

        Raises:
            FileNotFoundError: gearmand is not installed.
        """
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
        program = shutil.which(os.environ.get(_PROGRAM, "gearmand"), path=path)
        if program is None:
            raise FileNotFoundError(
                "gearmand is not installed (Debian: apt-get install gearman-job-server)."
            )
        self.port = free_port()
        self.host = str(Host(address, self.port))
        if not any(option.startswith(("--job-retries", "-j")) for option in options):
            options = (_JOB_RETRIES, *options)
        self._command = [program, *options, "-L", address, "-p", str(self.port), "-l", "stderr"]
        if os.geteuid() == 0:
            self._command += ["-u", "root"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it, and returns when it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time.
        """
        # It insists on a pid file, but only while it starts.
        with tempfile.TemporaryDirectory() as folder:
            process = self._process = subprocess.Popen(
                [*self._command, "-P", f"{folder}/pid"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            _until(self._answers, lambda: process.poll() is None)
        permission.add_own(self.port)

    def stop(self) -> None:
        """Stops it, which ends all its connections."""
        if self._process is not None:
            permission.remove_own(self.port)
            _end(self._process)
            self._process = None

    def kill(self) -> None:
        """Kills it, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self.stop()

    def _answers(self) -> bool:
        try:
            return bool(JobServer(self.host).version())
        except GearmanException:
            return False


@contextlib.contextmanager
def running(worker: BaseWorker) -> Iterator[BaseWorker]:
    """Runs a worker in a thread until the block ends. The block begins when it is registered.

    Args:
        worker: the worker to run.

    Yields:
        The worker.

    Raises:
        InvalidOption: the argument is not a worker, but perhaps a class of workers.
        RuntimeError: the worker did not start, or one of its tasks did not end.
    """
    if not isinstance(worker, BaseWorker):
        raise InvalidOption(
            f"running() takes a worker, such as MyWorker(hosts=[...]), not {worker!r}."
        )
    # A daemon, so that a task that never ends is reported and does not keep the tests from ending.
    thread = threading.Thread(
        target=worker.start, name=f"gearmanny {type(worker).__name__}", daemon=True
    )
    thread.start()
    try:
        _until(lambda: all(map(partial(_offers, worker), worker.hosts)), thread.is_alive)
        yield worker
    finally:
        worker.stop()
        thread.join(PATIENCE)
        if thread.is_alive():
            raise RuntimeError(
                f"{type(worker).__name__} did not stop within {PATIENCE:g} s: one of its tasks "
                "is still running."
            )


@contextlib.contextmanager
def running_process(worker: type[BaseWorker], host: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a worker in its own processes, with a `WorkRunner`, until the block ends.

    Args:
        worker: a class at the top level of a module, so that another process can import it.
        host: the job server, `"name:port"`.

    Yields:
        The process of the `WorkRunner`.

    Raises:
        InvalidTask: it is not a worker class.
        InvalidOption: no other process can import the class.
        RuntimeError: the worker did not start.
    """
    check_kind(worker)
    if "." in worker.__qualname__ or worker.__module__ == "__main__":
        raise InvalidOption(
            f"{worker.__qualname__} cannot be imported by another process. "
            "Move it to the top level of a module."
        )
    names = worker.__module__, worker.__qualname__, host
    cache = "on" if switch.is_on else switch.database or "off"
    process = subprocess.Popen([sys.executable, "-c", _CHILD, *names, cache, *sys.path])
    functions = set(functions_of(worker))
    try:
        _until(
            lambda: functions <= {row.function for row in JobServer(host).status() if row.workers},
            lambda: process.poll() is None,
        )
        yield process
    finally:
        _end(process)


_CHILD = """
import sys
module, name, host, cache, *sys.path = sys.argv[1:]
from importlib import import_module
from gearmanny.helpers.switch import switch
switch.is_on = cache == "on"
switch.database = None if cache in ("on", "off") else cache
from gearmanny.workrunner import WorkRunner
WorkRunner([getattr(import_module(module), name)], [host]).start()
"""


def _offers(worker: BaseWorker, host: Host) -> bool:
    try:
        rows = JobServer(str(host), tls=worker.worker_options.tls).status()
    except GearmanException:
        return False
    offered = {row.function for row in rows if row.workers}
    return offered >= set(functions_of(type(worker)))


def _until(condition: Callable[[], bool], alive: Callable[[], bool]) -> None:
    """Waits until a condition holds.

    Raises:
        RuntimeError: the worker or server has ended, or the condition did not hold in time.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if not alive():
            raise RuntimeError(
                "The worker or server ended before it was ready. See its output for the reason."
            )
        if time.monotonic() > deadline:
            raise RuntimeError(f"The worker or server was not ready within {PATIENCE:g} s.")
        time.sleep(_PAUSE)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
