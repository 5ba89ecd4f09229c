"""Recorded background jobs beside the field's durable queues, on one PostgreSQL in one run.

    python -m benchmarks.durable PEERS_PYTHON [SHARE]

PEERS_PYTHON has what `peers.txt` names; without it, gearmanny is alone. SHARE, a fraction of 1,
makes every part smaller, and nothing is written then: to see whether everything works. The
contestants of a row take turns. `contest.py` says how each is run, and what is measured.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.contest import CONTESTANTS, Contestant, Field, median_ratio, percentile
from benchmarks.memory import memory
from benchmarks.programs import HERE, Tell, failure
from benchmarks.queues import GEARMANNY
from benchmarks.recorded import recorded
from benchmarks.results import Results
from tools.postgres import Postgres

SETTINGS = (
    "fsync=on",
    "full_page_writes=on",
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.track=none",
)
"""Those of a server that must not lose anything. Statements are counted where that is measured."""

REPETITIONS = 3
JOBS = 600
"""In each drain."""
SECONDS = 5.0
"""For the latencies of a contestant, in each repetition."""

OURS = GEARMANNY.title
DONE, DONE_0, WROTE = (
    "done, `CONN_MAX_AGE` None",
    "done, `CONN_MAX_AGE` 0",
    "done, each writes a row in a transaction",
)
ONE, HUNDRED, BULK = (
    "enqueued, one a transaction",
    "enqueued, 100 a transaction, one call for each",
    "enqueued, 100 a transaction, one call for all",
)
DRAINS = {
    (ONE, DONE): ("one", "add", None),
    (HUNDRED, DONE_0): ("loop", "add", 0),
    (BULK, WROTE): ("bulk", "write", None),
}
"""The rows that a run gives, and how jobs are enqueued in it, which, and `CONN_MAX_AGE`."""

DRAINED = [DONE, DONE_0, WROTE]
ROWS = [*DRAINED, ONE, HUNDRED, BULK]
CHART = {DONE: "done", WROTE: "done, each writes a row", HUNDRED: "enqueued, 100 at once"}

PEERS = [each for each in CONTESTANTS if each.queue.name != GEARMANNY.name]
GOALS = [
    (DONE, "Procrastinate", 2.0),
    (DONE, "django-tasks-db", 2.5),
    (DONE, "django-q2", 1.3),
    (DONE, "Celery, prefork", 1.7),
    (DONE_0, "django-tasks-db", 7.0),
    (WROTE, "Procrastinate", 1.5),
    *((BULK, contestant.queue.title, 1.5) for contestant in PEERS),
    *((ONE, contestant.queue.title, 1.0) for contestant in PEERS),
]
"""How many times as fast as another contestant gearmanny is meant to be, at least."""

LATENCY_GOAL = ("Procrastinate", 0.6)
"""What share of its median latency ours is meant to be, at most."""

T = TypeVar("T")


class Contest:
    """The contestants, one after another; who fails is out, and said to be."""

    def __init__(self, field: Field, contestants: list[Contestant]) -> None:
        self.contestants = contestants
        self.field = field
        self.failures: dict[str, str] = {}

    def each(self, measure: Callable[[Contestant], T], *, variants: bool = True) -> dict[str, T]:
        """Returns what is measured of each contestant, by its title."""
        found = {}
        for contestant in self.contestants:
            if contestant.is_variant and not variants:
                continue
            title = contestant.queue.title
            if title not in self.failures:
                try:
                    found[title] = measure(contestant)
                except Exception as error:
                    self.failures[title] = failure(error)
                    print(f"{title}: {error}", file=sys.stderr, flush=True)
        return found

    def titles(self, *, variants: bool = True) -> list[str]:
        return [
            contestant.queue.title
            for contestant in self.contestants
            if variants or not contestant.is_variant
        ]


def costs(contest: Contest, jobs: int, tell: Tell) -> None:
    """Tells what a job costs PostgreSQL. The first run of each contestant: a warm-up, too."""
    found = contest.each(lambda contestant: contest.field.costs(contestant, jobs), variants=False)
    tell(
        f"{jobs} jobs: enqueued in a transaction of their own, then done. Statements are what "
        "clients send, BEGIN and COMMIT among them, with what a queue asks beside its jobs. Of "
        "Celery and RQ, what Redis has is not counted."
    )
    tell("")
    tell("| | statements to enqueue | to do | bytes of WAL to enqueue | to do | bytes of tables |")
    tell("|---" * 6 + "|")
    for title in contest.titles(variants=False):
        if title in found:
            (enqueue, work), (enqueue_bytes, work_bytes), kept = found[title]
            tell(
                f"| {title} | {enqueue:.1f} | {work:.1f} "
                f"| {enqueue_bytes:,.0f} | {work_bytes:,.0f} | {kept:,.0f} |"
            )
        else:
            tell(f"| {title} | {contest.failures[title]} | | | | |")
    tell("")


def throughput(
    contest: Contest, repetitions: int, jobs: int, tell: Tell
) -> dict[str, dict[str, list[float]]]:
    """Tells jobs a second; returns them by row and contestant, one for each repetition."""
    found: dict[str, dict[str, list[float]]] = {row: {} for row in ROWS}
    for _ in range(repetitions):
        for rows, (kind, task, conn_max_age) in DRAINS.items():

            def drain(
                contestant: Contestant,
                kind: str = kind,
                task: str = task,
                age: int | None = conn_max_age,
            ) -> tuple[float, float]:
                return contest.field.drain(contestant, kind, task, jobs, age)

            for title, rates in contest.each(drain).items():
                for row, rate in zip(rows, rates, strict=True):
                    if title in contest.titles(variants=row in DRAINED):
                        found[row].setdefault(title, []).append(rate)
    tell(
        f"Jobs a second of one worker process that drains a full queue ({jobs} jobs, or what is "
        f"done in 4 s), and of one caller: median (least to most) of {repetitions} interleaved "
        "runs after a warm-up. The ratios are those of runs side by side."
    )
    tell("")
    tell("| | contestant | jobs/s | gearmanny is |")
    tell("|---|---|---|---|")
    for row in ROWS:
        ours = found[row].get(OURS, [])
        for title in contest.titles(variants=row in DRAINED):
            own = found[row].get(title, [])
            if title in contest.failures:
                tell(f"| {row} | {title} | {contest.failures[title]} | |")
            elif not all(own):
                tell(f"| {row} | {title} | has no such call | |")
            else:
                spread = f"{statistics.median(own):,.0f} ({min(own):,.0f} to {max(own):,.0f})"
                times = f"{median_ratio(ours, own):.2f} ×" if len(ours) == len(own) else ""
                tell(f"| {row} | {title} | {spread} | {times} |")
    tell("")
    return found


def latency(
    contest: Contest, repetitions: int, seconds: float, tell: Tell
) -> dict[str, tuple[list[float], list[float]]]:
    """Tells how long an idle worker lets a job wait; returns ms by contestant."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for _ in range(repetitions):
        measured = contest.each(
            lambda contestant: contest.field.latencies(contestant, seconds), variants=False
        )
        for title, (begins, results) in measured.items():
            before = found.setdefault(title, ([], []))
            before[0].extend(begins)
            before[1].extend(results)
    tell(
        "One job at a time, for an idle worker: ms from the call to the beginning of its task, and "
        "until the caller has its result, p50 / p99. Callers wait as each queue lets them: "
        "gearmanny and RQ wake them, the others are asked every 2 ms, django-q2 every 10 ms."
    )
    tell("")
    tell("| | jobs | until it begins | until its result is here | p50 of gearmanny is |")
    tell("|---|---|---|---|---|")
    for title in contest.titles(variants=False):
        if title not in found or title in contest.failures:
            tell(f"| {title} | {contest.failures[title]} | | | |")
            continue
        begins, results = found[title]
        cells = " | ".join(
            f"{percentile(times, 0.5):.1f} / {percentile(times, 0.99):.1f}"
            for times in (begins, results)
        )
        shares = " and ".join(
            f"{percentile(ours, 0.5) / percentile(times, 0.5):.2f} ×"
            for ours, times in zip(found.get(OURS, ([], [])), found[title], strict=True)
            if ours
        )
        tell(f"| {title} | {len(begins)} | {cells} | {shares} |")
    tell("")
    return found


