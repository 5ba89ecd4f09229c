"""The only module that imports gearman3: its classes, without its connections.

gearman3 0.2.1 cannot receive a byte on any supported version of Python, so none
of its connections are used. Users subclass its classes, and callbacks receive
instances of them. A maintained fork may provide the module `gearman`, too.
"""

from __future__ import annotations

from typing import Any, Protocol

from gearman import DataEncoder, GearmanClient, GearmanWorker
from gearman.job import GearmanJob

from gearmanny.payload.headers import Headers

__all__ = [
    "DataEncoder",
    "GearmanClient",
    "GearmanJob",
    "GearmanWorker",
    "Job",
    "handle_of",
    "hosts_of",
    "tls_of",
]


class Job(Protocol):
    """The job of a task: a `GearmanJob`, or an instance of the worker's `job_class`."""

    handle: str
    """The handle of the job on its job server, which is valid until that is restarted."""
    unique: str
    """The unique id that it was sent with; empty without one."""
    function: str
    """The Gearman function, such as `"myworker_add"`."""
    attempt: int
    """The number of this attempt, beginning with 1."""
    interrupted: bool
    """Whether this attempt has been interrupted, by its time limit or a cancellation. A connection
    or a lock that the task was using at that moment may be in an inconsistent state."""
    data: Any
    """The decoded arguments."""
    headers: Headers
    """Those of its caller, where the job has a record, by their names; empty for others."""


def hosts_of(manager: GearmanWorker | GearmanClient) -> list[str]:
    """Returns the job servers of a gearman3 object.

    Args:
        manager: the worker or client.

    Returns:
        Their addresses, as `"host:port"`.
    """
    return [
        f"{connection.gearman_host}:{connection.gearman_port}"
        for connection in manager.connection_list
    ]


def tls_of(manager: GearmanWorker | GearmanClient) -> dict[str, str] | None:
    """Returns the TLS settings of a gearman3 object.

    The settings of the first job server with TLS are used for all, so that none is left unsecured.

    Args:
        manager: the worker or client.

    Returns:
        The files, as the option `tls` takes them; None if no job server has TLS.
    """
    for connection in manager.connection_list:
        if getattr(connection, "use_ssl", False):
            return {
                "ca": connection.ca_certs,
                "cert": connection.certfile,
                "key": connection.keyfile,
            }
    return None


def handle_of(job: GearmanJob) -> bytes:
    """Returns the handle of a job, as it travels.

    Args:
        job: the job.
    """
    handle: str = job.handle
    return handle.encode(errors="surrogateescape")
