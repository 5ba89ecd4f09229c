"""Records as people ask for them: by words in their arguments, by what failed, by how fast they go.

Each answer is read in a bounded time, however many records there are, and says what was looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from gearmanny.payload.failures import decode_failure
from gearmanny.payload.masking import masked
from gearmanny.records.ids import canonical
from gearmanny.records.listing import MANY, Listed, Listing, Wanted
from gearmanny.records.session import Session, in_batches, list_of
from gearmanny.records.states import ENDED, State

NEWEST_FAILED = 2000
"""Failed jobs whose errors are read."""

SLOTS = 12
SLOT = 300
"""Seconds of each of the slots that make up the last hour."""

_COUNTED = 20_000
"""Ended jobs of a function that are counted, and of which some are measured."""

_MEASURED = 1000

_BATCH = 500

_CONTENT = """
    SELECT id, arguments, unique_key, unique_waiting_key FROM {{jobs}} WHERE {among}
    AND (unique_key = %s OR unique_waiting_key = %s OR arguments LIKE %s ESCAPE '!'
        OR arguments LIKE %s ESCAPE '!')
"""

_ERRORS = "SELECT id, function, error FROM {{jobs}} WHERE id IN ({ids})"

# Rounded to seconds in a way that all databases share.
_SLOTS = """
    SELECT slot, count(*) FROM (
        SELECT CAST({epoch[now]} - {epoch[finished]} AS integer) / %s AS slot FROM {jobs}
        WHERE function = %s AND state = %s AND finished IS NOT NULL AND finished > {ago}
        ORDER BY finished DESC LIMIT %s
    ) ended GROUP BY slot
"""

_DURATIONS = """
    SELECT {epoch[finished]} - {epoch[started]} FROM {jobs}
    WHERE function = %s AND state = 'succeeded' AND finished IS NOT NULL AND finished > {ago}
    AND started IS NOT NULL ORDER BY finished DESC LIMIT %s
"""

_RUNS = """
    SELECT id, state, {epoch[finished]}, {epoch[finished]} - {epoch[started]} FROM {jobs}
    WHERE function = %s AND state = %s AND finished IS NOT NULL ORDER BY finished DESC LIMIT %s
"""

# From one function to the next in an index that begins with it, however many jobs each has.
_FUNCTIONS = """
    WITH RECURSIVE found(function) AS (
        SELECT min(function) FROM {{jobs}} WHERE {where}
        UNION ALL
        SELECT (SELECT min(function) FROM {{jobs}} WHERE {where} AND function > found.function)
        FROM found WHERE function IS NOT NULL
    ) SELECT function FROM found WHERE function IS NOT NULL LIMIT {most}
