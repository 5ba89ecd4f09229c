"""What is known of job servers, functions and processes at one moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from gearmanny.protocol.admin import FunctionStatus
from gearmanny.protocol.versions import traps_of
from gearmanny.records.values import Count, Process


class Server(NamedTuple):
    """A job server."""

    host: str
    version: str = ""
    error: str = ""
    """Why it is not known; empty if it is."""
    functions: Sequence[FunctionStatus] = ()


class Records(NamedTuple):
    """The records of jobs."""

    counts: Sequence[Count] = ()
    processes: Sequence[Process] = ()
    error: str = ""
    """Why they are not known; empty if they are."""


class Row(NamedTuple):
    """A function, at all job servers and in the records."""

    function: str
    waiting: int = 0
    """Jobs that wait at the job servers."""
    running: int = 0
    """Jobs that run, as the job servers see it."""
    workers: int = 0
    """Workers that offer it; one that has two job servers is counted twice."""
    recorded: int = 0
    """Recorded jobs that are due and wait, also those that wait at a job server by now."""
    scheduled: int = 0
    """Recorded jobs that are due later."""
    failed: int = 0
    """Recorded jobs that have failed."""
    oldest: float = 0.0
    """Seconds for which the oldest recorded job that waits has been due."""
    abandoned: bool = False
    """Whether jobs wait where no worker offers the function, or no worker does at all although it
    is one of this project."""


class Overview(NamedTuple):
    """All of it."""

    servers: Sequence[Server]
    rows: Sequence[Row]
    """By name."""
    records: Records | None = None
    """None where jobs have no records."""

    @property
    def is_whole(self) -> bool:
        """Whether everything is known."""
        errors = [server.error for server in self.servers]
        if self.records is not None:
            errors.append(self.records.error)
        return not any(errors)


def overview_of(
    servers: Sequence[Server], records: Records | None, expected: Iterable[str] = ()
) -> Overview:
    """Returns what is known.

    Args:
        servers: the job servers.
        records: the records; None where there are none.
        expected: functions that should have workers.
    """
    known = {
        name for server in servers for name in (function.function for function in server.functions)
    }
    counts = {count.function: count for count in records.counts} if records is not None else {}
    expected = frozenset(expected)
    answering = [server for server in servers if not server.error]
    return Overview(
        servers,
        [
            _row(name, answering, counts, name in expected)
            for name in sorted(known | counts.keys() | expected)
        ],
        records,
    )


def _row(
    name: str, servers: Sequence[Server], counts: Mapping[str, Count], is_expected: bool
) -> Row:
    found = [each for server in servers for each in server.functions if each.function == name]
    workers = sum(each.workers for each in found)
    count = counts.get(name, Count(name, 0, 0, 0, 0, 0.0))
    is_wanted = is_expected or count.waiting > 0
    return Row(
        name,
        waiting=sum(max(each.total - each.running, 0) for each in found),
        running=sum(each.running for each in found),
        workers=workers,
        recorded=count.waiting,
        scheduled=count.scheduled,
        failed=count.failed,
        oldest=count.oldest,
        abandoned=any(each.total and not each.workers for each in found)
        or bool(servers and is_wanted and not workers),
    )


def as_json(overview: Overview, now: datetime) -> dict[str, Any]:
    """Returns an overview as a JSON object, which `docs/commands.md` describes.

    Args:
        overview: what is known.
        now: the time at which that was so.
    """
    records = overview.records
    described: dict[str, Any] = {
        "time": now.isoformat(),
        "servers": [
            {
                "host": server.host,
                "version": server.version or None,
                "error": server.error or None,
                "traps": [trap.name for trap in traps_of(server.version)] if server.version else [],
                "functions": [
                    {
                        "function": each.function,
                        "waiting": max(each.total - each.running, 0),
                        "running": each.running,
                        "workers": each.workers,
                    }
                    for each in sorted(server.functions)
                ],
            }
            for server in overview.servers
        ],
        "functions": [row._asdict() for row in overview.rows],
        "records": None,
    }
    if records is None:
        for row in described["functions"]:
            for name in RECORDED_METRICS:
                del row[name]
    else:
        described["records"] = {
            "error": records.error or None,
            "processes": [
                {
                    "id": process.id,
                    "host": process.host,
                    "pid": process.pid,
                    "pool": process.pool,
                    "name": process.client_id,
                    "started": process.started.isoformat(),
                }
                for process in records.processes
            ],
        }
    return described


METRICS = ("waiting", "running", "workers")
"""The numbers of a function that job servers know."""

RECORDED_METRICS = ("recorded", "scheduled", "failed", "oldest")
"""Those that are in the records."""
