"""The databases, as templates of statements see them."""

from __future__ import annotations

import contextlib
from typing import Any
from uuid import UUID

from gearmanny.records.templates import LOCK_CLASS, Dialect, attempts

_POSTGRESQL_ISO = """to_char($ AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

_POSTGRESQL_EXPRESSIONS = {
    "now": "statement_timestamp()",
    "later": "(statement_timestamp() + %s::float8 * interval '1 second')",
    "ago": "(statement_timestamp() - %s::float8 * interval '1 second')",
    "at": "to_timestamp(%s::float8)",
    "moved_next": "({limits}.next + (excluded.every - {limits}.every) * interval '1 second')",
    "for_update": "FOR UPDATE",
    "skip_locked": "FOR UPDATE SKIP LOCKED",
    # A transaction that sees one moment does not see who began to wait since then.
    "tell_waiting": (
        "(SELECT pg_notify('{channel}', %s::text || {jobs}.id::text) "
        "WHERE CASE current_setting('transaction_isolation') WHEN 'read committed' "
        "THEN (SELECT n.watched FROM {notes} n WHERE n.id = {jobs}.id) ELSE TRUE END)"
    ),
    "tell_room": (
        "(SELECT pg_notify('{channel}', 'room ' || {jobs}.limited) "
        "WHERE {jobs}.limited IS NOT NULL)"
    ),
    "tell": "pg_notify('{channel}', %s)",
    "attempts": attempts(
        "right($text, $count)",
        started=_POSTGRESQL_ISO.replace("$", "started"),
        now=_POSTGRESQL_ISO.replace("$", "statement_timestamp()"),
        process="process::text",
        event="%s::text",
        error="%s::text",
    ),
    "is_held": (
        "lock_key IN (SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' "
        "AND classid = {lock_class}::oid AND objsubid = 2 AND granted AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database()))"
    ),
}

_POSTGRESQL_TIMES = {
    "epoch": "extract(epoch FROM $)::float8",
    "iso": _POSTGRESQL_ISO,
}

_POSTGRESQL_TYPES = {
    "id_type": "uuid",
    "time_type": "timestamptz",
    "bytes_type": "bytea",
    "small_type": "smallint",
    "bool_type": "boolean",
    "float_type": "double precision",
    "processes_options": "WITH (fillfactor = 70)",
}


_CONFLICTS = ("40001", "40P01")
"""A serialization failure, and a deadlock."""

_SHUTDOWNS = ("57P01", "57P02", "57P03")
"""The database ends, has crashed, or is starting."""

_UNUSABLE = ("25006", "53", "55P03", "57014", "58")
"""The beginnings of codes by which a session that goes on refuses a statement for now: the database
is read-only, as a standby is; the disk or another resource is full; a lock, or the statement, took
longer than the settings of the role allow; the system failed."""


class PostgreSQL(Dialect):
    """PostgreSQL, by psycopg 3.

    `clock_timestamp()` cannot be compared with an index, as it changes while it is compared;
    `statement_timestamp()` can, and unlike `now()` it goes on during a transaction.
    """

    name = "postgresql"
    placeholder = "%s"
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    # The cache behind to_regclass() does not see what was created while a lock was waited for.
    has_table = "SELECT count(*) FROM pg_class WHERE relname = %s AND pg_table_is_visible(oid)"
    lock_schema = f"SELECT pg_advisory_xact_lock({LOCK_CLASS}, 0)"
    notifies = True
    has_arrays = True
    expressions = _POSTGRESQL_EXPRESSIONS
    times = _POSTGRESQL_TIMES
    types = _POSTGRESQL_TYPES

    def cursor(self, connection: Any) -> Any:
        cursor = connection.cursor()
        cursor.row_factory = _tuples
        return cursor

    def rows_after(
        self, connection: Any, change: str, query: str, id: str
    ) -> list[tuple[Any, ...]]:
        # One message, in which values cannot be apart. Others see the change at once; that it
        # reaches the disk is not waited for.
        script = f"{self.begin}; SET LOCAL synchronous_commit = off; {change}; COMMIT; {query}"
        cursor = self.cursor(connection)
        try:
            cursor.execute(script.replace("%s", f"'{UUID(id)}'"))
        except Exception:
            with contextlib.suppress(Exception):  # the connection may be gone
                connection.rollback()
            raise
        while cursor.nextset():
            pass
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def id(self, id: str) -> object:
        return UUID(id)

    def is_lost(self, error: Exception, connection: Any) -> bool:
        state = getattr(error, "sqlstate", None) or ""
        return bool(connection.closed) or state.startswith(_UNUSABLE)

    def is_duplicate(self, error: Exception) -> bool:
        return getattr(error, "sqlstate", None) == "23505"

    def is_conflict(self, error: Exception) -> bool:
        return getattr(error, "sqlstate", None) in _CONFLICTS

    def is_transient(self, error: BaseException) -> bool:
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if state is not None:
            return state in _CONFLICTS or state in _SHUTDOWNS or state.startswith("08")
        # The driver itself has noticed; psycopg 2 is another one, which Django may use.
        return any(
            kind.__name__ in ("OperationalError", "InterfaceError")
            and kind.__module__.partition(".")[0] in ("psycopg", "psycopg2")
            for kind in type(error).__mro__
        )


def _tuples(cursor: Any) -> Any:
    return tuple


_SQLITE_EXPRESSIONS = {
    "now": "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "later": "strftime('%Y-%m-%d %H:%M:%f', 'now', printf('%+.3f seconds', %s))",
    "ago": "strftime('%Y-%m-%d %H:%M:%f', 'now', printf('%+.3f seconds', -%s))",
    "at": "strftime('%Y-%m-%d %H:%M:%f', %s, 'unixepoch')",
    "moved_next": (
        "strftime('%Y-%m-%d %H:%M:%f', {limits}.next, "
        "printf('%+.3f seconds', excluded.every - {limits}.every))"
    ),
    "for_update": "",
    "skip_locked": "",
    "tell_waiting": "%s",
    "tell_room": "NULL",
    "tell": "%s",
    "attempts": attempts(
        "substr($text, -$count)",
        started="replace(started, ' ', 'T') || 'Z'",
        now="strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        process=(
            "substr(process, 1, 8) || '-' || substr(process, 9, 4) || '-' || "
            "substr(process, 13, 4) || '-' || substr(process, 17, 4) || '-' || "
            "substr(process, 21)"
        ),
        event="%s",
        error="%s",
    ),
    "is_held": "TRUE",
}

_SQLITE_TIMES = {
    "epoch": "round((julianday($) - 2440587.5) * 86400.0, 3)",
    "iso": "(replace($, ' ', 'T') || 'Z')",
}

_SQLITE_TYPES = {
    "id_type": "char(32)",
    "time_type": "datetime",
    "bytes_type": "blob",
    "small_type": "smallint",
    "bool_type": "bool",
    "float_type": "real",
    "processes_options": "",
}


_UNUSABLE_FILES = tuple(
    f"SQLITE_{name}" for name in ("BUSY", "IOERR", "FULL", "CANTOPEN", "READONLY")
)


class SQLite(Dialect):
    """SQLite 3.35 or later, by `sqlite3` of the standard library.

    Times are text, in UTC, as Django writes them.
    """

    name = "sqlite"
    placeholder = "?"
    begin = "BEGIN IMMEDIATE"
    has_table = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = %s"
    lock_schema = "SELECT 1"
    expressions = _SQLITE_EXPRESSIONS
    times = _SQLITE_TIMES
    types = _SQLITE_TYPES

    def cursor(self, connection: Any) -> Any:
        cursor = connection.cursor()
        cursor.row_factory = None
        return cursor

    def rows_after(
        self, connection: Any, change: str, query: str, id: str
    ) -> list[tuple[Any, ...]]:
        cursor = self.cursor(connection)
        cursor.execute(change, [self.id(id)])
        cursor.execute(query, [self.id(id)])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def id(self, id: str) -> object:
        return id.replace("-", "")

    def is_lost(self, error: Exception, connection: Any) -> bool:
        # By its name, as the module is not loaded by who does not use it.
        return type(error).__name__ == "OperationalError" and getattr(
            error, "sqlite_errorname", ""
        ).startswith(_UNUSABLE_FILES)

    def is_duplicate(self, error: Exception) -> bool:
        name = getattr(error, "sqlite_errorname", "")
        return name in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")

    def is_conflict(self, error: Exception) -> bool:
        return False

    def is_transient(self, error: BaseException) -> bool:
        return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


POSTGRESQL = PostgreSQL()
SQLITE = SQLite()
