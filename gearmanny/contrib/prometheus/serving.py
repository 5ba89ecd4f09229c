"""One port for the metrics of all processes of a runner.

Every process counts in its own files, as in the multiprocess mode of
`prometheus_client`. Another process reads and serves them: a thread in the
runner might hold locks while the runner forks.
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
from gearmanny.contrib.prometheus.records import RecordCollector
from gearmanny.errors import InvalidOption
from gearmanny.net.forks import end_with
from gearmanny.net.tls import TLSOption
from gearmanny.payload.checks import PORT_OR_ANY
from gearmanny.records.contract import Store

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

_ENDED = "ended"
"""Replaces the process id in the names of the files with the sums of all ended processes."""

_processes = multiprocessing.get_context("fork")


@contextlib.contextmanager
def serve_metrics(
    hosts: Sequence[str] | None = None,
    *,
    port: int,
    address: str = "127.0.0.1",
    tls: TLSOption = None,
    records: Store | None = None,
) -> Iterator[str]:
    """Serves metrics over HTTP while the block runs.

    Serves the metrics of all processes that are forked in the block, and the queues of job
    servers. Besides the metrics of the hook `metrics`, these are your own metrics that have labels,
    or are created inside the block. A metric without labels that was created before, for example
    when a module was imported, is included only if the environment variable
    PROMETHEUS_MULTIPROC_DIR named a directory when `prometheus_client` was imported. All counts
    begin with 0.

    Args:
        hosts: the job servers, as `"name:port"`. Default: `["localhost:4730"]`.
        port: the TCP port; 0 chooses a free one.
        address: the address to listen on. Anyone who can reach it can read the metrics, which
            include the names of functions.
        tls: the TLS settings of the job servers: True, a dict of PEM files (`"ca"`, `"cert"`,
            `"key"`) or an `ssl.SSLContext`; None for plain connections.
        records: the store whose jobs are counted, too; None for no store.

    Returns:
        A context manager that yields the URL.

    Raises:
        InvalidOption: the port cannot be opened, or a host or `tls` is invalid.
    """
    with metrics_process(hosts, port=port, address=address, tls=tls, records=records) as process:
        yield process.url


@contextlib.contextmanager
def metrics_process(
    hosts: Sequence[str] | None,
    *,
    port: int,
    address: str,
    tls: TLSOption,
    records: Store | None = None,
) -> Iterator[MetricsProcess]:
    """Does what `serve_metrics` does, and yields the process."""
    PORT_OR_ANY.check("port", port)
    queues = QueueCollector(hosts, tls=tls)
    with _counting_in_files() as directory:
        registry = CollectorRegistry()
        registry.register(_AllProcesses(directory))
        registry.register(queues)
        if records is not None:
            registry.register(RecordCollector(records))
        process = MetricsProcess(registry, address, port)
        try:
            yield process
        finally:
            process.end()


class MetricsProcess:
    """The process that serves metrics, which can be replaced."""

    def __init__(self, registry: CollectorRegistry, address: str, port: int) -> None:
        """
        Args:
            registry: the metrics.
            address: where it listens.
            port: its port; 0 chooses a free one.

        Raises:
            InvalidOption: the port cannot be opened.
        """
        self._registry = registry
        self._address = address
        self._port = port
        self.replace()

    def __str__(self) -> str:
        return "the process that serves metrics"

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{host}:{self._port}/metrics"

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
            InvalidOption: the port cannot be opened.
        """
        news, teller = _processes.Pipe(duplex=False)
        self._process = _processes.Process(
            target=_serve,
            args=(self._registry, self._port, self._address, os.getpid(), teller),
            name="gearmanny metrics",
            daemon=True,
        )
        self._process.start()
        teller.close()
        with news:
            try:
                self._port = _opened(news, self._address, self._port)
            except InvalidOption:
                self.end()
                raise

    def end(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def _counting_in_files() -> Iterator[Path]:
    given = os.environ.get(_DIRECTORY)
    if given is not None and not os.path.isdir(given):
        raise InvalidOption(
            f"The environment variable {_DIRECTORY} names {given!r}, which is no directory. Create "
            "it, or remove the variable."
        )
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


def _opened(news: Connection, address: str, port: int) -> int:
    try:
        told = news.recv()
    except EOFError:
        told = "the process that serves them ended"
    if not isinstance(told, int):
        raise InvalidOption(
            f"Metrics cannot be served on port {port} of {address}: {told}. Choose another port."
        )
    return told


def _serve(
    registry: CollectorRegistry, port: int, address: str, parent: int, teller: Connection
) -> None:
    # Signals for a runner may go to its whole process group, but it has metrics until its end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
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
    """Collects the sums of the files of all processes.

    Files of ended processes are merged into one, so that recycling processes does not make them
    accumulate.
    """

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
            # An empty file has only been opened.
            files = [str(path) for path in self._directory.glob("*.db") if path.stat().st_size]
            merged: Iterable[Metric] = MultiProcessCollector.merge(files)
            return merged

    def _bury(self, kind: str, process: int, path: Path) -> None:
        if kind == "gauge":  # its mode decides whether it outlives its process
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
