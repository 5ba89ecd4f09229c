"""Pages of records, and records that somebody wants to be rid of.

Records are shown in the order of their ids, which begin with the time at which they were made.
However many there are, a page is read in a bounded time. Where an index knows that few are wanted,
these are sorted. Where many are wanted, some are among the newest records, which are looked
through; so they are for what no index knows, such as a key.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from gearmanny.errors import InvalidOption
from gearmanny.records.contract import Store
from gearmanny.records.ids import canonical, first_id_of
from gearmanny.records.session import Session, in_batches, is_storable, list_of
from gearmanny.records.states import State

PAGE = 100
"""Records of one page, unless it is said."""

MANY = 10_000
"""So many records are sorted at most, and counted."""

_READ = 5000
"""Records that one statement looks through."""

_READS = 5
"""Such statements for one page, behind one that hopes for the best."""

_LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""Greater than every id."""

# The order is that of an index, which is used for it, whatever is believed of how many there are.
_SOME = "SELECT id, function FROM {{jobs}} WHERE {where} ORDER BY {order} LIMIT {most}"

_COUNT = "SELECT count(*), count(CASE WHEN {matches} THEN 1 END) FROM ({some}) part"

# Of a function and a state, an index has all that is to be known.
_COUNT_INDEX = """
    SELECT count(*) FROM (SELECT 1 FROM {{jobs}} WHERE {where} ORDER BY {order} LIMIT {most}) part
"""

_COUNT_ALL = """
    SELECT count(*) FROM (SELECT id FROM {{jobs}} WHERE {matches} LIMIT {most}) counted
"""

_SORTED = """
    SELECT id FROM ({union}) found WHERE {matches} AND id < %s ORDER BY id DESC LIMIT {size}
"""

_WINDOW = """
    WITH behind AS MATERIALIZED (
        SELECT id, function, state, unique_key, unique_waiting_key FROM {{jobs}}
        WHERE id < %s ORDER BY id DESC LIMIT %s
    )
    SELECT id, {matches} FROM behind ORDER BY id DESC
"""

_DELETE_NOTES = "DELETE FROM {{notes}} WHERE id IN ({ids})"
_DELETE = """
    DELETE FROM {{jobs}} WHERE id IN ({ids}) AND state <> 'running'
    RETURNING id, {{tell_waiting}}, {{tell_room}}
"""

_BATCH = 500


class Wanted(NamedTuple):
    """The records that are looked for: those for which all of this is true."""

    function: str | None = None
    """Their function; None for any."""
    state: State | None = None
    """Their state; None for any."""
    key: str | None = None
    """Their `unique` or their `unique_waiting`; None for any, or none."""
    since: datetime | None = None
    """The time, with a time zone, from which on they were made, by the clock of who made them."""
    until: datetime | None = None
    """The time before which they were made."""


class Page(NamedTuple):
    """A part of the records, the newest first."""

    ids: Sequence[str]
    """Those that are wanted; there may be none on a page that is not the last."""
    after: str | None
    """Where the next page begins; None after the last one."""


