"""Records of jobs: what a database allows one process, and what a million old records cost.

    python -m benchmarks.records URL [OLD]

URL names a store, of which the tables must not exist yet. OLD records (default: 100,000) that have
ended are inserted before the second half. Prints the median of several rounds for each operation,
one after another in one process.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping

from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claimed, NewJob, Process

ROUNDS = 5
JOBS = 1000
"""In each round."""
BULK = 100
"""Jobs in one transaction."""

_IDS = {
    "postgresql": "SELECT gen_random_uuid() AS id FROM generate_series(1, {count})",
    "sqlite": (
        "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series "
        "WHERE n < {count}) SELECT lower(hex(randomblob(16))) AS id FROM series"
    ),
}
_OLD = """
    INSERT INTO {jobs} (id, function, priority, arguments, result, trace, due, handovers, unclaimed,
        handed, created, started, finished, state, errors, attempts, failures, deaths, cancelling)
    SELECT many.id, 'bench', 0, '[1, 2, 3]', '6', '', {now}, 1, 0, {now}, {now}, {now}, {now},
        'succeeded', '', 1, 0, 0, FALSE FROM (SELECT_IDS) AS many
"""
_WAITING = """
    INSERT INTO {jobs} (id, function, priority, arguments, trace, due, handovers, unclaimed,
        created, state, errors, attempts, failures, deaths, cancelling)
    SELECT many.id, 'bench_add', 0, '{{"a": 1, "b": 2}}', '', {now}, 0, 0, {now},
        'queued', '', 0, 0, 0, FALSE FROM (SELECT_IDS) AS many
"""
_HELD = """
    INSERT INTO {jobs} (id, function, priority, arguments, trace, due, handovers, unclaimed,
        created, state, errors, attempts, failures, deaths, cancelling, limited, held)
    SELECT many.id, 'limited', 0, '[]', '', {now}, 1, 0, {now}, 'queued', '', 0, 0, 0, FALSE,
        'limited:' || substr(CAST(many.id AS text), 1, 2), {now} FROM (SELECT_IDS) AS many
"""
_LIMITS = """
    INSERT INTO {limits} (name, max_running)
    SELECT DISTINCT limited, 2 FROM {jobs} WHERE limited IS NOT NULL
"""


def main(url: str, old: int = 100_000) -> None:
    store = SQLStore(url)
    process = store.register()
    measure(store, process, "an empty table")
    insert_old(store, old)
    measure(store, process, f"{old:,} old records")
    started = time.perf_counter()
    forgotten = store.prune(State.SUCCEEDED, 0, 500)
    print(f"a batch of {forgotten} forgotten in {time.perf_counter() - started:.3f} s")
    store.leave()
    store.close()


def insert_old(store: SQLStore, count: int) -> None:
    """Inserts jobs that have ended."""
    _insert(store, _OLD, count)


def insert_waiting(store: SQLStore, count: int) -> None:
    """Inserts jobs that no dispatcher has handed over yet."""
    _insert(store, _WAITING, count)


def insert_held(store: SQLStore, count: int) -> None:
    """Inserts jobs of a function with limits, which wait for room in one of 256 of these."""
    _insert(store, _HELD, count)
    store._connections.run(lambda session: session.change(_LIMITS))


def _insert(store: SQLStore, statement: str, count: int) -> None:
    dialect = store._connections.connector.dialect
    ids = _IDS[dialect.name].format(count=count)
    store._connections.run(lambda session: session.change(statement.replace("SELECT_IDS", ids)))
    if dialect.name == "postgresql":
        store._connections.run(lambda session: session.change("VACUUM ANALYZE {jobs}"))


def claims(stores: Mapping[str, SQLStore], rounds: int, jobs: int) -> dict[str, list[float]]:
    """Returns the seconds that a claim and its finish take in each store, taking turns."""
    times: dict[str, list[float]] = {}
    processes = {title: store.register() for title, store in stores.items()}
    for _ in range(rounds):
        for title, store in stores.items():
            ids: list[str] = []
            in_bulk(store, ids, jobs)
            started = time.perf_counter()
            claim_and_finish(store, processes[title], ids)
            times.setdefault(title, []).append((time.perf_counter() - started) / len(ids))
    for store in stores.values():
        store.leave()
    return times


def measure(store: SQLStore, process: Process, title: str) -> None:
    """Prints a line for each operation."""
    times: dict[str, list[float]] = {}

    def timed(name: str, operation: Callable[..., object], *arguments: object, count: int) -> None:
        started = time.perf_counter()
        operation(*arguments)
        times.setdefault(name, []).append((time.perf_counter() - started) / count)

    for _ in range(ROUNDS):
        ids: list[str] = []
        timed("submit, one a transaction", one_by_one, store, ids, count=JOBS)
        timed(f"submit, {BULK} a transaction", in_bulk, store, ids, count=JOBS)
        timed("claim and finish", claim_and_finish, store, process, ids, count=2 * JOBS)
        timed("look", look_at, store, ids, count=2 * JOBS)
    print(title)
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"  {name:28} {middle * 1e6:7.0f} µs  {1 / middle:7,.0f} a second")


def one_by_one(store: SQLStore, ids: list[str]) -> None:
    for _ in range(JOBS):
        ids.append(store.submit([NewJob("bench", "[1, 2, 3]")])[0].id)


def in_bulk(store: SQLStore, ids: list[str], jobs: int = JOBS) -> None:
    for _ in range(jobs // BULK):
        ids += [job.id for job in store.submit([NewJob("bench", "[1, 2, 3]")] * BULK)]


def look_at(store: SQLStore, ids: list[str]) -> None:
    for id in ids:
        assert store.look(id) is not None


def claim_and_finish(store: SQLStore, process: Process, ids: list[str]) -> None:
    for id in ids:
        claimed = store.claim(id, "bench", 1, process.id)
        assert isinstance(claimed, Claimed)
        assert store.finish(claimed.claim, Event.SUCCEEDED, "6")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
