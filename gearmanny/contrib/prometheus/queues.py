"""The queues of job servers, read whenever Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gearmanny.admin import FunctionStatus, JobServer, Rows
from gearmanny.errors import GearmanException, printable
from gearmanny.net.hosts import HOSTS, parse_hosts
from gearmanny.net.tls import TLSOption
from gearmanny.payload.checks import COUNT

_MAX_FUNCTIONS = 1000
"""Functions per job server with labels of their own, limited because any client can add some."""

_OTHERS = "(others)"
"""The label of all others. It is not a valid name of a function of gearmanny."""

_TIMEOUT = 3.0
"""Seconds for a job server to answer. Prometheus waits for ten."""


class QueueCollector(Collector):
    """Collects the queues of job servers.

    `REGISTRY.register(QueueCollector(hosts))` adds them to the metrics of any process.
    """

    def __init__(
        self,
        hosts: Sequence[str] | None = None,
        *,
        timeout: float = _TIMEOUT,
        max_functions: int = _MAX_FUNCTIONS,
        tls: TLSOption = None,
    ) -> None:
        """
        Args:
            hosts: the job servers, as `"name:port"`. Default: `["localhost:4730"]`.
            timeout: seconds to wait for each of them; all are asked at the same time.
            max_functions: how many functions of each server get labels of their own: first those
                that workers offer, then those with the most jobs. The others are added up under
                the label "(others)".
            tls: the TLS settings: True, a dict of PEM files (`"ca"`, `"cert"`, `"key"`) or an
                `ssl.SSLContext`; None for plain connections.

        Raises:
            InvalidOption: a host, `tls` or `max_functions` is invalid.
        """
        COUNT.check("max_functions", max_functions)
        self._max_functions = max_functions
        names = dict.fromkeys(map(str, parse_hosts(HOSTS if hosts is None else hosts)))
        self._servers = [JobServer(name, timeout, tls=tls) for name in names]

    def describe(self) -> Iterable[Metric]:
        """Returns the metrics without values, so that registering them asks no job server."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """Asks all job servers, and returns the metrics of those that answered."""
        up, skipped, jobs, workers = families = self._families()
        with ThreadPoolExecutor(len(self._servers)) as asking:
            answers = asking.map(_status, self._servers)
            for host, rows in zip(map(str, self._servers), answers, strict=True):
                up.add_metric([host], rows is not None)
                if rows is None:
                    continue
                skipped.add_metric([host], rows.skipped_count)
                for row in self._bounded(rows):
                    jobs.add_metric([host, row.function, "queued"], row.total - row.running)
                    jobs.add_metric([host, row.function, "running"], row.running)
                    workers.add_metric([host, row.function], row.workers)
        return families

    def _bounded(self, rows: list[FunctionStatus]) -> Iterable[FunctionStatus]:
        ordered = sorted(rows, key=lambda row: (row.workers > 0, row.total), reverse=True)
        bounded: dict[str, FunctionStatus] = {}
        for row in ordered:
            name = printable(row.function)
            if len(bounded) >= self._max_functions and name not in bounded:
                name = _OTHERS
            # A line break in a name can produce a second row for another function.
            _, *counts = bounded.get(name, (name, 0, 0, 0))
            bounded[name] = FunctionStatus(name, *map(sum, zip(counts, row[1:], strict=True)))
        return bounded.values()

    def _families(self) -> tuple[GaugeMetricFamily, ...]:
        return (
            GaugeMetricFamily(
                "gearmanny_job_server_up", "Whether a job server answered", labels=["host"]
            ),
            GaugeMetricFamily(
                "gearmanny_job_server_skipped_rows",
                "Functions of a job server whose names cannot be read",
                labels=["host"],
            ),
            GaugeMetricFamily(
                "gearmanny_queue_jobs",
                "Jobs of a job server",
                labels=["host", "function", "state"],
            ),
            GaugeMetricFamily(
                "gearmanny_queue_workers",
                "Workers of a job server",
                labels=["host", "function"],
            ),
        )


def _status(server: JobServer) -> Rows[FunctionStatus] | None:
    try:
        return server.status()
    except GearmanException:
        return None
