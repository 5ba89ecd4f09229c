"""One port for the metrics of all processes of a runner.

Every process counts in files of its own, as the multiprocess mode of
`prometheus_client` does. They are read, and served, by one more process: a
thread in the runner would hold locks while that forks.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, start_http_server, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from gearmanny.contrib.prometheus.queues import QueueCollector
from gearmanny.errors import InvalidOption
from gearmanny.net.forks import end_with
from gearmanny.net.tls import TLSOption
from gearmanny.payload.checks import PORT_OR_ANY

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

_ENDED = "ended"
"""Stands for the id of a process in the names of files: those of all that ended."""

_processes = multiprocessing.get_context("fork")


@contextlib.contextmanager
def serve_metrics(
    hosts: Sequence[str] | None = None,
    *,
    port: int,
    address: str = "127.0.0.1",
    tls: TLSOption = None,
) -> Iterator[str]:
    """Serves metrics over HTTP while the block runs: those of all processes that are forked in it,
    and the queues of job servers.

    What is counted are the metrics of the hook `metrics`, and yours: those with labels, and those
    that are made inside the block. One without labels that is made before, as where a module is
    imported, is counted too when the environment variable PROMETHEUS_MULTIPROC_DIR named a
    directory when `prometheus_client` was imported. What is served begins with 0.

    Args:
        hosts: job servers whose queues are told, `"name:port"`. Default: `localhost:4730`.
        port: of TCP; 0 for one that is free.
        address: on which the port is opened. Whoever reaches it reads the names of functions.
        tls: how the job servers are secured, as `SimpleClient` takes it.

    Returns:
        A context manager that yields the URL.

    Raises:
        InvalidOption: the port cannot be opened; a host or `tls` that cannot be.
    """
    PORT_OR_ANY.check("port", port)
    queues = QueueCollector(hosts, tls=tls)
    with _counting_in_files() as directory:
        registry = CollectorRegistry()
        registry.register(_AllProcesses(directory))
        registry.register(queues)
        news, teller = _processes.Pipe(duplex=False)
        server = _processes.Process(
            target=_serve,
            args=(registry, port, address, os.getpid(), teller),
            name="gearmanny metrics",
            daemon=True,
        )
        server.start()
        teller.close()
        try:
            with news:
                yield f"http://{_opened(news, address, port)}/metrics"
        finally:
            server.kill()
            server.join()


@contextlib.contextmanager
def _counting_in_files() -> Iterator[Path]:
    given = os.environ.get(_DIRECTORY)
    directory = tempfile.mkdtemp(prefix="gearmanny-metrics-", dir=given)
    counting = values.ValueClass
    os.environ[_DIRECTORY] = directory
    values.ValueClass = values.MultiProcessValue()
    try:
        yield Path(directory)
    finally:
        values.ValueClass = counting
        if given is None:
            del os.environ[_DIRECTORY]
        else:
            os.environ[_DIRECTORY] = given
        shutil.rmtree(directory, ignore_errors=True)


def _opened(news: Connection, address: str, port: int) -> str:
    try:
        told = news.recv()
    except EOFError:
        told = "the process for it ended"
    if not isinstance(told, int):
        raise InvalidOption(
            f"Metrics cannot be served on port {port} of {address}: {told}. Give another one."
        )
    return f"[{address}]:{told}" if ":" in address else f"{address}:{told}"


def _serve(
    registry: CollectorRegistry, port: int, address: str, parent: int, teller: Connection
) -> None:
    # What stops a runner goes to its whole group: there is something to tell until it has stopped.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_with(parent)
    with teller:
        try:
            server, thread = start_http_server(port, address, registry)
        except OSError as error:
            teller.send(str(error))
            return
        teller.send(server.server_port)
    thread.join()


class _AllProcesses(Collector):
    """Sums over the files of processes. Those of processes that ended become one, so that they do
    not grow in number where processes are recycled."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._reading = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        with self._reading:
            for path in self._directory.glob("*.db"):
                kind, *_, process = path.stem.split("_")
                if process != _ENDED and not _lives(int(process)):
                    self._bury(kind, int(process), path)
            # An empty one has been opened, and nothing more.
            files = [str(path) for path in self._directory.glob("*.db") if path.stat().st_size]
            merged: Iterable[Metric] = MultiProcessCollector.merge(files)
            return merged

    def _bury(self, kind: str, process: int, path: Path) -> None:
        if kind == "gauge":  # whether it outlives its process is a matter of its mode
            mark_process_dead(process, str(self._directory))
            return
        if path.stat().st_size:
            sums = MmapedDict(str(self._directory / f"{kind}_{_ENDED}.db"))
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
                sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
            sums.close()
        path.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
