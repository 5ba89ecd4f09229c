"""Metrics for Prometheus: `pip install 'gearmanny[prometheus]'`.

`metrics` is a hook that counts and times jobs in the default registry of `prometheus_client`;
`serve_metrics` serves those of all processes of a `WorkRunner` on one port, with the queues of the
job servers, which `QueueCollector` asks for.

========================================  ====================================================
`gearmanny_jobs_total`                    attempts that ended, by `function` and `outcome`: `ok`,
                                          `failed`, `timed_out`, or `rejected` by a hook
`gearmanny_job_seconds`                   histogram of what they took, by `function`, without
                                          those that were rejected
`gearmanny_jobs_in_progress`              tasks that run, by `function`
`gearmanny_cache_calls_total`             calls of cached functions, by the `name` of their answers
                                          and `outcome`: `hit`, `stale`, `fallback`, `joined`,
                                          `miss` or `uncached`
`gearmanny_queue_jobs`                    jobs of a job server, by `host`, `function` and `state`:
                                          `queued` or `running`
`gearmanny_queue_workers`                 workers of a job server, by `host` and `function`
`gearmanny_job_server_up`                 1 when a `host` told its queues, else 0
========================================  ====================================================
"""

try:
    import prometheus_client  # noqa: F401
except ImportError as error:
    raise ImportError(
        "The metrics need prometheus_client: pip install 'gearmanny[prometheus]'"
    ) from error

from gearmanny.contrib.prometheus.instruments import metrics
from gearmanny.contrib.prometheus.queues import QueueCollector
from gearmanny.contrib.prometheus.serving import serve_metrics

__all__ = ["QueueCollector", "metrics", "serve_metrics"]
