"""Statements over a DB-API connection, which may be somebody else's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from gearmanny.errors import EncodingError, InvalidOption
from gearmanny.payload.failures import cut
from gearmanny.records.templates import Dialect, Tables
from gearmanny.records.values import Payload

_LONGEST_ERROR = 65_536
"""Characters of an error in a record."""

ATTEMPTS = 10
"""How often a transaction is begun again that met another one. Each time, one of them goes on."""

Row = tuple[Any, ...]


@lru_cache(maxsize=512)
def _rendered(template: str, dialect: Dialect, tables: Tables) -> str:
    return dialect.render(template, tables)


class Session:
    """A connection, and what is known of its database.

    Attributes:
        dialect: the kind of database.
        tables: their names.
        connection: as the driver made it.
    """

    def __init__(
        self, connection: Any, dialect: Dialect, tables: Tables, *, prepares: bool = False
    ) -> None:
        """
        Args:
            connection: of `sqlite3` or psycopg 3. Where it is somebody else's, nothing here
                begins or ends a transaction on it.
            dialect: the kind of database.
            tables: their names.
            prepares: whether statements that say so are prepared.
        """
        self.connection = connection
        self.dialect = dialect
        self.tables = tables
        self._cursor = dialect.cursor(connection)
        self._prepared = {"prepare": True} if prepares else {}

    def rows(self, template: str, *values: object) -> list[Row]:
        """Executes a statement; returns its rows."""
        self._cursor.execute(_rendered(template, self.dialect, self.tables), values)
        rows: list[Row] = self._cursor.fetchall()
        return rows

    def row(self, template: str, *values: object) -> Row | None:
        """Executes a statement; returns its first row, if there is one."""
        rows = self.rows(template, *values)
        return rows[0] if rows else None

    def prepared_rows(self, template: str, *values: object) -> list[Row]:
        """Executes a statement about one record, which it finds by its id; returns its rows.

        Only such a statement is prepared. A plan is kept for as long as a session, and of one that
        searches, the plan for a handful of records would be kept when a million wait.
        """
        self._cursor.execute(
            _rendered(template, self.dialect, self.tables), values, **self._prepared
        )
        rows: list[Row] = self._cursor.fetchall()
        return rows

    def prepared_row(self, template: str, *values: object) -> Row | None:
        """Executes such a statement; returns its row, if there is one."""
        rows = self.prepared_rows(template, *values)
        return rows[0] if rows else None

    def change(self, template: str, *values: object) -> int:
        """Executes a statement without rows; returns how many it changed."""
        self._cursor.execute(_rendered(template, self.dialect, self.tables), values)
        count: int = self._cursor.rowcount
        return count

    def row_after(self, change: str, query: str, id: str) -> Row | None:
        """Executes a statement that changes something, and is committed, and then a query; returns
        the first row of that. Both have one value, an id. A crash of the database may undo the
        change."""
        rows = self.dialect.rows_after(
            self.connection,
            _rendered(change, self.dialect, self.tables),
            _rendered(query, self.dialect, self.tables),
            id,
        )
        return rows[0] if rows else None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Executes what happens in the block in one transaction, on a connection of our own."""
        self.change(self.dialect.begin)
        try:
            yield
            self.change("COMMIT")
        except BaseException:
            with contextlib.suppress(Exception):  # the connection may be gone
                self.change("ROLLBACK")
            raise


def is_storable(text: str) -> bool:
    """Returns whether any database can store a text: not a NUL, nor half of a surrogate pair."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def storable(name: str, text: str) -> str:
    """Returns a text that any database can store.

    Raises:
        InvalidOption: it contains a NUL or half of a surrogate pair.
    """
    if is_storable(text):
        return text
    raise InvalidOption(f"{name} contains a NUL or a lone surrogate, which databases refuse.")


def columns_of(payload: Payload | None) -> tuple[str | None, bytes | None]:
    """Returns a payload as its two columns: text, and bytes.

    Raises:
        EncodingError: it is text that databases refuse. JSON as Python writes it never is.
    """
    if isinstance(payload, bytes):
        return None, payload
    if payload is None or is_storable(payload):
        return payload, None
    raise EncodingError(
        "A payload contains a NUL or a lone surrogate, which databases refuse in text. "
        "Write JSON with ensure_ascii=True, or use bytes."
    )


def line_of(error: str | None) -> str | None:
    """Returns an error, which is JSON, in one line that any database can store, and not too long:
    it is stored twice, and written again with each further attempt."""
    if error is None:
        return None
    return storable("The error", cut(error, _LONGEST_ERROR).replace("\n", " "))


def lines_of(errors: str) -> list[str]:
    """Returns the lines about attempts. The first one is left out where it was cut."""
    lines = errors.split("\n")[:-1]
    return lines[1:] if lines and not lines[0].startswith("{") else lines


def payload_of(text: str | None, raw: object) -> Payload | None:
    """Returns the payload of two columns."""
    return text if raw is None else bytes(raw)  # type: ignore[call-overload]


def arguments_of(text: str | None, raw: object) -> Payload:
    """Returns the arguments of two columns; an empty text where they were forgotten."""
    payload = payload_of(text, raw)
    return "" if payload is None else payload


def time_of(seconds: float) -> datetime:
    """Returns the moment so many seconds after the epoch, in UTC."""
    return datetime.fromtimestamp(round(seconds, 6), UTC)


def moment_of(seconds: float | None) -> datetime | None:
    """Returns the same, or None."""
    return None if seconds is None else time_of(seconds)


def list_of(count: int) -> str:
    """Returns the placeholders of a list of values."""
    return ", ".join(["%s"] * count)


def in_batches(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yields parts of a sequence, each with at most so many values."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
