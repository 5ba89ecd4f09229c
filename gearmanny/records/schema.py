"""The tables: created on first use, upgraded by newer versions, refused by older ones."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from gearmanny.errors import InvalidOption
from gearmanny.records.session import Session

_STORE = """CREATE TABLE {store} (
        id varchar(8) NOT NULL PRIMARY KEY,
        version integer NOT NULL
    )"""

_FIRST = (
    _STORE,
    """CREATE TABLE {jobs} (
        id {id_type} NOT NULL PRIMARY KEY,
        function text NOT NULL,
        state varchar(16) NOT NULL,
        priority {small_type} NOT NULL,
        arguments text NULL,
        arguments_raw {bytes_type} NULL,
        result text NULL,
        result_raw {bytes_type} NULL,
        error text NULL,
        errors text NOT NULL,
        trace text NOT NULL,
        headers text NOT NULL,
        unique_key text NULL,
        unique_waiting_key text NULL,
        created {time_type} NOT NULL,
        due {time_type} NOT NULL,
        handed {time_type} NULL,
        started {time_type} NULL,
        finished {time_type} NULL,
        attempts integer NOT NULL,
        failures integer NOT NULL,
        deaths integer NOT NULL,
        handovers integer NOT NULL,
        unclaimed integer NOT NULL,
        claim bigint NULL,
        process {id_type} NULL,
        cancelling {bool_type} NOT NULL,
        limited text NULL,
        held {time_type} NULL,
        parent {id_type} NULL
    )""",
    """CREATE TABLE {notes} (
        id {id_type} NOT NULL PRIMARY KEY,
        numerator bigint NULL,
        denominator bigint NULL,
        metadata text NULL,
        watched {bool_type} NOT NULL
    )""",
    """CREATE TABLE {limits} (
        name text NOT NULL PRIMARY KEY,
        max_running integer NULL,
        every {float_type} NULL,
        next {time_type} NULL
    )""",
    """CREATE TABLE {processes} (
        id {id_type} NOT NULL PRIMARY KEY,
        host text NOT NULL,
        pid integer NOT NULL,
        pool text NOT NULL,
        runner text NOT NULL,
        functions text NOT NULL,
        client_id text NOT NULL,
        liveness varchar(8) NOT NULL,
        lock_key bigint NULL,
        started {time_type} NOT NULL,
        beat {time_type} NOT NULL,
        missed {time_type} NULL
    ) {processes_options}""",
    """CREATE TABLE {schedules} (
        id {id_type} NOT NULL PRIMARY KEY,
        name text NOT NULL,
        function text NOT NULL,
        arguments text NOT NULL,
        every {float_type} NULL,
        cron text NULL,
        timezone text NOT NULL,
        jitter {float_type} NOT NULL,
        catch_up {bool_type} NOT NULL,
        overlap varchar(8) NOT NULL,
        max_late {float_type} NULL,
        from_code {bool_type} NOT NULL,
        paused {bool_type} NOT NULL,
        last_tick {time_type} NOT NULL,
        next_tick {time_type} NULL,
        job {id_type} NULL,
        tick_job {id_type} NULL,
        CONSTRAINT "{schedules_prefix}_name" UNIQUE (name)
    )""",
    # All of them are partial: an index over the state of a million finished jobs is slow.
    """CREATE INDEX "{prefix}_due" ON {jobs} (function, priority, due)
        WHERE state = 'queued' AND handed IS NULL AND held IS NULL""",
    """CREATE INDEX "{prefix}_handed" ON {jobs} (function, handed)
        WHERE state = 'queued' AND handed IS NOT NULL""",
    """CREATE INDEX "{prefix}_held" ON {jobs} (limited, priority, id)
        WHERE state = 'queued' AND held IS NOT NULL""",
    """CREATE INDEX "{prefix}_limited" ON {jobs} (limited)
        WHERE limited IS NOT NULL AND held IS NULL AND state IN ('queued', 'running')""",
    """CREATE INDEX "{prefix}_running" ON {jobs} (process) WHERE state = 'running'""",
    """CREATE INDEX "{prefix}_finished" ON {jobs} (state, finished)
        WHERE finished IS NOT NULL""",
    """CREATE INDEX "{prefix}_ended" ON {jobs} (function, state, finished)
        WHERE finished IS NOT NULL""",
    """CREATE INDEX "{prefix}_children" ON {jobs} (parent, id) WHERE parent IS NOT NULL""",
    """CREATE UNIQUE INDEX "{prefix}_unique" ON {jobs} (function, unique_key)
        WHERE unique_key IS NOT NULL AND state IN ('queued', 'running')""",
    """CREATE UNIQUE INDEX "{prefix}_waiting" ON {jobs} (function, unique_waiting_key)
        WHERE unique_waiting_key IS NOT NULL AND state = 'queued'""",
)

VERSIONS: tuple[Sequence[str], ...] = (_FIRST,)
"""The statements that lead to each version from the one before."""

_NAME = "INSERT INTO {store} (id, version) VALUES (%s, %s)"


def ensure(session: Session, versions: tuple[Sequence[str], ...] = VERSIONS) -> str:
    """Creates or upgrades the tables where that is needed.

    Args:
        session: on a connection of our own.
        versions: the statements that lead to each version from the one before.

    Returns:
        The short id of the store: 8 hexadecimal digits.

    Raises:
        InvalidOption: a newer gearmanny made the tables.
    """
    found = found_in(session)
    if found is not None and found[1] == len(versions):
        return found[0]
    with session.transaction():
        session.rows(session.dialect.lock_schema)
        id, version = found_in(session) or (new_store_id(), 0)  # as it is now
        _refuse_newer(version, len(versions))
        for statements in versions[version:]:
            for statement in statements:
                session.change(statement)
        if version == 0:
            session.change(_NAME, id, len(versions))
        else:
            session.change("UPDATE {store} SET version = %s", len(versions))
    return id


def verify(session: Session, remedy: str, versions: tuple[Sequence[str], ...] = VERSIONS) -> str:
    """Returns the short id of a store whose tables somebody else keeps.

    Args:
        session: on any connection.
        remedy: the words that say who creates and upgrades them.
        versions: the statements that lead to each version from the one before.

    Raises:
        InvalidOption: the tables are missing, or of another version.
    """
    found = found_in(session)
    if found is None:
        raise InvalidOption(f"The tables of the store are missing. {remedy}")
    id, version = found
    _refuse_newer(version, len(versions))
    if version < len(versions):
        raise InvalidOption(
            f"The tables of this store have version {version}, and this gearmanny needs "
            f"{len(versions)}. {remedy}"
        )
    return id


def found_in(session: Session) -> tuple[str, int] | None:
    """Returns the short id of the store and the version of its tables; None if there are none."""
    (tables,) = session.rows(session.dialect.has_table, session.tables.store)[0]
    if not tables:
        return None
    id, version = session.rows("SELECT id, version FROM {store}")[0]
    return id, version


def add_store(session: Session) -> None:
    """Names a store whose other tables somebody else has made, as they are in this version."""
    session.change(_STORE)
    session.change(_NAME, new_store_id(), len(VERSIONS))


def new_store_id() -> str:
    """Returns the short id of a new store."""
    return secrets.token_hex(4)


def _refuse_newer(version: int, known: int) -> None:
    if version > known:
        raise InvalidOption(
            f"The tables of this store have version {version}, and this gearmanny knows {known}. "
            "Upgrade gearmanny here before anywhere else."
        )
