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
        for function in functions_of(each.worker):
            if function != help_function(each.worker) and not is_internal(function):
                found[function] = str(each)
    return found


def is_internal(function: str) -> bool:
    """Returns whether a function is not for users: a queue of Django's tasks, whose arguments say
    which task is run, or the one that changes records."""
    return queue_of(function) is not None or function in functions_of(RecordsWorker)


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
    return {function: help for function, help in known.items() if _is_help(help)}


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
            found = table.get(function) if isinstance(table, dict) else None
            return found if _is_help(found) else None
    return None


def _is_help(found: Any) -> bool:
    """Returns whether something is an entry of a help table: anybody may answer in a worker's
    name."""
    if not isinstance(found, dict) or not isinstance(found.get("description", ""), str):
        return False
    described = found.get("input", {})
    return isinstance(described, dict) and all(
        isinstance(each, dict) for each in described.values()
    )
