"""The queues of job servers, asked for whenever Prometheus asks."""

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
"""Functions of a job server that get labels of their own. Anybody may submit to a new one."""

_OTHERS = "(others)"
"""The label of all further ones, which no function of ours can have as its name."""

_TIMEOUT = 3.0
"""Seconds for a job server to answer. Prometheus waits for ten."""


class QueueCollector(Collector):
    """What job servers say of their queues. `REGISTRY.register(QueueCollector(hosts))` adds them to
    the metrics that a process of yours serves already."""

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
            hosts: job servers, `"name:port"`. Default: `localhost:4730`.
            timeout: seconds for each to answer; all are asked at the same time.
            max_functions: functions of each with labels of their own: first those that workers
                offer, then those with most jobs. What the others have is added up as "(others)".
            tls: how they are secured, as `SimpleClient` takes it.

        Raises:
            InvalidOption: a host, `tls` or `max_functions` that cannot be.
        """
        COUNT.check("max_functions", max_functions)
        self._max_functions = max_functions
        names = dict.fromkeys(map(str, parse_hosts(HOSTS if hosts is None else hosts)))
        self._servers = [JobServer(name, timeout, tls=tls) for name in names]

    def describe(self) -> Iterable[Metric]:
        """Returns the metrics without values: to register them, nobody need be asked."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """Asks the job servers, and returns what those that answered have told."""
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
            # A line break in a name can make a second row of the name of another.
            _, *counts = bounded.get(name, (name, 0, 0, 0))
            bounded[name] = FunctionStatus(name, *map(sum, zip(counts, row[1:], strict=True)))
        return bounded.values()

    def _families(self) -> tuple[GaugeMetricFamily, ...]:
        return (
            GaugeMetricFamily(
                "gearmanny_job_server_up", "Whether a job server told its queues", labels=["host"]
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
