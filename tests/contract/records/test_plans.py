"""The statements that are executed all the time read no table from one end to the other."""

from __future__ import annotations

import pytest

from gearmanny.records import (
    claiming,
    handing,
    listing,
    looking,
    processes,
    requests,
    returning,
    submitting,
)
from gearmanny.records.dialects import POSTGRESQL, SQLITE
from gearmanny.records.session import Session
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.templates import tables_with
from gearmanny.records.values import Claimed, NewJob, Process
from tests.contract.records.conftest import Database, only_postgresql
from tests.contract.records.test_jobs import NOBODY

ID = object()
"""Stands for an id, which each database writes its own way."""


def counted(state: State, *function: str) -> tuple[str, *tuple[object, ...]]:
    """The statement that counts the records in a state."""
    part = listing._PARTS[state][0].statement(*function or (None,))
    return listing._COUNT.format(matches="TRUE", some=part.text), *part.values


STATEMENTS = {
    "claim": (claiming._CLAIM, 1, ID, ID, "f", 1, ID, "started "),
    "finish": (claiming._FINISH[Event.SUCCEEDED], "1", None, ID, 1, "done "),
    "same": (submitting._SAME, ID, "f", "k", "f", "k"),
    "look": (looking._LOOK, ID),
    "old": (looking._OLD, State.SUCCEEDED, 1.0, 500),
    "counts": (looking._COUNTS,),
    "waiting": (handing._WAITING,),
    "unclaimed": (handing._UNCLAIMED,),
    "count": (handing._COUNT, "f", 100),
    "hand over": (handing._HAND_OVER, "f", 0, 100),
    "handed before": (handing._HANDED_BEFORE, "f", 1.0, 100),
    "superseded": (returning._LOCK, ID, 1),
    "held": (returning._HELD_BY, ID),
    "orphans": (processes._ORPHANS,),
    "counted queue": counted(State.QUEUED),
    "counted running": counted(State.RUNNING),
    "counted failed": counted(State.FAILED),
    "counted of function": counted(State.FAILED, "f"),
    "page": (listing._WINDOW.format(matches="TRUE"), ID, 5000),
    "cancelling": (requests._CANCELLING.format(processes="%s"), ID),
}


def is_whole(line: str) -> bool:
    """Whether a line of a plan reads all jobs."""
    if "Seq Scan on gearmanny_jobs" in line:
        return True
    scans = line.startswith(("SCAN j", "SCAN gearmanny_jobs", "SCAN newer"))
    return scans and "INDEX" not in line


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_a_statement_finds_its_records_by_an_index(
    database: Database, store: SQLStore, statement: tuple[str, *tuple[object, ...]]
) -> None:
    store.submit([NewJob("f")])
    dialect = POSTGRESQL if database.is_postgres else SQLITE
    session = Session(database.connect(), dialect, tables_with("gearmanny_"))
    template, *values = statement
    if database.is_postgres:
        session.change("SET enable_seqscan = off")  # the table is tiny: it would pay
    plan = session.rows(
        f"EXPLAIN {'' if database.is_postgres else 'QUERY PLAN '}{template}",
        *(dialect.id(NOBODY) if value is ID else value for value in values),
    )
    lines = [str(row[-1]).strip() for row in plan]
    whole = [line for line in lines if is_whole(line)]
    assert not whole, "\n".join(lines)


@only_postgresql
def test_no_plan_of_a_search_is_kept(store: SQLStore, process: Process) -> None:
    """With a plan for an empty table, a dispatcher would read a million rows in each round."""
    for _ in range(12):
        store.submit([NewJob("f", handed_over=False), NewJob("f", unique="k")])
        for job in store.hand_over(10, 10):
            claimed = store.claim(job.id, "f", job.number, process.id)
            assert isinstance(claimed, Claimed)
            store.finish(claimed.claim, Event.SUCCEEDED)
        store.handed_before(0, 10)
        store.dead_processes()
        store.counts()
        store.prune(State.SUCCEEDED, 0)
    kept = store._connections.run(
        lambda session: session.rows("SELECT statement FROM pg_prepared_statements")
    )
    assert {text.split()[0] for (text,) in kept} == {"INSERT", "UPDATE"}
    assert all("WHERE id = $" in text for (text,) in kept if "UPDATE" in text.split()[0])