"""

_PARTS_BY_FUNCTION = (
    "finished IS NOT NULL",
    "state = 'queued' AND handed IS NULL AND held IS NULL",
    "state = 'queued' AND handed IS NOT NULL",
)

_FRAME = re.compile(r'^ *File "(.*)", line (\d+), in (.*)$', re.MULTILINE)


class Found(NamedTuple):
    """The answer to a search."""

    ids: Sequence[str]
    """The newest first."""
    is_all: bool
    """Whether all records were looked at, not only the newest."""


class Failures(NamedTuple):
    """Jobs that failed in the same way."""

    function: str
    type: str
    """That of the exception, with its module."""
    place: str
    """The line that raised it; empty where the traceback was not recorded."""
    message: str
    """That of the newest."""
    id: str
    """The newest."""
    number: int


class Pace(NamedTuple):
    """The pace of a function in the last hour."""

    function: str
    slots: Sequence[int]
    """The number of jobs that ended in each slot, the last one up to now."""
    is_whole: bool
    """Whether these are all; where there are too many, the oldest slots are not."""
    median: float | None
    """Seconds from the start to the end of jobs that succeeded lately; None without one."""
    p95: float | None
    """Seconds within which 95 of 100 of them took."""


class Run(NamedTuple):
    """A job that has ended."""

    id: str
    state: State
    seconds: float
    """From its last start to its end."""


class Summarized(Listed, Protocol):
    """A store that answers such questions."""

    def search(self, wanted: Wanted, text: str, mask: Sequence[str], size: int) -> Found:
        """Looks for a text in the arguments of records, and for one that is a key of theirs.

        Args:
            wanted: the records, of which the newest `MANY` are looked at.
            text: what the arguments contain, as JSON or as a value in them.
            mask: names whose values are not looked at.
            size: records that are found at most.
        """

    def functions(self, most: int = MANY) -> list[str]:
        """Returns the functions of jobs that wait or have ended, in order.

        Args:
            most: how many, at most.
        """

    def failures(self, function: str | None = None) -> tuple[list[Failures], bool]:
        """Groups failed jobs, the newest `NEWEST_FAILED`.

        Args:
            function: only those of one.

        Returns:
            The groups, large ones first, and whether they contain all failed jobs.
        """

    def paces(self, functions: Iterable[str]) -> list[Pace]:
        """Returns the pace of functions in the last hour."""

    def runs(self, function: str, number: int) -> list[Run]:
        """Returns the jobs of a function that ended last, the newest at the end.

        Args:
            function: the function.
            number: how many, at most.
        """


class Summaries(Listing):
    """The part of a store that answers such questions."""

    def search(self, wanted: Wanted, text: str, mask: Sequence[str], size: int) -> Found:
        newest = self.page(wanted, size=MANY)
        is_range = (wanted.function, wanted.state, wanted.key) == (None, None, None)

        def search(session: Session) -> list[str]:
            found: list[str] = []
            for ids in in_batches(newest.ids, _BATCH):
                if len(found) < size:
                    found += _containing(session, ids, is_range, text, mask)
            return found[:size]

        return Found(self._run(search), newest.after is None)

    def functions(self, most: int = MANY) -> list[str]:
        def read(session: Session) -> set[str]:
            return {
                function
                for part in _PARTS_BY_FUNCTION
                for (function,) in session.rows(_FUNCTIONS.format(where=part, most=most))
            }

        return sorted(self._run(read))[:most]

    def failures(self, function: str | None = None) -> tuple[list[Failures], bool]:
        newest = self.page(Wanted(function, State.FAILED), size=NEWEST_FAILED)

        def read(session: Session) -> list[Failures]:
            return [each for ids in in_batches(newest.ids, _BATCH) for each in _read(session, ids)]

        return grouped(self._run(read)), newest.after is None

    def paces(self, functions: Iterable[str]) -> list[Pace]:
        paces: list[Pace] = self._run(
            lambda session: [_pace(session, function) for function in functions]
        )
        return paces

    def runs(self, function: str, number: int) -> list[Run]:
        runs: list[Run] = self._run(lambda session: _runs(session, function, number))
        return runs


def grouped(failures: Iterable[Failures]) -> list[Failures]:
    """Returns groups of failures, the largest first.

    Args:
        failures: each of one job, the newest first.
    """
    groups: dict[tuple[str, str, str], Failures] = {}
    for each in failures:
        key = each.function, each.type, each.place
        first = groups.get(key)
        groups[key] = each if first is None else first._replace(number=first.number + each.number)
    return sorted(groups.values(), key=lambda group: -group.number)


def place_of(traceback: str | None) -> str:
    """Returns the innermost line of a traceback; an empty text where there is none."""
    frames = _FRAME.findall(traceback or "")
    return "{}:{} in {}".format(*frames[-1]) if frames else ""


def percentile(sorted_values: Sequence[float], share: float) -> float | None:
    """Returns the value below which a share of all values are; None without values."""
    if not sorted_values:
        return None
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]


def _containing(
    session: Session, ids: Sequence[str], is_range: bool, text: str, mask: Sequence[str]
) -> Iterable[str]:
    # JSON may have escaped what somebody types.
    escaped = json.dumps(text)[1:-1]
    # Where there are no others between these, the database is told the first and the last.
    among = "id BETWEEN %s AND %s" if is_range else f"id IN ({list_of(len(ids))})"
    named = (ids[-1], ids[0]) if is_range else ids
    rows = session.rows(
        _CONTENT.format(among=among),
        *(*map(session.dialect.id, named), text, text, _like(text), _like(escaped)),
    )
    found = {
        canonical(id)
        for id, arguments, *keys in rows
        if text in keys or _contains(arguments, text, mask)
    }
    return (id for id in ids if id in found)


def _like(text: str) -> str:
    return "%" + re.sub("([!%_])", r"!\1", text) + "%"


def _contains(arguments: str | None, text: str, mask: Sequence[str]) -> bool:
    """Returns whether arguments contain a text where people may read them."""
    try:
        shown = masked(json.loads(arguments or ""), mask)
    except (ValueError, RecursionError):
        return False
    return text in json.dumps(shown, ensure_ascii=False) or text in json.dumps(shown)


def _read(session: Session, ids: Sequence[str]) -> Iterable[Failures]:
    rows = session.rows(_ERRORS.format(ids=list_of(len(ids))), *map(session.dialect.id, ids))
    found = {canonical(id): _failure(canonical(id), *row) for id, *row in rows}
    return (found[id] for id in ids if id in found)


def _failure(id: str, function: str, error: str | None) -> Failures:
    text = error or ""
    failure = decode_failure(function, text.encode(errors="replace"))
    if failure is None:
        return Failures(function, "", "", text, id, 1)
    place = place_of(failure.traceback)
    return Failures(function, failure.type or "", place, failure.message, id, 1)


def _pace(session: Session, function: str) -> Pace:
    slots = [0] * SLOTS
    is_whole = True
    for state in (State.SUCCEEDED, State.FAILED):
        rows = session.rows(_SLOTS, SLOT, function, str(state), float(SLOTS * SLOT), _COUNTED)
        for slot, number in rows:
            slots[max(SLOTS - 1 - slot, 0)] += number
        is_whole = is_whole and sum(number for _, number in rows) < _COUNTED
    durations = sorted(
        max(seconds, 0.0)
        for (seconds,) in session.rows(_DURATIONS, function, float(SLOTS * SLOT), _MEASURED)
    )
    return Pace(function, slots, is_whole, percentile(durations, 0.5), percentile(durations, 0.95))


def _runs(session: Session, function: str, number: int) -> list[Run]:
    rows = [row for state in ENDED for row in session.rows(_RUNS, function, str(state), number)]
    newest = sorted(rows, key=lambda row: float(row[2]))[-number:]
    return [
        Run(canonical(id), State(state), max(seconds or 0.0, 0.0))
        for id, state, _, seconds in newest
    ]
