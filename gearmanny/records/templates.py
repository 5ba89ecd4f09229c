"""Statements for several databases, which differ in a few expressions.

A statement is written once, as a template. `%s` stands for each value; in braces stand the names
of tables, the expressions below, and the effects of events, so that no other place names states:

    `{now}` `{ago}` `{later}` `{at}`       times; all but the first take a value, in seconds
    `{epoch[due]}` `{iso[due]}`            a time that is read: as seconds, or as text
    `{attempts}`                           the lines about attempts, with one more; takes its event
                                           and its error
    `{event[claimed]}` `{before[claimed]}` the assignments of an event, and its condition

Times are read as seconds, because neither the time zone of the session nor what a driver, or
Django, makes of a timestamp has a say in a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from gearmanny.errors import InvalidOption
from gearmanny.records.states import TRANSITIONS

_PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,29}")

LOCK_CLASS = 0x67656172
"""The first of the two integers of our advisory locks: "gear" in ASCII."""


class Tables(NamedTuple):
    """The names of the tables. Django's models can own them."""

    jobs: str
    notes: str
    """Progress, and whether anybody waits. Apart from the jobs: a task in a REPEATABLE READ
    transaction could not finish its own record if anybody else had written to that row."""
    limits: str
    """The limits of functions, or of a key of theirs. A claim locks the row of its limit."""
    processes: str
    schedules: str
    store: str

    @property
    def channel(self) -> str:
        """The channel of NOTIFY."""
        return f"{self.jobs}_changed"


def tables_with(prefix: str) -> Tables:
    """Returns names that begin with a prefix.

    Raises:
        InvalidOption: the prefix cannot begin the name of a table.
    """
    if not _PREFIX.fullmatch(prefix):
        raise InvalidOption(
            "The prefix of tables consists of up to 30 lower case letters, digits and "
            f"underscores, and does not begin with a digit: not {prefix!r}."
        )
    return Tables(*(prefix + name for name in Tables._fields))


class _Each:
    """Makes an expression of the name of a column: `{epoch[due]}`."""

    def __init__(self, expression: str, now: str) -> None:
        self._expression = expression
        self._now = now

    def __getitem__(self, column: str) -> str:
        return self._expression.replace("$", self._now if column == "now" else column)


_ATTEMPT = """(
    '{{"started": "' || $started || '", "ended": "' || $now || '", "process": "' || $process ||
    '", "event": "' || $event || '", "error": ' || $error || '}}
')"""
"""An attempt that did not succeed, as a line of JSON."""


MOST_ATTEMPTS = 1_000_000
"""Characters of the lines about attempts that a record keeps. The first of them may be cut."""


def attempts(end_of_text: str, **expressions: str) -> str:
    """Returns the expression of `{attempts}`.

    Args:
        end_of_text: a database's own for the last `$count` characters of a `$text`.
        **expressions: the same for each part of a line.
    """
    filled = _ATTEMPT
    for name, expression in expressions.items():
        filled = filled.replace(f"${name}", expression)
    text = end_of_text.replace("$count", str(MOST_ATTEMPTS))
    return text.replace("$text", f"errors || {filled}")


class Dialect:
    """A kind of database."""

    name: str
    placeholder: str
    begin: str
    """Begins a transaction that may write."""
    has_table: str
    """A query for the number of tables with a name."""
    lock_schema: str
    """Lets other sessions wait that are about to create tables, until the transaction ends."""
    most_values = 30_000
    """Placeholders in one statement."""
    notifies = False
    """Whether sessions can be woken by others."""
    has_arrays = False
    """Whether a value can be an array."""

    expressions: Mapping[str, str]
    times: Mapping[str, str]
    types: Mapping[str, str]

    def render(self, template: str, tables: Tables) -> str:
        """Returns the statement that a template stands for."""
        names = {name: f'"{table}"' for name, table in tables._asdict().items()}
        filled = {
            name: text.replace("%s", self.placeholder).format(
                channel=tables.channel, lock_class=LOCK_CLASS, **names
            )
            for name, text in self.expressions.items()
        }
        return template.replace("%s", self.placeholder).format(
            **names,
            **filled,
            **self.types,
            **{key: _Each(text, filled["now"]) for key, text in self.times.items()},
            event=_EFFECTS,
            before=_CONDITIONS,
            prefix=tables.jobs,
            schedules_prefix=tables.schedules,
        )

    def cursor(self, connection: Any) -> Any:
        """Returns a cursor whose rows are tuples, whatever its connection makes of them."""
        raise NotImplementedError

    def rows_after(
        self, connection: Any, change: str, query: str, id: str
    ) -> list[tuple[Any, ...]]:
        """Returns the rows of a query, after a change that a crash of the database may undo. Both
        have one value, an id."""
        raise NotImplementedError

    def id(self, id: str) -> object:
        """Returns an id as the database takes it."""
        raise NotImplementedError

    def is_lost(self, error: Exception, connection: Any) -> bool:
        """Returns whether an error ended the connection, or the database cannot be used now."""
        raise NotImplementedError

    def is_duplicate(self, error: Exception) -> bool:
        """Returns whether a key was taken."""
        raise NotImplementedError

    def is_transient(self, error: BaseException) -> bool:
        """Returns whether an error ended a transaction of somebody else's, on whatever connection,
        and another one may succeed."""
        raise NotImplementedError

    def is_conflict(self, error: Exception) -> bool:
        """Returns whether the database took back a transaction that may be tried again."""
        raise NotImplementedError


_EFFECTS = {
    str(event): f"state = '{target}'" + (f", {counter} = {counter} + 1" if counter else "")
    for event, (_, target, counter) in TRANSITIONS.items()
}
_CONDITIONS = {str(event): f"state = '{source}'" for event, (source, _, _) in TRANSITIONS.items()}
