"""Records of new jobs, in the transaction of the caller.

A key that is taken is found by the database: the insertion does nothing, and the record that has
the key is looked for. When that one has ended meanwhile, the insertion is tried again. An insertion
waits for other open transactions that have inserted the same key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gearmanny.errors import GearmanException, InvalidOption
from gearmanny.payload.checks import PERIOD, whole_number
from gearmanny.payload.names import check_function_name
from gearmanny.records.ids import canonical, new_id
from gearmanny.records.session import (
    ATTEMPTS,
    Session,
    columns_of,
    in_batches,
    storable,
)
from gearmanny.records.values import NewJob, Submitted

_COLUMNS = """(id, function, priority, arguments, arguments_raw, trace, headers, parent,
    unique_key, unique_waiting_key, due, handovers, unclaimed, handed, created, state, errors,
    attempts, failures, deaths, cancelling)"""

_NOW = """(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, {later}, %s, %s, {now}, {now}, 'queued', '', 0,
    0, 0, FALSE)"""
_LATER = _NOW.replace("{now}, {now}", "NULL, {now}")
_AT = _LATER.replace("{later}", "{at}")
_VALUES = 13
"""Placeholders in each of them."""

_TYPES = (
    *("uuid", "text", "smallint", "text", "bytea", "text", "text", "uuid", "text", "text"),
    *("float8", "int", "int"),
)
"""Those of the values, where they travel as arrays: a statement with a placeholder for each value
takes the database three times as long."""

PRIORITY = whole_number(-1, 1)

_BATCH = 500
"""Rows in one statement: with more, the time for each does not fall any further."""

_SAME = """
    SELECT id FROM {jobs} WHERE id = %s
    UNION ALL
    SELECT id FROM {jobs}
    WHERE function = %s AND unique_key = %s AND state IN ('queued', 'running')
    UNION ALL
    SELECT id FROM {jobs}
    WHERE function = %s AND unique_waiting_key = %s AND state = 'queued'
"""


def submit(session: Session, jobs: Sequence[NewJob]) -> list[Submitted]:
    """Inserts records. See `gearmanny.records.contract.Store.submit`."""
    prepared = [_prepared(job) for job in jobs]
    made: set[str] = set()
    for kind in (_NOW, _LATER, _AT):
        alike = [job for job in prepared if _kind(job) is kind]
        alike.sort(key=_keys)  # two that submit the same keys wait for each other in one order
        for batch in in_batches(alike, min(_BATCH, session.dialect.most_values // _VALUES)):
            made |= _insert(session, kind, batch)
    if session.dialect.notifies and any(_kind(job) is not _NOW for job in prepared):
        session.rows("SELECT {tell}", "due")
    return [_new(job) if job.id in made else _existing_or_new(session, job) for job in prepared]


def _prepared(job: NewJob) -> NewJob:
    check_function_name(job.function)
    PERIOD.check("delay", job.delay)
    PRIORITY.check("priority", job.priority)
    if job.at is not None and job.at.tzinfo is None:
        raise InvalidOption(f"{job.at!r} has no time zone, so it is ambiguous. Add one.")
    for name in ("unique", "unique_waiting"):
        key = getattr(job, name)
        if key is not None:
            storable(f"The key {name}", key)
    storable("The trace", job.trace)
    storable("The headers", job.headers)
    return job._replace(id=canonical(job.id) if job.id else new_id())


def _new(job: NewJob) -> Submitted:
    return Submitted(job.id, True, _kind(job) is _NOW, job.function, job.priority)


def _kind(job: NewJob) -> str:
    if job.at is not None:
        return _AT
    return _NOW if job.handed_over and not job.delay else _LATER


def _keys(job: NewJob) -> tuple[str, str, str]:
    return job.function, job.unique or "", job.unique_waiting or ""


def _row(session: Session, job: NewJob) -> list[object]:
    handovers = int(_kind(job) is _NOW)
    return [
        session.dialect.id(job.id),
        job.function,
        job.priority,
        *columns_of(job.arguments),
        job.trace,
        job.headers,
        None if job.parent is None else session.dialect.id(job.parent),
        job.unique,
        job.unique_waiting,
        job.at.timestamp() if job.at is not None else float(job.delay),
        handovers,
        handovers,
    ]


def _insert(session: Session, kind: str, jobs: Sequence[NewJob]) -> set[str]:
    """Returns the ids of the records that were made."""
    execute = session.prepared_rows if len(jobs) == 1 else session.rows
    values: Iterable[object]
    if session.dialect.has_arrays and len(jobs) > 1:
        source, values = _from_arrays(kind, session, jobs)
    else:
        source = f"VALUES {', '.join([kind] * len(jobs))}"
        values = (value for job in jobs for value in _row(session, job))
    rows = execute(
        f"INSERT INTO {{jobs}} {_COLUMNS} {source} ON CONFLICT DO NOTHING RETURNING id", *values
    )
    return {canonical(id) for (id,) in rows}


def _from_arrays(kind: str, session: Session, jobs: Sequence[NewJob]) -> tuple[str, list[object]]:
    """Returns a query for the same rows, and its values: one for what all jobs have in common, and
    an array for what they have not."""
    for name in ("later", "at"):
        expression = session.dialect.expressions[name].replace("::float8", "")
        kind = kind.replace(f"{{{name}}}", expression)
    common: list[object] = []
    own: list[object] = []
    names: list[str] = []
    arrays: list[str] = []
    before, *parts = kind[1:-1].split("%s")
    columns = [before]
    values = zip(*(_row(session, job) for job in jobs), strict=True)
    for place, (type, each, part) in enumerate(zip(_TYPES, values, parts, strict=True)):
        if place and each.count(each[0]) == len(each):
            common.append(each[0])
            columns.append(f"%s::{type}{part}")
        else:
            own.append(list(each))
            names.append(f"v{place}")
            arrays.append(f"%s::{type}[]")
            columns.append(f"n.v{place}{part}")
    selected, sources = "".join(columns), ", ".join(arrays)
    return f"SELECT {selected} FROM unnest({sources}) AS n({', '.join(names)})", common + own


def _existing_or_new(session: Session, job: NewJob) -> Submitted:
    for _ in range(ATTEMPTS):
        found = session.row(
            _SAME,
            session.dialect.id(job.id),
            *(job.function, job.unique, job.function, job.unique_waiting),
        )
        if found is not None:
            id = canonical(found[0])
            if id == job.id:  # the answer to the same insertion was lost
                return _new(job)
            return Submitted(id, False, False, job.function, job.priority)
        if _insert(session, _kind(job), [job]):
            return _new(job)
    raise GearmanException(
        f"The key of a job of {job.function}() was taken and freed {ATTEMPTS} times while it was "
        "submitted. Try again."
    )
