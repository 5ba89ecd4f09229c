"""What is going on now: job servers, functions, and the processes that run jobs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.utils.safestring import SafeString

from gearmanny.admin import JobServer
from gearmanny.commands.overview import Row, Server, overview_of
from gearmanny.commands.survey import ask_servers, ask_store
from gearmanny.contrib.django.discovery import DiscoveryError
from gearmanny.contrib.django.explorer.drawings import line_through
from gearmanny.contrib.django.explorer.offered import project_functions
from gearmanny.contrib.django.explorer.site import store_of_project
from gearmanny.contrib.django.models import JobRecord, WorkerProcess
from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import GearmanException
from gearmanny.protocol.admin import WorkerStatus
from gearmanny.protocol.versions import Trap, traps_of
from gearmanny.records.states import State
from gearmanny.records.summaries import Pace

_PATIENCE = 1.0
"""Seconds in which all job servers answer, or are shown as silent."""

_FRESH = 10.0
"""Seconds for which the paces of functions are not read again."""

_HELP = "_help"
"""The end of the functions that describe others."""

_PACED = 50
"""Functions whose paces are read."""


class ServerNow(NamedTuple):
    """A job server."""

    host: str
    version: str
    traps: Sequence[Trap]
    error: str
    waiting: int
    running: int
    workers: int
    """Connections that offer functions."""


class FunctionNow(NamedTuple):
    """A function."""

    row: Row
    pace: Pace | None

    @property
    def a_minute(self) -> float | None:
        """Jobs that ended a minute, of the last five minutes."""
        return None if self.pace is None else self.pace.slots[-1] / 5

    @property
    def line(self) -> SafeString | str:
        """A line through the jobs of each slot."""
        if self.pace is None or not any(self.pace.slots):
            return ""
        return line_through(self.pace.slots)


class ProcessNow(NamedTuple):
    """A process that runs recorded jobs."""

    name: str
    host: str
    pid: int
    pool: str
    functions: Sequence[str]
    started: datetime
    job: JobRecord | None
    """The job that it runs."""


class Now(NamedTuple):
    """All of it."""

    servers: Sequence[ServerNow]
    functions: Sequence[FunctionNow]
    processes: Sequence[ProcessNow]
    others: Sequence[tuple[str, WorkerStatus]]
    """Workers without records, each with its job server."""
    error: str
    """Why the records are not known; empty if they are."""


def look_around() -> Now:
    """Returns what is going on. It waits a second for job servers at most, and raises nothing."""
    settings = get_settings()
    servers = ask_servers(settings.HOSTS, timeout=_PATIENCE, tls=settings.TLS)
    workers = _ask_workers([server.host for server in servers if not server.error])
    records = ask_store(store_of_project())
    rows = [
        row
        for row in overview_of(servers, records, _expected()).rows
        if not row.function.endswith(_HELP) or row.abandoned
    ]
    paces = {} if records.error else _paces.of(row.function for row in rows[:_PACED])
    processes = [] if records.error else _processes()
    known = {process.name for process in processes}
    return Now(
        servers=[_server(server, workers.get(server.host, ())) for server in servers],
        functions=[FunctionNow(row, paces.get(row.function)) for row in rows],
        processes=processes,
        others=[
            (host, worker)
            for host, found in workers.items()
            for worker in found
            if worker.functions and worker.client_id not in known
        ],
        error=records.error,
    )


def _expected() -> Iterable[str]:
    try:
        return project_functions()
    except DiscoveryError:
        return ()


def _server(server: Server, workers: Sequence[WorkerStatus]) -> ServerNow:
    return ServerNow(
        host=server.host,
        version=server.version,
        traps=traps_of(server.version) if server.version else (),
        error=server.error,
        waiting=sum(max(each.total - each.running, 0) for each in server.functions),
        running=sum(each.running for each in server.functions),
        workers=sum(bool(worker.functions) for worker in workers),
    )


def _ask_workers(hosts: Sequence[str]) -> dict[str, Sequence[WorkerStatus]]:
    found: dict[str, Sequence[WorkerStatus]] = {}

    def ask(host: str) -> None:
        try:
            found[host] = JobServer(host, _PATIENCE, tls=get_settings().TLS).workers()
        except GearmanException:
            found[host] = ()

    threads = [threading.Thread(target=ask, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    return {host: found.get(host, ()) for host in hosts}


def _processes() -> list[ProcessNow]:
    running = JobRecord.objects.filter(state=State.RUNNING)
    running = running.only("id", "function", "started", "process")
    jobs = {job.process: job for job in running[:1000]}
    return [
        ProcessNow(
            name=process.client_id,
            host=process.host,
            pid=process.pid,
            pool=process.pool,
            functions=sorted(json.loads(process.functions)),
            started=process.started,
            job=jobs.get(process.pk),
        )
        for process in WorkerProcess.objects.order_by("host", "pid")
    ]


class _Paces:
    """The paces of functions, which many pages show, and which take some milliseconds each."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[float, Pace]] = {}

    def of(self, functions: Iterable[str]) -> dict[str, Pace]:
        functions = list(functions)
        moment = time.monotonic()
        read = {
            function: self._read[function]
            for function in functions
            if function in self._read and self._read[function][0] > moment - _FRESH
        }
        for pace in store_of_project().paces([each for each in functions if each not in read]):
            read[pace.function] = moment, pace
        self._read = read
        return {function: pace for function, (_, pace) in read.items()}


_paces = _Paces()
