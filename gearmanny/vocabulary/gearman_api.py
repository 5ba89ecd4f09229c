"""The only file that imports gearman3: its vocabulary, without its engine.

gearman3 0.2.1 cannot receive a byte on any supported Python, so nothing here
connects. Its classes are what users subclass and what callbacks are given.
This also has to work where a maintained fork provides the module `gearman`.
"""

from __future__ import annotations

from typing import Any, Protocol

from gearman import DataEncoder, GearmanClient, GearmanWorker
from gearman.job import GearmanJob

__all__ = [
    "DataEncoder",
    "GearmanClient",
    "GearmanJob",
    "GearmanWorker",
    "Job",
    "hosts_of",
    "tls_of",
]


class Job(Protocol):
    """The job that a task works on: a `GearmanJob`, or an instance of another `job_class`."""

    handle: str
    """The name of the job at its job server, until that is restarted."""
    unique: str
    """The unique id that it was sent with; empty without one."""
    function: str
    """The Gearman function, `"myworker_add"`."""
    attempt: int
    """1, and more when the task is tried again."""
    interrupted: bool
    """Whether the time limit of this attempt has interrupted the task: a connection or a lock that
    the task used at that moment may be half changed."""
    data: Any
    """The arguments, decoded."""


def hosts_of(manager: GearmanWorker | GearmanClient) -> list[str]:
    """Returns the `"host:port"` of each job server that a gearman3 object was made with.

    Args:
        manager: the worker or client.
    """
    return [
        f"{connection.gearman_host}:{connection.gearman_port}"
        for connection in manager.connection_list
    ]


def tls_of(manager: GearmanWorker | GearmanClient) -> dict[str, str] | None:
    """Returns the files with which a gearman3 object secures its connections; None for plain ones.

    Those of its first secured job server are used for all: rather too secure than not at all.

    Args:
        manager: the worker or client.
    """
    for connection in manager.connection_list:
        if getattr(connection, "use_ssl", False):
            return {
                "ca": connection.ca_certs,
                "cert": connection.certfile,
                "key": connection.keyfile,
            }
    return None
