"""Connections of our own, by the URL of a store."""

from __future__ import annotations

import functools
from typing import Any, Protocol
from urllib.parse import unquote

from gearmanny.errors import InvalidOption
from gearmanny.records.presence import Presence
from gearmanny.records.templates import Dialect
from gearmanny.records.values import Process

_FORMS = (
    'A store is written "sqlite:///jobs.db" (a relative path; an absolute one has four slashes) '
    'or "postgresql://user:password@host:port/database"'
)


class Connector(Protocol):
    """A way to a database."""

    dialect: Dialect

    @property
    def has_sessions(self) -> bool:
        """Whether a connection is a session of the database, which has locks and gets
        notifications."""

    def connect(self) -> Any:
        """Returns a new connection, without transactions of the driver's own.

        Raises:
            StoreUnavailable: there is none now.
        """

    def presence(self, process: Process) -> Presence:
        """Returns how a process shows that it is alive."""

    def is_locked(self, process: str) -> bool:
        """Returns whether the file of a process is locked."""

    def forget_lock(self, process: str) -> None:
        """Removes the file of a dead process."""


def connector_of(url: object) -> Connector:
    """Returns the way to the database that a URL names.

    Raises:
        InvalidOption: the URL names none, or a driver is missing.
    """
    text = url if isinstance(url, str) else ""
    scheme, separator, rest = text.partition("://")
    if not separator:  # not quoted, as is any URL: a password may be in it
        raise InvalidOption(f"{_FORMS}.")
    if scheme in ("postgresql", "postgres"):
        try:
            from gearmanny.records.postgresql import (  # noqa: PLC0415
                PostgreSQLConnector,
                parameters_of,
            )
        except ImportError as error:
            raise InvalidOption(
                f"A store on PostgreSQL needs psycopg ({error}). Install it: pip install "
                "'gearmanny[postgres]'."
            ) from error
        # Not a function of ours: stores are pickled.
        return PostgreSQLConnector(functools.partial(dict, parameters_of(text)))
    if scheme == "sqlite":
        if not rest.startswith("/") or len(rest) < 2 or "?" in rest:
            raise InvalidOption(f"The URL of an SQLite file has a path and nothing else. {_FORMS}.")
        if ":memory:" in rest:
            raise InvalidOption("A store is shared by processes, so it is a file, not :memory:.")
        from gearmanny.records.sqlite import SQLiteConnector  # noqa: PLC0415

        return SQLiteConnector(unquote(rest[1:]))
    raise InvalidOption(f"There are no stores of the kind {scheme!r}. {_FORMS}.")