def goals(
    rates: dict[str, dict[str, list[float]]],
    times: dict[str, tuple[list[float], list[float]]],
    tell: Tell,
) -> None:
    """Tells which goals are reached."""
    tell("| | beside | goal | gearmanny is | |")
    tell("|---|---|---|---|---|")
    for row, title, goal in GOALS:
        ours, others = rates[row].get(OURS, []), rates[row].get(title, [])
        if row == BULK and not all(others):  # it has one call for each alone
            others = rates[HUNDRED].get(title, [])
        if len(ours) == len(others) and others:
            times_as_fast = median_ratio(ours, others)
            tell(
                f"| {row} | {title} | ≥ {goal:g} × | {times_as_fast:.2f} × "
                f"| {'' if times_as_fast >= goal else 'missed'} |"
            )
    title, goal = LATENCY_GOAL
    if title in times and OURS in times:
        for what, ours, others in zip(
            ("until it begins", "until its result is here"), times[OURS], times[title], strict=True
        ):
            share = percentile(ours, 0.5) / percentile(others, 0.5)
            tell(
                f"| p50 {what} | {title} | ≤ {goal:g} × | {share:.2f} × "
                f"| {'' if share <= goal else 'missed'} |"
            )
    tell("")


def main(peers: str, share: float = 1.0) -> None:
    """Prints the tables, and writes them to DURABLE.md and chart-durable.png."""
    started = time.monotonic()
    peers = os.path.abspath(peers)
    repetitions = REPETITIONS if share == 1 else 1
    jobs = max(50, int(share * JOBS))
    contestants = [each for each in CONTESTANTS if Path(each.queue.python(peers)).is_file()]
    results = Results()
    results.tell(
        f"`make bench-durable`, in one run on {os.cpu_count()} cores, with PostgreSQL as it comes: "
        "`fsync` and `synchronous_commit` are on. One project of Django for all:"
    )
    results.tell("")
    for contestant in contestants:
        results.tell(f"- {contestant.queue.title}: {contestant.how}.")
    results.tell("")
    with Postgres(*SETTINGS) as postgres:
        field = Field(postgres, peers)
        contest = Contest(field, contestants)
        contest.each(lambda contestant: field.migrate(contestant.queue))
        with results.part("What a job costs PostgreSQL") as tell:
            costs(contest, jobs, tell)
        with results.part("Throughput") as tell:
            rates = throughput(contest, repetitions, jobs, tell)
        with results.part("Latency") as tell:
            times = latency(contest, repetitions, share * SECONDS, tell)
        with results.part("Memory of worker processes") as tell:
            queues = [each.queue for each in contestants if not each.is_variant]
            memory(peers, tell, 1, queues, field.database)
        with results.part("Large numbers") as tell:
            recorded(postgres, share, tell)
        if len(contestants) > 1:
            with results.part("Goals") as tell:
                goals(rates, times, tell)
    if share == 1:
        results.write(HERE / "DURABLE.md", "Durable jobs", "## Why")
    results.check()
    if share == 1 and Path(peers).is_file():
        chart = {
            name: {title: statistics.median(each) for title, each in rates[row].items()}
            for row, name in CHART.items()
        }
        drawing = [peers, str(HERE / "chart.py"), str(HERE / "chart-durable.png")]
        subprocess.run(drawing, input=json.dumps(chart), text=True, check=True)
    print(f"In all: {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "", *map(float, sys.argv[2:]))
