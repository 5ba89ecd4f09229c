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

from benchmarks.contest import median_ratio, percentile
from benchmarks.programs import Tell, failure, running
from benchmarks.records import claims, insert_held, insert_waiting
from gearmanny.blocking.records import Record
from gearmanny.client import SimpleClient
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event
from gearmanny.records.values import Claimed
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tools.postgres import Postgres
from tools.processes import until, workers_of

ROUNDS = 3
MANY, FEW, FEW_DRAINED = 1_000_000, 100, 10_000
"""Jobs that wait. Those that a worker does are not done before the time is over."""
SUBMITTED = 100_000
HELD = 20_000
CALLS = 2000
WATCHED, STEPS, WRITES = 20, 5, 20
"""Jobs whose progress is watched at a time, reports of each by its task, and by the benchmark."""
DRAIN = 3.0
"""Seconds."""

WRAP = 1 << 32
"""Of progress, in which a task says the time in ms."""

_BEGIN_ANEW = (
    "DELETE FROM {jobs} WHERE finished IS NOT NULL",
    "UPDATE {jobs} SET handed = NULL WHERE state = 'queued' AND handed IS NOT NULL",
)
"""As if a worker had never been there, and a job server of its own: what the one before still has
belongs to another store."""

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

    async def task_report(self, steps: int) -> None:
        for _ in range(steps):
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

    def __init__(self, url: str, server: Gearmand, share: float) -> None:
        self._url = url
        self.server = server
        self._share = share
        self.rounds = ROUNDS if share == 1 else 1

    def few_of(self, many: int) -> int:
        """Returns a number that is made smaller."""
        return max(100, int(self._share * many))

    def store(self, name: str) -> SQLStore:
        return SQLStore(self._url, tables=f"{name}_")

    @contextlib.contextmanager
    def working(
        self, name: str, function: str = "bench_add", server: Gearmand | None = None
    ) -> Iterator[None]:
        """Runs a worker process; without a store where the name is empty."""
        server = server or self.server
        command = [sys.executable, "-m", "benchmarks.recorded", "work", function]
        with running([[*command, server.host, self._url if name else "", f"{name}_"]]):
            until(lambda: workers_of(server, function), "a worker")
            yield
        until(lambda: not workers_of(server, function), "the end of the worker")

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
        for statement in _BEGIN_ANEW:
            store._connections.run(lambda session, each=statement: session.change(each))
        with Gearmand() as server, self.working(name, server=server):
            until(lambda: done(store)[0] > 1, f"the jobs of {name}")
            time.sleep(max(0.5, self._share * DRAIN))
        count, seconds = done(store)
        store.close()
        return count / seconds

    def calls(self, name: str) -> float:
        """Returns the calls without a record that are answered in a second, one at a time."""
        store = self.store(name) if name else None
        with SimpleClient([self.server.host], records=store) as client, self.working(name):
            client.bench_add(a=1, b=2)
            started = time.perf_counter()
            calls = self.few_of(CALLS)
            for _ in range(calls):
                client.bench_add(a=1, b=2)
            return calls / (time.perf_counter() - started)

    def behind_records(self) -> list[float]:
        """Returns the ms from a write of progress until `updates()` yields it."""
        store = self.store("updates")
        process = store.register()
        with SimpleClient([self.server.host], records=store) as client:
            background = client.using(background=True)
            ids = [background.other_add().id or "" for _ in range(WATCHED)]
            claimed = [store.claim(id, "other_add", 1, process.id) for id in ids]
            held = [each.claim for each in claimed if isinstance(each, Claimed)]
            with watching([client.record(id) for id in ids]) as found:
                for _ in range(WRITES):
                    time.sleep(0.1)
                    for claim in held:
                        store.progress(claim, now(), WRAP - 1)
                for claim in held:
                    store.finish(claim, Event.SUCCEEDED, "null")
        store.leave()
        return found

    def behind_tasks(self) -> list[float]:
        """Returns the ms from a report of a task until `updates()` yields it."""
        store, steps = self.store("updates"), STEPS if self._share == 1 else 2
        with (
            SimpleClient([self.server.host], records=store) as client,
            self.working("updates", "watched_report"),
        ):
            background = client.using(background=True)
            ids = [background.watched_report(steps=steps).id or "" for _ in range(WATCHED)]
            with watching([client.record(id) for id in ids]) as found:
                pass
        return found


