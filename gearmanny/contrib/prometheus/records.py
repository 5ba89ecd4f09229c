"""Recorded jobs: counted in the database whenever Prometheus scrapes, and when a dispatcher takes
them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gearmanny.dispatching import counting
from gearmanny.errors import StoreUnavailable
from gearmanny.payload.checks import COUNT
from gearmanny.records.contract import Store
from gearmanny.records.values import Count, Returned

_MAX_FUNCTIONS = 1000
"""Functions with labels of their own."""

_OTHERS = "(others)"
"""The label of all others. It is not a valid name of a function of gearmanny."""

_TAKEN_BACK = Counter(
    "gearmanny_records_taken_back",
    "Recorded jobs that were taken back from dead processes",
    ["function", "outcome"],
)


def _count_taken_back(job: Returned) -> None:
    _TAKEN_BACK.labels(job.function, "poisoned" if job.is_poisoned else "returned").inc()


counting.listeners.append(_count_taken_back)


class RecordCollector(Collector):
    """Collects the numbers of recorded jobs.

    `REGISTRY.register(RecordCollector(store))` adds them to the metrics of any process.
    """

    def __init__(self, store: Store, *, max_functions: int = _MAX_FUNCTIONS) -> None:
        """
        Args:
            store: where the records are.
            max_functions: how many functions get labels of their own, those with the most jobs.
                The others are added up under the label "(others)".

        Raises:
            InvalidOption: `max_functions` is not a number of functions.
        """
        COUNT.check("max_functions", max_functions)
        self._store = store
        self._max_functions = max_functions

    def describe(self) -> Iterable[Metric]:
        """Returns the metrics without values, so that registering them asks no database."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """Counts the jobs in the database, if it answers."""
        up, jobs, oldest = families = self._families()
        try:
            counts = self._store.counts()
        except StoreUnavailable:
            up.add_metric([], 0)
            return families
        up.add_metric([], 1)
        for count in self._bounded(counts):
            for state in ("waiting", "scheduled", "running", "failed"):
                jobs.add_metric([count.function, state], getattr(count, state))
            oldest.add_metric([count.function], count.oldest)
        return families

    def _bounded(self, counts: Sequence[Count]) -> Iterable[Count]:
        ordered = sorted(counts, key=lambda count: sum(count[1:5]), reverse=True)
        others = ordered[self._max_functions :]
        yield from ordered[: self._max_functions]
        if others:
            yield Count(
                _OTHERS,
                sum(count.waiting for count in others),
                sum(count.scheduled for count in others),
                sum(count.running for count in others),
                sum(count.failed for count in others),
                max(count.oldest for count in others),
            )

    def _families(self) -> tuple[GaugeMetricFamily, ...]:
        return (
            GaugeMetricFamily("gearmanny_store_up", "Whether the store of records answered"),
            GaugeMetricFamily(
                "gearmanny_records",
                "Recorded jobs that are open or have failed",
                labels=["function", "state"],
            ),
            GaugeMetricFamily(
                "gearmanny_records_oldest_seconds",
                "Seconds for which the oldest of the jobs that wait has been due",
                labels=["function"],
            ),
        )
