"""System checks of the records. They connect to nothing, but to databases that are named with
`--database`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from gearmanny.contrib.django.connectors import problem_of
from gearmanny.contrib.django.schema import find_store, session_on
from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import InvalidOption
from gearmanny.records.looking import counts
from gearmanny.records.schema import found_in


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
