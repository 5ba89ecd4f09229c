"""Recorded jobs of gearmanny in large numbers, outside of Django: part of `durable.py`.

recorded.py work FUNCTION HOST URL TABLES     one worker process; no store for an empty URL
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator

from benchmarks.contest import percentile
from benchmarks.programs import Tell, running
from benchmarks.records import claims, insert_held, insert_waiting
from gearmanny.blocking.records import Record
from gearmanny.client import SimpleClient
from gearmanny.records.sql import SQLStore
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tools.postgres import Postgres
from tools.processes import until, workers_of

ROUNDS = 5
MANY, FEW = 1_000_000, 100
"""Jobs that wait."""
SUBMITTED = 100_000
HELD = 20_000
CALLS = 2000
WATCHED, STEPS = 20, 5
"""Jobs whose progress is watched at a time, and reports of each."""
DRAIN = 3.0
"""Seconds."""

WRAP = 1 << 32
"""Of progress, in which a task says the time in ms."""

_DONE = """
    SELECT count(*), max({epoch[finished]}) - min({epoch[finished]}) FROM {jobs}
    WHERE function = 'bench_add' AND state = 'succeeded'
"""


class Bench(BaseWorker):
    name = "bench"

    def task_add(self, a: int, b: int) -> int:
        return a + b


class Watched(BaseWorker):
    name = "watched"
    concurrency = WATCHED

    async def task_report(self) -> None:
        for _ in range(STEPS):
            # More often than once a second, it is not written.
            await asyncio.sleep(1.1)
            self.progress(now(), WRAP - 1)


def now() -> int:
    """Returns the time in ms, as far as progress has room for it."""
    return int(1000 * time.time()) % WRAP


WORKERS: dict[str, type[BaseWorker]] = {"bench_add": Bench, "watched_report": Watched}


def work(function: str, host: str, url: str, tables: str) -> None:
    store = SQLStore(url, tables=tables) if url else None
    WorkRunner([WORKERS[function]], [host], 0, records=store).start()


class Bed:
    """A PostgreSQL and a job server, with stores that have tables of their own."""

    def __init__(self, url: str, server: Gearmand) -> None:
        self._url = url
        self.server = server

    def store(self, name: str) -> SQLStore:
        return SQLStore(self._url, tables=f"{name}_")

    @contextlib.contextmanager
    def working(self, name: str, function: str = "bench_add") -> Iterator[None]:
        """Runs a worker process; without a store where the name is empty."""
        command = [sys.executable, "-m", "benchmarks.recorded", "work", function]
        with running([[*command, self.server.host, self._url if name else "", f"{name}_"]]):
            until(lambda: workers_of(self.server, function), "a worker")
            yield
        until(lambda: not workers_of(self.server, function), "the end of the worker")

    def submit(self, count: int) -> float:
        """Returns the seconds in which one call of `submit_many` records so many jobs."""
        store = self.store("submit")
        with SimpleClient([self.server.host], records=store) as client:
            arguments = ({"a": number, "b": 1} for number in range(count))
            started = time.perf_counter()
            ids = client.submit_many("other_add", arguments)
            seconds = time.perf_counter() - started
        assert len(set(ids)) == count
        store._connections.run(lambda session: session.change("DELETE FROM {jobs}"))
        store.close()
        return seconds

    def drain(self, name: str) -> float:
        """Returns the jobs a second that a worker and its dispatcher do in a store."""
        store = self.store(name)
        store._connections.run(
            lambda session: session.change("DELETE FROM {jobs} WHERE finished IS NOT NULL")
        )
        with self.working(name):
            time.sleep(DRAIN)
        ((done, seconds),) = store._connections.run(lambda session: session.rows(_DONE))
        store.close()
        return float(done) / float(seconds)

    def calls(self, name: str) -> float:
        """Returns the calls without a record that are answered in a second, one at a time."""
        store = self.store(name) if name else None
        with SimpleClient([self.server.host], records=store) as client, self.working(name):
            client.bench_add(a=1, b=2)
            started = time.perf_counter()
            for _ in range(CALLS):
                client.bench_add(a=1, b=2)
            return CALLS / (time.perf_counter() - started)

    def updates(self) -> list[float]:
        """Returns the ms from a report of progress until `updates()` yields it."""
        found: list[float] = []

        def watch(record: Record) -> None:
            for update in record.updates(timeout=60):
                if update.progress is not None and update.state == "running":
                    found.append((now() - update.progress.done) % WRAP)

        with (
            SimpleClient([self.server.host], records=self.store("updates")) as client,
            self.working("updates", "watched_report"),
        ):
            background = client.using(background=True)
            records = [client.record(background.watched_report().id or "") for _ in range(WATCHED)]
            threads = [threading.Thread(target=watch, args=(record,)) for record in records]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return found


def turns(measures: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Returns what is measured, taking turns."""
    found: dict[str, list[float]] = {title: [] for title in measures}
    for _ in range(rounds):
        for title, measure in measures.items():
            found[title].append(measure())
    return found