class Listed(Store, Protocol):
    """A store that can list its records, and delete some."""

    def page(self, wanted: Wanted, after: str | None = None, size: int = PAGE) -> Page:
        """Returns a page of records. It is read in a bounded time, so that there may be many.

        Args:
            wanted: those that are looked for.
            after: where it begins, as the page before says; None for the newest records.
            size: records on it at most.
        """

    def count(self, wanted: Wanted) -> int | None:
        """Counts records in a bounded time.

        Args:
            wanted: those that are looked for.

        Returns:
            Their number, or `MANY` + 1 if there are more than `MANY`; None where only a look at
            all records would tell.
        """

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Deletes records, and with them all that is known of their jobs. Those that run are kept:
        cancel them first. A queued job never runs.

        Args:
            ids: theirs.

        Returns:
            The ids of those that were deleted.
        """


class Listing:
    """The part of a store that lists and deletes."""

    _run: Callable[[Callable[[Session], Any]], Any]

    def page(self, wanted: Wanted, after: str | None = None, size: int = PAGE) -> Page:
        start = None if after is None else canonical(after)
        page: Page = self._run(lambda session: _Search(session, wanted).page(start, size))
        return page

    def count(self, wanted: Wanted) -> int | None:
        number: int | None = self._run(lambda session: _Search(session, wanted).count())
        return number

    def delete(self, ids: Sequence[str]) -> list[str]:
        deleted: list[str] = self._run(lambda session: _delete(session, ids))
        return deleted


class _Condition(NamedTuple):
    """An SQL expression, and its values."""

    text: str
    values: tuple[Any, ...] = ()

    def and_(self, text: str, *values: Any) -> _Condition:
        return _Condition(f"{self.text} AND {text}", self.values + values)


class _Part(NamedTuple):
    """Records that an index finds."""

    where: str
    order: str
    """That of the index."""
    by_function: bool = False
    """Whether the index begins with the function."""

    def counting(self, wanted: Wanted) -> _Condition | None:
        """Returns the statement that counts up to `MANY` of them, and one more, where all of them
        are wanted and the index has them alone; None elsewhere."""
        if wanted.since is not None or wanted.until is not None:
            return None
        where = _Condition(self.where)
        if wanted.function is not None:
            if not self.by_function:
                return None
            where = where.and_("function = %s", wanted.function)
        text = _COUNT_INDEX.format(where=where.text, order=self.order, most=MANY + 1)
        return where._replace(text=text)

    def statement(self, function: str | None) -> _Condition:
        """Returns the statement that finds up to `MANY` of them, and one more."""
        where = _Condition(self.where)
        if self.by_function and function is not None:
            where = where.and_("function = %s", function)
        some = _SOME.format(where=where.text, order=self.order, most=MANY + 1)
        return where._replace(text=some)


_PARTS = {
    State.QUEUED: (
        _Part(
            "state = 'queued' AND handed IS NULL AND held IS NULL",
            *("function, priority, due", True),
        ),
        _Part("state = 'queued' AND handed IS NOT NULL", "function, handed", True),
        _Part("state = 'queued' AND held IS NOT NULL", "limited, priority, id"),
    ),
    State.RUNNING: (_Part("state = 'running'", "process"),),
} | {
    state: (_Part(f"state = '{state}' AND finished IS NOT NULL", "finished", True),)
    for state in State
    if not state.is_open
}
"""All records in a state."""


def _parts(wanted: Wanted) -> list[_Part]:
    """Returns parts that have all records which are wanted; none where no index knows them."""
    if wanted.key is not None or (wanted.function is None and wanted.state is None):
        return []
    states = State if wanted.state is None else (wanted.state,)
    return [part for state in states for part in _PARTS[state]]


class _Search:
    """The way to the records that are wanted."""

    def __init__(self, session: Session, wanted: Wanted) -> None:
        self._session = session
        self._wanted = wanted
        parts = _parts(wanted)
        self._parts = [part.statement(wanted.function) for part in parts]
        self._counts = [part.counting(wanted) for part in parts]
        found = _Condition("TRUE")
        if wanted.since is not None:
            found = found.and_("id >= %s", session.dialect.id(first_id_of(wanted.since)))
        if wanted.until is not None:
            found = found.and_("id < %s", session.dialect.id(first_id_of(wanted.until)))
        if wanted.function is not None:
            found = found.and_("function = %s", wanted.function)
        self._in_parts = found
        if wanted.state is not None:
            found = found.and_("state = %s", str(wanted.state))
        if wanted.key is not None:
            keys = wanted.key, wanted.key
            found = found.and_("(unique_key = %s OR unique_waiting_key = %s)", *keys)
        texts = (value for value in found.values if isinstance(value, str))
        if not all(map(is_storable, texts)):
            raise InvalidOption(
                "No record has a function or a key that contains a NUL or a lone surrogate."
            )
        self._in_all = found

    def count(self) -> int | None:
        """Counts them. See `Listed.count`."""
        if self._parts:
            number, is_exact = self._count_parts()
            return number if is_exact or number > MANY else None
        if self._wanted.key is not None:
            return None
        text, values = self._in_all
        statement = _COUNT_ALL.format(matches=text, most=MANY + 1)
        return int(self._session.rows(statement, *values)[0][0])

    def page(self, after: str | None, size: int) -> Page:
        """Returns a page of them. See `Listed.page`."""
        until = self._wanted.until
        start = after or (_LAST if until is None else first_id_of(until))
        if self._parts and self._count_parts()[1]:
            return self._sorted(start, size)
        return self._looked_through(start, size)

    def _count_parts(self) -> tuple[int, bool]:
        """Returns how many of them the parts have, up to `MANY` and one more, and whether that
        was a look at all of them."""
        text, values = self._in_parts
        found = 0
        for part, count in zip(self._parts, self._counts, strict=True):
            if count is not None:
                looked_at = matching = self._session.rows(count.text, *count.values)[0][0]
            else:
                statement = _COUNT.format(matches=text, some=part.text)
                looked_at, matching = self._session.rows(statement, *values, *part.values)[0]
            found += matching
            if looked_at > MANY or found > MANY:
                return min(found, MANY + 1), False
        return found, True

    def _sorted(self, start: str, size: int) -> Page:
        union = " UNION ALL ".join(
            f"SELECT id, function FROM ({part.text}) part{number}"
            for number, part in enumerate(self._parts)
        )
        text, values = self._in_parts
        rows = self._session.rows(
            _SORTED.format(union=union, matches=text, size=size + 1),
            *(value for part in self._parts for value in part.values),
            *(*values, self._session.dialect.id(start)),
        )
        return _cut([canonical(id) for (id,) in rows], size)

    def _looked_through(self, start: str, size: int) -> Page:
        # An AND with NULL is not TRUE, and not an error either.
        text, values = self._in_all
        statement = _WINDOW.format(matches=f"({text}) IS TRUE")
        since = self._wanted.since
        first = "" if since is None else first_id_of(since)
        ids: list[str] = []
        for read in itertools.chain([min(size + 1, _READ)], itertools.repeat(_READ, _READS)):
            rows = self._session.rows(statement, self._session.dialect.id(start), read, *values)
            ids += [canonical(id) for id, matches in rows if matches]
            if len(ids) > size:
                return _cut(ids, size)
            if len(rows) < read or canonical(rows[-1][0]) < first:
                return Page(ids, None)
            start = canonical(rows[-1][0])
        return Page(ids, start)


def _cut(ids: Sequence[str], size: int) -> Page:
    """Returns the page that ids begin with, which may be more than a page has."""
    return Page(ids[:size], ids[size - 1] if len(ids) > size else None)


def _delete(session: Session, ids: Sequence[str]) -> list[str]:
    deleted: list[str] = []
    for batch in in_batches(sorted(map(canonical, ids)), _BATCH):
        with session.transaction():
            rows = session.rows(
                _DELETE.format(ids=list_of(len(batch))), *map(session.dialect.id, batch), "done "
            )
            gone = [canonical(id) for id, *_ in rows]
            if gone:
                session.change(
                    _DELETE_NOTES.format(ids=list_of(len(gone))), *map(session.dialect.id, gone)
                )
        deleted += gone
    return deleted
