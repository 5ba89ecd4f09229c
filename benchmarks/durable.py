"""Recorded jobs from end to end: one worker process, with its dispatcher, outside of Django.

    python -m benchmarks.durable URL [JOBS]

URL names an empty database. Prints how many jobs of a full queue are done in a second, plain and
atomic; how long it takes from COMMIT to the start of the task; how many a caller records in a
second; and what calls cost that have no record, where workers and clients have a store.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gearmanny.client import SimpleClient
from gearmanny.records.contract import HandOver
from gearmanny.records.sql import SQLStore
from gearmanny.records.values import NewJob, Submitted
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker, task
from gearmanny.workrunner import WorkRunner
from tools.processes import end, until, workers_of

ROUNDS = 3
LATENCIES = 300
"""Jobs of which each is awaited before the next one."""

_TIMES = """
    SELECT max({epoch[finished]}) - min({epoch[started]}) FROM {jobs}
    WHERE function = %s AND state = 'succeeded'
"""


class Bench(BaseWorker):
    name = "bench"
    connection: Any = None

    def task_add(self, a: int, b: int) -> int:
        return a + b

    def task_begins(self) -> float:
        return time.time()

    @task(atomic=True)
    def task_write(self, a: int) -> None:
        Bench.connection.execute(f"INSERT INTO written VALUES ({int(a)})")


def connect(url: str) -> Any:
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        return sqlite3.connect(path, isolation_level=None, timeout=30)
    import psycopg  # noqa: PLC0415

    return psycopg.connect(url, autocommit=True)


@contextlib.contextmanager
def transaction() -> Iterator[Any]:
    """The transaction of an atomic task, on a connection that is kept."""
    connection = Bench.connection = Bench.connection or connect(os.environ["BENCH_URL"])
    connection.execute("BEGIN")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


class Timed(SQLStore):
    """Notes the moment of each COMMIT."""

    committed = 0.0

    def record(self, jobs: Sequence[NewJob], hand_over: HandOver) -> list[Submitted]:
        def note(submitted: Sequence[Submitted]) -> None:
            self.committed = time.time()
            hand_over(submitted)

        return super().record(jobs, note)


@contextlib.contextmanager
def working(server: Gearmand, url: str) -> Iterator[None]:
    """Runs a worker process; without a store where the URL is empty."""
    command = [sys.executable, "-m", "benchmarks.durable", "work", server.host]
    process = subprocess.Popen(command, env={**os.environ, "BENCH_URL": url}, text=True)
    try:
        until(lambda: workers_of(server, "bench_add"), "a worker")
        yield
    finally:
        end(process)


def work(host: str) -> None:
    url = os.environ["BENCH_URL"]
    store = SQLStore(url) if url else None
    WorkRunner([Bench], [host], 0, records=store, transaction=transaction).start()


def drain(server: Gearmand, url: str, store: SQLStore, name: str, jobs: int) -> float:
    """Returns how many jobs of a full queue a worker does in a second."""
    calls = ({"a": n, "b": 1} if name == "add" else {"a": n} for n in range(jobs))
    with SimpleClient([server.host], records=store) as client:
        works = list(client.using(background=True).map(f"bench_{name}", calls))
    assert len(works) == jobs
    with working(server, url):
        while any(count.waiting + count.running for count in store.counts()):
            time.sleep(0.2)
    ((seconds,),) = store._connections.run(lambda session: session.rows(_TIMES, f"bench_{name}"))
    forget_all(store)
    return float(jobs / float(seconds))


def forget_all(store: SQLStore) -> None:
    store._connections.run(lambda session: session.change("DELETE FROM {jobs}"))


def latencies(server: Gearmand, url: str) -> list[float]:
    """Returns the seconds from COMMIT to the start of the task, for jobs one by one."""
    store, found = Timed(url), []
    with SimpleClient([server.host], records=store) as client, working(server, url):
        background = client.using(background=True)
        for _ in range(LATENCIES):
            id = background.bench_begins().id
            while (record := store.look(id or "")) is None or record.result is None:
                time.sleep(0.001)
            found.append(float(record.result) - store.committed)
    store.close()
    return sorted(found)


def enqueue(server: Gearmand, url: str, jobs: int) -> tuple[float, float]:
    """Returns how many jobs a second a caller records, one and 100 a transaction."""
    store = SQLStore(url)
    with SimpleClient([server.host], records=store) as client:
        background = client.using(background=True)
        background.other_add(a=1, b=2)
        one = rate(jobs, lambda: [background.other_add(a=1, b=2) for _ in range(jobs)])
        many = [NewJob("other_add", '{"a": 1, "b": 2}')] * 100
        bulk = rate(jobs, lambda: [store.record(many, lambda _: None) for _ in range(jobs // 100)])
    forget_all(store)
    store.close()
    return one, bulk


def calls(server: Gearmand, url: str, jobs: int) -> float:
    """Returns how many calls without a record are answered in a second, one at a time."""
    store = SQLStore(url) if url else None
    with SimpleClient([server.host], records=store) as client, working(server, url):
        client.bench_add(a=1, b=2)
        return rate(jobs, lambda: [client.bench_add(a=1, b=2) for _ in range(jobs)])


def rate(count: int, operation: Callable[[], object]) -> float:
    started = time.perf_counter()
    operation()
    return count / (time.perf_counter() - started)


def main(url: str, jobs: int = 2000) -> None:
    store = SQLStore(url)
    assert store.id
    connect(url).execute("CREATE TABLE written (value INTEGER)")
    with Gearmand() as server:
        for title, measure in {
            "done": lambda: drain(server, url, store, "add", jobs),
            "done, atomic": lambda: drain(server, url, store, "write", jobs),
            "recorded, one a transaction": lambda: enqueue(server, url, jobs)[0],
            "recorded, 100 a transaction": lambda: enqueue(server, url, jobs)[1],
            "calls without a store": lambda: calls(server, "", jobs),
            "calls beside a store": lambda: calls(server, url, jobs),
        }.items():
            rates = [measure() for _ in range(ROUNDS)]
            print(f"{title:30} {statistics.median(rates):8,.0f} a second", flush=True)
        times = latencies(server, url)
        for share in (50, 99):
            seconds = times[len(times) * share // 100]
            print(f"COMMIT to start, p{share}          {seconds * 1000:8.2f} ms")
    store.close()


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(sys.argv[2])
    else:
        main(sys.argv[1], *map(int, sys.argv[2:]))
