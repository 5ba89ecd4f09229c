"""The queues of job servers, read whenever Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gearmanny.admin import FunctionStatus, JobServer
from gearmanny.errors import GearmanException
from gearmanny.net.hosts import HOSTS, parse_hosts
from gearmanny.net.tls import TLSOption

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
        tls: TLSOption = None,
    ) -> None:
        """
        Args:
            hosts: the job servers, as `"name:port"`. Default: `["localhost:4730"]`.
            timeout: seconds to wait for each of them; all are asked at the same time.
            tls: the TLS settings: True, a dict of PEM files (`"ca"`, `"cert"`, `"key"`) or an
                `ssl.SSLContext`; None for plain connections.

        Raises:
            InvalidOption: a host or `tls` is invalid.
        """
        names = dict.fromkeys(map(str, parse_hosts(HOSTS if hosts is None else hosts)))
        self._servers = [JobServer(name, timeout, tls=tls) for name in names]

    def describe(self) -> Iterable[Metric]:
        """Returns the metrics without values, so that registering them asks no job server."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """Asks all job servers, and returns the metrics of those that answered."""
        up, jobs, workers = families = self._families()
        with ThreadPoolExecutor(len(self._servers)) as asking:
            answers = asking.map(_status, self._servers)
            for host, rows in zip(map(str, self._servers), answers, strict=True):
                up.add_metric([host], rows is not None)
                for row in rows or ():
                    jobs.add_metric([host, row.function, "queued"], row.total - row.running)
                    jobs.add_metric([host, row.function, "running"], row.running)
                    workers.add_metric([host, row.function], row.workers)
        return families

    def _families(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily(
                "gearmanny_job_server_up", "Whether a job server answered", labels=["host"]
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


def _status(server: JobServer) -> list[FunctionStatus] | None:
    try:
        return server.status()
    except GearmanException:
        return None
