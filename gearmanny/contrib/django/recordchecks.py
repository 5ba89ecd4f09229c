"""System checks of the records. They connect to nothing, but to databases that are named with
`--database`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router

from gearmanny.contrib.django.connectors import problem_of
from gearmanny.contrib.django.discovery import importable_workers
from gearmanny.contrib.django.schema import find_store, session_on
from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.records.handing import neglected
from gearmanny.records.looking import counts
from gearmanny.records.schema import found_in
from gearmanny.records.session import Session
from gearmanny.tasks.finding import find_tasks
from gearmanny.worker import BaseWorker

_LONG_DUE = 60
"""Seconds after which a dispatcher would have handed a job over."""


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
        return _check_dispatchers(alias, session)
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


def _check_dispatchers(alias: str, session: Session) -> list[CheckMessage]:
    left = neglected(session, _LONG_DUE)
    if not left:
        return []
    return [
        Warning(
            f"Recorded jobs of {', '.join(left)} in the database {alias!r} have been due for more "
            f"than {_LONG_DUE} seconds, and nobody hands them over: no dispatcher runs, or it "
            "reaches no job server.",
            hint="Start runworkers without --no-dispatch, or manage.py gearmanny dispatch, and "
            "look into its log.",
            id="gearmanny.W011",
        )
    ]


@register("gearmanny")
def check_atomic_tasks(**kwargs: Any) -> list[CheckMessage]:
    """Checks that atomic tasks write to the database in whose transactions they run."""
    try:
        alias = get_settings().RECORDS.DATABASE
    except ImproperlyConfigured:  # reported by E001
        return []
    messages: list[CheckMessage] = []
    for found in importable_workers():
        app = apps.get_containing_app_config(found.module)
        written = {router.db_for_write(model) for model in app.get_models()} if app else set()
        if written and alias not in written and _has_atomic_tasks(found.worker):
            messages.append(
                Warning(
                    f"{found} has atomic tasks, which run in a transaction of the database "
                    f"{alias!r}, but the models of its app are written to "
                    f"{', '.join(map(repr, sorted(written)))}: what the tasks write is not part of "
                    "that transaction.",
                    hint="Keep the records where the tasks write, by "
                    "GEARMANNY['RECORDS']['DATABASE'], or leave atomic=True out.",
                    id="gearmanny.W009",
                )
            )
    return messages


def _has_atomic_tasks(kind: type[BaseWorker]) -> bool:
    try:
        return any(task.options.atomic for task in find_tasks(kind))
    except (InvalidTask, InvalidOption):  # reported by E003
        return False
