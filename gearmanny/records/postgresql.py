"""Connections to PostgreSQL, straight or by a pooler."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg import sql

from gearmanny.errors import InvalidOption, StoreUnavailable
from gearmanny.records.dialects import POSTGRESQL
from gearmanny.records.presence import AdvisoryLock, Presence
from gearmanny.records.templates import Dialect
from gearmanny.records.values import Process

CONNECT_TIMEOUT = 5
"""Seconds; that of the URL comes first."""

_KEEPALIVES = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 11_000,
}
"""By these a database whose host has vanished is noticed within 11 seconds."""

_NEVER = 2**31
"""Executions of a statement before it is prepared."""

# Where a host vanishes, the database ends its session, and with it the lock of its processes. A
# plan without an index, made when there are few records, would be kept when there are many.
_SETTINGS = """
    SELECT set_config(wanted.name, wanted.value, FALSE)
    FROM (VALUES ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'),
        ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '11000'),
        ('idle_session_timeout', '0'), ('enable_seqscan', 'off'), ('jit', 'off'),
        ('default_transaction_isolation', 'read committed')
    ) AS wanted(name, value) JOIN pg_settings USING (name)
"""


def parameters_of(url: str) -> dict[str, Any]:
    """Returns the parameters of libpq that a URL stands for.

    Raises:
        InvalidOption: the URL has a fault.
    """
    try:
        return dict(psycopg.conninfo.conninfo_to_dict(url))
    except psycopg.Error as error:
        # Without its text, and not as its cause: a password may be in it.
        kind = type(error).__name__
        raise InvalidOption(
            f"The URL of the store has a fault ({kind}): percent-encode the password."
        ) from None


class PostgreSQLConnector:
    """The way to a database of PostgreSQL, straight or by a pooler."""

    dialect: Dialect = POSTGRESQL

    def __init__(self, parameters: Callable[[], Mapping[str, Any]], role: str = "") -> None:
        """
        Args:
            parameters: returns those of libpq, whenever a connection is made.
            role: for SET ROLE on each connection; empty for that of the user.
        """
        self._parameters = parameters
        self._role = role
        self._has_sessions: bool | None = None

    def connect(self) -> Any:
        try:
            connection = self._connect()
            if self._role:
                role = sql.Identifier(self._role)
                connection.execute(sql.SQL("SET ROLE {}").format(role))
            if self._has_sessions is None:
                try:
                    self._has_sessions = self._finds_sessions(connection)
                except BaseException:
                    connection.close()
                    raise
            if self._has_sessions:
                connection.execute(_SETTINGS)
                connection.prepare_threshold = _NEVER  # but those that ask for it
            else:
                connection.prepare_threshold = None  # the next statement has another session
        except psycopg.OperationalError as error:
            raise StoreUnavailable(f"The store cannot be reached: {error}") from error
        return connection

    def _connect(self) -> Any:
        parameters = {
            "connect_timeout": CONNECT_TIMEOUT,
            "application_name": "gearmanny",
            **_KEEPALIVES,
            **self._parameters(),
        }
        return psycopg.connect(**parameters, autocommit=True)

    @property
    def has_sessions(self) -> bool:
        """Whether it is no pooler that gives each transaction another session."""
        if self._has_sessions is None:
            self.connect().close()
        return bool(self._has_sessions)

    def _finds_sessions(self, first: Any) -> bool:
        """Looks whether two connections ever share a session: a second one is in a transaction
        while the first one asks which session it has."""
        before = _backend(first)
        with contextlib.closing(self._connect()) as second:
            second.execute("BEGIN")
            if _backend(second) == before:
                return False
            return bool(_backend(first) == before)

    def presence(self, process: Process) -> Presence:
        return AdvisoryLock(process) if self.has_sessions else Presence(process)

    def is_locked(self, process: str) -> bool:
        return False  # there are no files

    def forget_lock(self, process: str) -> None:
        pass


def _backend(connection: Any) -> Any:
    return connection.execute("SELECT pg_backend_pid()").fetchone()[0]
