"""Pages of records, and records that somebody wants to be rid of.

A page is found by the ids, which are in the order of time: each statement reads a bounded number of
records behind the last one, however few of a million are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from gearmanny.errors import InvalidOption
from gearmanny.records.contract import Store
from gearmanny.records.ids import canonical
from gearmanny.records.session import Session, in_batches, list_of
from gearmanny.records.states import State

_READ = 5000
"""Records that one statement reads at most."""

_LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""Greater than every id."""

_PAGE = """
    WITH behind AS MATERIALIZED (
        SELECT id, function, state, unique_key, unique_waiting_key FROM {{jobs}}
        WHERE id < %s ORDER BY id DESC LIMIT %s
    )
    SELECT id, {matches} FROM behind ORDER BY id DESC
"""

_DELETE_NOTES = "DELETE FROM {{notes}} WHERE id IN ({ids})"
_DELETE = """
    DELETE FROM {{jobs}} WHERE id IN ({ids}) AND state <> 'running' RETURNING id
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


class Page(NamedTuple):
    """A part of the records, the newest first."""

    ids: Sequence[str]
    """Those that are wanted; there may be none on a page that is not the last."""
    after: str | None
    """Where the next page begins; None after the last one."""


class Listed(Store, Protocol):
    """A store that can list its records, and delete some."""

    def page(self, wanted: Wanted, after: str | None = None) -> Page:
        """Returns a page of records. It is read in a bounded time, so that there may be many.

        Args:
            wanted: those that are looked for.
            after: where it begins, as the page before says; None for the newest records.
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

    def page(self, wanted: Wanted, after: str | None = None) -> Page:
        page: Page = self._run(lambda session: _page(session, wanted, after))
        return page

    def delete(self, ids: Sequence[str]) -> list[str]:
        deleted: list[str] = self._run(lambda session: _delete(session, ids))
        return deleted


def _page(session: Session, wanted: Wanted, after: str | None) -> Page:
    conditions: list[str] = ["TRUE"]
    values: list[str] = []
    if wanted.function is not None:
        conditions.append("function = %s")
        values.append(wanted.function)
    if wanted.state is not None:
        conditions.append("state = %s")
        values.append(wanted.state)
    if wanted.key is not None:
        conditions.append("(unique_key = %s OR unique_waiting_key = %s)")
        values += [wanted.key, wanted.key]
    if any("\0" in value for value in values):
        raise InvalidOption("No record has a function or a key that contains a NUL.")
    # An AND with NULL is not TRUE, and not an error either.
    rows = session.rows(
        _PAGE.format(matches=f"({' AND '.join(conditions)}) IS TRUE"),
        session.dialect.id(canonical(after or _LAST)),
        _READ,
        *values,
    )
    is_last = len(rows) < _READ
    return Page(
        [canonical(id) for id, matches in rows if matches],
        None if is_last else canonical(rows[-1][0]),
    )


def _delete(session: Session, ids: Sequence[str]) -> list[str]:
    deleted: list[str] = []
    for batch in in_batches(sorted(map(canonical, ids)), _BATCH):
        with session.transaction():
            rows = session.rows(
                _DELETE.format(ids=list_of(len(batch))), *map(session.dialect.id, batch)
            )
            gone = [canonical(id) for (id,) in rows]
            if gone:
                session.change(
                    _DELETE_NOTES.format(ids=list_of(len(gone))), *map(session.dialect.id, gone)
                )
        deleted += gone
    return deleted