def recorded(postgres: Postgres, share: float, tell: Tell) -> None:
    """Tells a table of large numbers."""
    where = "{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**postgres.settings())
    many, few = max(1000, int(share * MANY)), FEW
    submitted, held = max(1000, int(share * SUBMITTED)), max(100, int(share * HELD))
    tell("| | measured | goal |")
    tell("|---|---|---|")
    with Gearmand() as server:
        bed = Bed(f"postgresql://{where}", server)
        seconds = [bed.submit(submitted) for _ in range(3)]
        tell(
            f"| `submit_many` of {submitted:,} jobs | {statistics.median(seconds):.1f} s "
            f"({min(seconds):.1f} to {max(seconds):.1f}) | ≤ {10 * submitted / SUBMITTED:g} s |"
        )
        stores = {name: bed.store(name) for name in ("few", "many", "held")}
        insert_waiting(stores["few"], few)
        insert_waiting(stores["many"], many)
        insert_held(stores["held"], held)
        times = claims(stores, ROUNDS)
        for name, what, goal in (
            ("many", f"a claim and its finish, {many:,} jobs waiting beside {few}", "≤ 1.5 ×"),
            ("held", f"the same, {held:,} jobs of other functions held by limits", "1 ×"),
        ):
            ratio = statistics.median(a / b for a, b in zip(times[name], times["few"], strict=True))
            own, base = (1e6 * statistics.median(times[each]) for each in (name, "few"))
            tell(f"| {what} | {ratio:.2f} × ({own:,.0f} beside {base:,.0f} µs) | {goal} |")
        insert_waiting(stores["few"], min(many, 10_000))
        for store in stores.values():
            store.close()
        rates = turns({name: lambda name=name: bed.drain(name) for name in ("few", "many")}, 3)
        own, base = (statistics.median(rates[name]) for name in ("many", "few"))
        tell(
            f"| jobs a second, with worker and dispatcher, {many:,} waiting beside "
            f"{min(many, 10_000):,} "
            f"| {own / base:.2f} × ({own:,.0f} beside {base:,.0f}) | ≥ 0.67 × |"
        )
        delays = bed.updates()
        p50, p99 = (percentile(delays, share) for share in (0.5, 0.99))
        tell(
            f"| `updates()` of {WATCHED} jobs at a time, behind the progress of their tasks: "
            f"p50 / p99 | {p50:.0f} / {p99:.0f} ms | ≤ 250 ms |"
        )
        rates = turns({name: lambda name=name: bed.calls(name) for name in ("", "calls")}, 3)
        own, base = (statistics.median(rates[name]) for name in ("calls", ""))
        tell(
            f"| calls without a record, where both sides have a store beside where neither has | "
            f"{own / base:.2f} × ({own:,.0f} beside {base:,.0f} a second) | 1 × |"
        )
    tell("")


if __name__ == "__main__":
    work(*sys.argv[2:])
