"""The way to a database of Django's DATABASES, for connections of a store's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from gearmanny.errors import InvalidOption
from gearmanny.records.connectors import Connector

_OF_DJANGO = ("context", "cursor_factory", "prepare_threshold")
"""Parameters by which Django makes its connections what its ORM needs."""


def connector_of(alias: str) -> Connector:
    """Returns the way to the database of an alias, as its entry says now: tests have a database of
    another name.

    Raises:
        InvalidOption: the database is of another kind, or in memory.
    """
    problem = problem_of(alias)
    if problem:
        raise InvalidOption(problem)
    database = connections[alias]
    if database.vendor == "postgresql":
        return _postgresql(alias)
    from gearmanny.records.sqlite import SQLiteConnector  # noqa: PLC0415

    if is_in_memory(database):
        raise InvalidOption(
            f"The database {alias!r} is in memory, which worker processes do not share. For tests "
            "with live workers, name a file in its entry TEST; eager mode needs none."
        )
    return SQLiteConnector(str(database.settings_dict["NAME"]))


def problem_of(alias: str) -> str:
    """Returns why records cannot be kept in the database of an alias; empty where they can."""
    if alias not in connections.settings:
        return f"There is no database {alias!r} in DATABASES."
    database: Any = connections[alias]
    if database.vendor not in ("postgresql", "sqlite"):
        return (
            f"The database {alias!r} is {database.display_name}. Records are kept in PostgreSQL or "
            "SQLite: add such a database to DATABASES, and name its alias."
        )
    if database.vendor == "postgresql" and database.Database.__name__ == "psycopg2":
        return f"The database {alias!r} is used by psycopg2. Install psycopg 3 instead."
    return ""


def is_in_memory(database: BaseDatabaseWrapper) -> bool:
    """Returns whether a database is one of SQLite in memory."""
    asks = getattr(database, "is_in_memory_db", None)
    return asks is not None and asks()


def _postgresql(alias: str) -> Connector:
    from gearmanny.records.postgresql import PostgreSQLConnector  # noqa: PLC0415

    def parameters() -> Mapping[str, Any]:
        named = connections[alias].get_connection_params()
        return {name: value for name, value in named.items() if name not in _OF_DJANGO}

    role = connections[alias].settings_dict["OPTIONS"].get("assume_role", "")
    return PostgreSQLConnector(parameters, role)
