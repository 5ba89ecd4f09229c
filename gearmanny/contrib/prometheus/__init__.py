"""Metrics for Prometheus: `pip install 'gearmanny[prometheus]'`.

`metrics` is a hook that counts and times jobs in the default registry of `prometheus_client`.
`serve_metrics` serves the metrics of all processes of a `WorkRunner` on one port, together with the
queues of the job servers, which are read by `QueueCollector`, and the numbers of recorded jobs,
which are read by `RecordCollector`.

========================================  ====================================================
`gearmanny_jobs_total`                    attempts that ended, by `function` and `outcome`: `ok`,
                                          `failed`, `timed_out`, or `rejected` by a hook
`gearmanny_job_seconds`                   histogram of the durations of attempts, by `function`,
                                          without rejected ones
`gearmanny_jobs_in_progress`              running tasks, by `function`
`gearmanny_cache_calls_total`             calls of cached functions, by the `name` of their answers
                                          and `outcome`: `hit`, `stale`, `fallback`, `joined`,
                                          `miss` or `uncached`
`gearmanny_queue_jobs`                    jobs of a job server, by `host`, `function` and `state`:
                                          `queued` or `running`
`gearmanny_queue_workers`                 workers of a job server, by `host` and `function`
`gearmanny_records`                       recorded jobs by `function` and `state`: `waiting`,
                                          `scheduled`, `running` or `failed`
`gearmanny_records_oldest_seconds`        how long the oldest of those that wait has been due, by
                                          `function`
`gearmanny_records_taken_back_total`      jobs taken back from dead processes, by `function` and
                                          `outcome`: `returned` to the queue, or `poisoned`
`gearmanny_store_up`                      1 if the store of records answered, else 0
`gearmanny_job_server_up`                 1 if the job server at `host` answered, else 0
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
from gearmanny.contrib.prometheus.records import RecordCollector
from gearmanny.contrib.prometheus.serving import serve_metrics

__all__ = ["QueueCollector", "RecordCollector", "metrics", "serve_metrics"]
