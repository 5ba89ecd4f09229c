"""Waiting for a job server when a runner starts."""

from __future__ import annotations

import logging

from gearmanny.admin import JobServer
from gearmanny.errors import GearmanException, JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import CONNECT_TIMEOUT, HOSTS, parse_hosts
from gearmanny.payload.backoff import Backoff
from gearmanny.running.options import RunnerOptions
from gearmanny.running.supervisor import Supervisor

logger = logging.getLogger("gearmanny.runner")

_SHORTEST_QUESTION = 0.1
"""Seconds in which a job server may answer, even if less time is left."""


def reach_a_job_server(supervisor: Supervisor, options: RunnerOptions) -> None:
    """Returns when a job server has answered, or when there was a signal to stop. The connection is
    not kept: children hold what their parent holds when it forks.

    Args:
        supervisor: waits, and knows of signals.
        options: those of the runner; without a `connect_timeout`, this returns at once.

    Raises:
        JobServerUnavailable: none has answered within the `connect_timeout`.
    """
    timeout = options.connect_timeout
    if timeout is None:
        return
    hosts = [str(host) for host in options.worker.hosts or parse_hosts(HOSTS)]
    deadline = Deadline(timeout)
    backoff = Backoff(first=0.1, longest=2.0)
    while not supervisor.stopping:
        failures: dict[str, str] = {}
        for asked, host in enumerate(hosts):
            supervisor.look_at_health()
            share = (deadline.remaining() or 0.0) / (len(hosts) - asked)
            try:
                JobServer(
                    host,
                    min(max(share, _SHORTEST_QUESTION), CONNECT_TIMEOUT),
                    tls=options.worker.tls,
                ).version()
            except JobServerUnavailable as error:
                failures |= error.failures
            except GearmanException as error:
                failures[host] = str(error)
            else:
                return
        remaining = deadline.remaining()
        if not remaining:
            raise JobServerUnavailable(failures)
        if not backoff.attempts:
            logger.warning(
                "waiting for a job server, at most %g s: %s",
                timeout,
                "; ".join(f"{host} ({reason})" for host, reason in failures.items()),
                extra={"action": "server_away"},
            )
        supervisor.pause(min(remaining, backoff.next_delay()))
