"""The functions that the workers of this project offer, and their help."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from gearmanny.contrib.django.clients import async_client
from gearmanny.contrib.django.discovery import DiscoveryError, find_workers
from gearmanny.contrib.django.explorer.worker import RecordsWorker
from gearmanny.contrib.django.models import WorkerProcess
from gearmanny.contrib.django.taskqueues import queue_of
from gearmanny.errors import GearmanException
from gearmanny.tasks.finding import functions_of, help_function

_ASKING = 2.0
"""Seconds in which a worker without a record of its own describes its functions."""


class Offered(NamedTuple):
    """A function that somebody may call."""

    function: str
    worker: str
    """Its worker class."""
    help: Mapping[str, Any] | None
    """Its entry in the help table; None where no worker that is alive has described it."""


def project_functions() -> dict[str, str]:
    """Returns the functions of the `workers.py` of the project, each with its worker class, but
    for those that are called in other ways, such as the queues of Django's tasks.

    Raises:
        DiscoveryError: a `workers.py` cannot be imported.
    """
    found: dict[str, str] = {}
    for each in find_workers():
        if each.worker is RecordsWorker:
            continue
        for function in functions_of(each.worker):
            if function != help_function(each.worker) and queue_of(function) is None:
                found[function] = str(each)
    return found


def find_offered() -> list[Offered]:
    """Returns the functions of the project, in the order of their workers. Asks nobody."""
    try:
        functions = project_functions()
    except DiscoveryError:
        return []
    known = described_by_processes()
    return [Offered(name, worker, known.get(name)) for name, worker in functions.items()]


def find_one(function: str) -> Offered | None:
    """Returns a function of the project; None where it has no such one. Where no process that is
    registered offers it, its worker is asked to describe it.

    Args:
        function: its name.
    """
    for offered in find_offered():
        if offered.function == function:
            return offered if offered.help is not None else offered._replace(help=_ask(function))
    return None


def described_by_processes() -> dict[str, Mapping[str, Any]]:
    """Returns what the processes that are alive say of their functions."""
    known: dict[str, Mapping[str, Any]] = {}
    for functions in set(WorkerProcess.objects.values_list("functions", flat=True)):
        known |= json.loads(functions)
    return known


def _ask(function: str) -> Mapping[str, Any] | None:
    """Returns what a worker says of one of its functions; None if none answers at once, as none
    that is busy does."""
    for each in find_workers():
        if function in functions_of(each.worker):
            ask: Any = getattr(async_client.using(timeout=_ASKING), help_function(each.worker))
            try:
                table = ask().get_result(timeout=_ASKING)
            except GearmanException:
                return None
            found: Mapping[str, Any] | None = table.get(function)
            return found
    return None