def done(store: SQLStore) -> tuple[int, float]:
    """Returns how many jobs are done, and the seconds from the first to the last."""
    ((count, seconds),) = store._connections.run(lambda session: session.rows(_DONE))
    return int(count), float(seconds or 0)


@contextlib.contextmanager
def watching(records: list[Record]) -> Iterator[list[float]]:
    """Yields a list that grows by the ms that progress needed, until the jobs have ended."""
    found: list[float] = []

    def watch(record: Record) -> None:
        last = None
        for update in record.updates(timeout=60):
            if update.progress is not None and update.progress != last:
                last = update.progress
                found.append((now() - update.progress.done) % WRAP)

    threads = [threading.Thread(target=watch, args=(record,)) for record in records]
    for thread in threads:
        thread.start()
    yield found
    for thread in threads:
        thread.join()


def turns(measures: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Returns what is measured, taking turns."""
    found: dict[str, list[float]] = {title: [] for title in measures}
    for _ in range(rounds):
        for title, measure in measures.items():
            found[title].append(measure())
    return found


def recorded(postgres: Postgres, share: float, tell: Tell) -> None:
    """Tells a table of large numbers. SHARE, of 1, makes them smaller."""
    where = "{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**postgres.settings())
    tell("| | measured | goal |")
    tell("|---|---|---|")
    with Gearmand() as server:
        bed = Bed(f"postgresql://{where}", server, share)
        for title, part in PARTS.items():
            try:
                part(bed, tell)
            except Exception as error:  # the other figures are still wanted
                tell(f"| {title} | {failure(error)} | |")
    tell("")


def submitting(bed: Bed, tell: Tell) -> None:
    count = bed.few_of(SUBMITTED)
    seconds = [bed.submit(count) for _ in range(bed.rounds)]
    tell(
        f"| `submit_many` of {count:,} jobs | {statistics.median(seconds):.1f} s "
        f"({min(seconds):.1f} to {max(seconds):.1f}) | ≤ {10 * count / SUBMITTED:g} s |"
    )


def claiming(bed: Bed, tell: Tell) -> None:
    many, held = bed.few_of(MANY), bed.few_of(HELD)
    stores = {name: bed.store(name) for name in ("few", "many", "held")}
    insert_waiting(stores["few"], FEW)
    insert_waiting(stores["many"], many)
    insert_held(stores["held"], held)
    times = claims(stores, bed.rounds, bed.few_of(500))
    for name, what, goal in (
        ("many", f"a claim and its finish, {many:,} jobs waiting beside {FEW}", "≤ 1.5 ×"),
        ("held", f"the same, {held:,} jobs of other functions held by limits", "1 ×"),
    ):
        tell(f"| {what} | {beside(times[name], times['few'], 1e6)} µs | {goal} |")
    insert_waiting(stores["few"], FEW_DRAINED)
    for store in stores.values():
        store.close()
    rates = turns({name: lambda name=name: bed.drain(name) for name in ("few", "many")}, bed.rounds)
    tell(
        f"| jobs done, with worker and dispatcher, {many:,} waiting beside {FEW_DRAINED:,} "
        f"| {beside(rates['many'], rates['few'])} a second | ≥ 0.67 × |"
    )


def watched(bed: Bed, tell: Tell) -> None:
    for what, delays, goal in (
        ("record", bed.behind_records(), "≤ 250 ms"),
        ("task", bed.behind_tasks(), ""),
    ):
        tell(
            f"| `updates()` of {WATCHED} jobs at a time, behind the progress of the {what}: "
            f"p50 / p99 | {percentile(delays, 0.5):.0f} / {percentile(delays, 0.99):.0f} ms "
            f"| {goal} |"
        )


def unrecorded(bed: Bed, tell: Tell) -> None:
    rates = turns({name: lambda name=name: bed.calls(name) for name in ("", "calls")}, bed.rounds)
    tell(
        "| calls without a record, where both sides have a store beside where neither has "
        f"| {beside(rates['calls'], rates[''])} a second | 1 × |"
    )


PARTS = {
    "`submit_many`": submitting,
    "many jobs that wait": claiming,
    "`updates()`": watched,
    "calls without a record": unrecorded,
}


def beside(own: list[float], base: list[float], unit: float = 1) -> str:
    """Returns the median of the ratios, run by run, and both medians in some unit."""
    first, second = (unit * statistics.median(each) for each in (own, base))
    return f"{median_ratio(own, base):.2f} × ({first:,.0f} beside {second:,.0f})"


if __name__ == "__main__":
    work(*sys.argv[2:])
