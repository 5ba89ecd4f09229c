"""System checks of the setting `GEARMANNY` and of the workers: docs/checks.md lists them. They
connect to nothing, but to databases that are named with `--database`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import import_string

from gearmanny.contrib.django.connectors import problem_of
from gearmanny.contrib.django.discovery import (
    DiscoveryError,
    FoundWorker,
    Search,
    apps_with_workers,
    find_workers,
    workers_of_tasks,
)
from gearmanny.contrib.django.schema import find_store, session_on
from gearmanny.contrib.django.settings import HYGIENE, get_settings
from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.records.looking import counts
from gearmanny.records.schema import found_in
from gearmanny.running.factory import initializes
from gearmanny.running.pools import pools_of
from gearmanny.tasks.finding import functions_of


@register("gearmanny")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Checks that the settings are valid, and that tasks get healthy database connections."""
    problem = ""
    try:
        hooks = get_settings().hooks()
        get_settings().CACHE.washer()
        get_settings().CACHE.json_encoder()
    except ImproperlyConfigured as error:
        problem = str(error)
    if problem:
        return [
            Error(
                problem,
                hint="The keys and their values are listed in gearmanny.contrib.django.settings.",
                id="gearmanny.E001",
            )
        ]
    if import_string(HYGIENE) in hooks:
        return []
    return [
        Warning(
            f"GEARMANNY['HOOKS'] does not contain {HYGIENE!r}: tasks may get database connections "
            "that are broken or too old, and under DEBUG the log of queries grows with every job.",
            hint="Add it as the first hook. If no task uses a database, silence this warning.",
            id="gearmanny.W003",
        )
    ]


@register("gearmanny")
def check_records(**kwargs: Any) -> list[CheckMessage]:
    """Checks that the database of the records can have some."""
    try:
        settings = get_settings().RECORDS
    except ImproperlyConfigured:  # reported by E001
        return []
    problem = problem_of(settings.DATABASE) if settings.STORE is not None else ""
    return [Error(problem, id="gearmanny.E005")] if problem else []


@register(Tags.database)
def check_tables(databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Checks that the tables of the records are as they should be, and that nobody waits there
    without the setting.

    Args:
        databases: the aliases of those to which checks may connect.
        kwargs: more of what Django says.
    """
    try:
        settings = get_settings().RECORDS
    except ImproperlyConfigured:  # reported by E001
        return []
    alias = settings.DATABASE
    if alias not in (databases or ()) or problem_of(alias):
        return []
    session = session_on(connections[alias])
    if settings.STORE is not None:
        try:
            find_store(alias, session)
        except InvalidOption as error:
            return [Warning(str(error), id="gearmanny.W005")]
        return []
    if found_in(session) is None:
        return []
    waiting = sum(count.waiting + count.scheduled + count.running for count in counts(session))
    if not waiting:
        return []
    return [
        Warning(
            f"{waiting} recorded job(s) wait in the database {alias!r}, but "
            "GEARMANNY['RECORDS']['STORE'] is None: no worker can run them.",
            hint="Set it to 'database' again until they have ended, or cancel them.",
            id="gearmanny.W006",
        )
    ]


@register("gearmanny")
def check_workers(**kwargs: Any) -> list[CheckMessage]:
    """Checks that the workers of the installed apps can be imported and run."""
    messages: list[CheckMessage] = []
    search = Search()
    for app in apps_with_workers():
        try:
            search.add(app)
        except DiscoveryError as error:
            messages.append(Error(str(error), id="gearmanny.E002"))
    owners: dict[str, FoundWorker] = {}
    of_tasks: list[FoundWorker] = []
    try:
        of_tasks = workers_of_tasks()
    except DiscoveryError as error:
        messages.append(Error(str(error), id="gearmanny.E013"))
    for found in [*search.workers, *of_tasks]:
        try:
            functions = functions_of(found.worker)
        except (InvalidTask, InvalidOption) as error:
            messages.append(Error(f"{found} cannot be run: {error}", id="gearmanny.E003"))
            continue
        taken = [function for function in functions if function in owners]
        if taken:
            messages.append(
                Error(
                    f"{found} exports {taken[0]}(), which {owners[taken[0]]} exports, too.",
                    hint="Give one of them another name.",
                    id="gearmanny.E004",
                )
            )
        owners |= dict.fromkeys(functions, found)
        if not initializes(found.worker):
            messages.append(
                Warning(
                    f"{found} has an __init__() that does not call super().__init__(): without "
                    "that, no process can make the worker.",
                    hint="Open what the tasks need in setUp() instead.",
                    id="gearmanny.W004",
                )
            )
    return messages


@register("gearmanny")
def check_pools(**kwargs: Any) -> list[CheckMessage]:
    """Checks that the workers that pools name are there."""
    try:
        pools = get_settings().POOLS
        found = find_workers() if pools else []
    except (ImproperlyConfigured, DiscoveryError):  # reported by E001, E002 and `runworkers`
        return []
    try:
        pools_of([getattr(each.worker, "name", "") for each in found], pools)
    except InvalidOption as error:
        return [Error(f"GEARMANNY['POOLS']: {error}", id="gearmanny.E020")]
    return []


@register("gearmanny", deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Checks that no setting for tests or for development is on."""
    try:
        settings = get_settings()
    except ImproperlyConfigured:  # reported by E001
        return []
    messages: list[CheckMessage] = []
    if settings.EAGER:
        messages.append(
            Warning(
                "GEARMANNY['EAGER'] is set to True: calls run their tasks in the process that "
                "makes them.",
                hint="Set it in the settings of your tests only.",
                id="gearmanny.W001",
            )
        )
    if settings.EMBEDDED:
        messages.append(
            Warning(
                "GEARMANNY['EMBEDDED'] is set to True: a job server that runworkers starts ends "
                "with it, and loses all of its jobs.",
                hint="Remove the key, and run gearmand.",
                id="gearmanny.W002",
            )
        )
    return messages
