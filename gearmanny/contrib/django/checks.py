"""System checks of the setting `GEARMANNY` and of the workers: docs/checks.md lists them. They
connect to nothing."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from gearmanny.contrib.django.discovery import (
    DiscoveryError,
    FoundWorker,
    Search,
    apps_with_workers,
    find_workers,
    importable_workers,
    workers_of_tasks,
)
from gearmanny.contrib.django.encoding import DjangoJsonWorker
from gearmanny.contrib.django.settings import HYGIENE, get_settings
from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.running.factory import initializes, work_class_of
from gearmanny.running.pools import pools_of
from gearmanny.tasks.finding import functions_of
from gearmanny.working.options import WorkerOptions
from gearmanny.working.schedules import check_schedules

_OPTIONS = WorkerOptions(default_work_class=DjangoJsonWorker)

_PATIENCE_OF_WEB_SERVERS = 30
"""Seconds: the default of gunicorn and others."""


@register("gearmanny")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Checks that the settings are valid, and that tasks get healthy database connections."""
    problem = ""
    try:
        hooks = get_settings().hooks()
        get_settings().CACHE.washer()
        get_settings().CACHE.json_encoder()
        get_settings().RECORDS.new_headers()
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
            check_schedules(found.worker, work_class_of(found.worker, _OPTIONS))
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
    if settings.TIMEOUT is None or settings.TIMEOUT > _PATIENCE_OF_WEB_SERVERS:
        waits = "for ever" if settings.TIMEOUT is None else f"for {settings.TIMEOUT} seconds"
        messages.append(
            Warning(
                f"GEARMANNY['TIMEOUT'] lets a call wait {waits}, and web servers give a request up "
                f"after {_PATIENCE_OF_WEB_SERVERS} seconds, as gunicorn does, which kills its "
                "process then.",
                hint="Set it to less, such as 20, or raise the limit of your web server, and "
                "silence this warning. Single calls may wait longer: client.using(timeout=…).",
                id="gearmanny.W008",
            )
        )
    return [*messages, *_check_tracebacks()]


def _check_tracebacks() -> list[CheckMessage]:
    return [
        Warning(
            f"{found} has send_tracebacks = True: whoever calls its tasks gets the paths and the "
            "lines of your code when one fails.",
            hint="Remove it. The log of the worker has the tracebacks.",
            id="gearmanny.W007",
        )
        for found in importable_workers()
        if found.worker.send_tracebacks
    ]
