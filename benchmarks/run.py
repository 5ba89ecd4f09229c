"""Measures gearmanny beside libgearman in C, a bare Python loop, and the field's peers.

    python -m benchmarks.run LIBGEARMAN PEERS_PYTHON [REPETITIONS]

LIBGEARMAN is the program built from `libgearman.c`; PEERS_PYTHON has what
`peers.py` needs, and is left out where it does not exist: see the Makefile.
Each contestant has a server, a worker process and a client process of its own,
and the contestants of a row take turns. Only the ratios mean anything on
another machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.costs import costs
from benchmarks.growth import growth
from benchmarks.memory import memory
from benchmarks.programs import (
    AIO_CONTESTANT,
    CONTESTANT,
    HERE,
    LONGEST_RUN,
    Tell,
    failure,
    job_server,
    run,
    running,
)
from benchmarks.results import Results
from benchmarks.sentence import write_speed
from benchmarks.shares import shares
from benchmarks.tails import tails
from benchmarks.threads import threads
from tools.processes import redis

LIBGEARMAN, PEERS = map(os.path.abspath, sys.argv[1:3])
REPETITIONS = int(sys.argv[3]) if sys.argv[3:] else 5
BELOW = "## Where the time goes"
"""The heading of what people wrote below the figures."""


class Contestant(NamedTuple):
    """A contestant: its program, called as `[*program, *name, PORT, MODE, N]`."""

    program: list[str]
    prefetch: tuple[str, ...] = ()
    server: Callable[[], contextlib.AbstractContextManager[str]] = job_server

    def command(self, port: str, *arguments: str) -> list[str]:
        return [*self.program, port, *arguments]


def peer(name: str) -> Contestant:
    return Contestant([PEERS, str(HERE / "peers.py"), name], server=redis)


CONTESTANTS = {
    "C": Contestant([LIBGEARMAN]),
    "bare": Contestant([sys.executable, str(HERE / "bare.py")]),
    "gearmanny": Contestant(CONTESTANT),
    "gearmanny, prefetch 16": Contestant(CONTESTANT, ("16",)),
    "gearmanny, asyncio": Contestant(AIO_CONTESTANT),
    "Celery": peer("celery"),
    "Dramatiq": peer("dramatiq"),
    "Huey": peer("huey"),
    "RQ": peer("rq"),
}
GEARMAN = ["C", "bare", "gearmanny", "gearmanny, prefetch 16"]
FIELD = ["Celery", "Dramatiq", "Huey", "RQ"]
ROUND_TRIPS, BATCHES = "round trips, one at a time", "batch of {:,}"
ROWS = [
    (ROUND_TRIPS, "roundtrip", 3000, GEARMAN[:3]),
    (BATCHES.format(5000), "batch", 5000, GEARMAN),
    (BATCHES.format(20000), "batch", 20000, [GEARMAN[0], *GEARMAN[2:]]),
    ("5,000 background submissions", "background", 5000, ["C", "gearmanny"]),
    ("20,000 background submissions", "background", 20000, ["C", "gearmanny"]),
    ("drain of 20,000 background jobs", "drain", 20000, GEARMAN),
]
OUR_CLIENTS = ["gearmanny", "gearmanny, asyncio"]
AIO_ROWS = [
    (ROUND_TRIPS, "roundtrip", 3000, OUR_CLIENTS),
    (BATCHES.format(5000), "batch", 5000, OUR_CLIENTS),
    ("5,000 calls at once, beside a batch", "together", 5000, OUR_CLIENTS),
]
PEER_ROWS = [
    (ROUND_TRIPS, "roundtrip", 3000, [*GEARMAN[:3], *FIELD]),
    (BATCHES.format(1000), "batch", 1000, [*GEARMAN, *FIELD]),
]


def measure(name: str, mode: str, count: int) -> float:
    """Returns the jobs a second of one contestant in one run."""
    contestant = CONTESTANTS[name]
    if name in FIELD and mode == "roundtrip":
        count //= 10  # which takes them longer
    with contestant.server() as port:
        if mode in ("background", "drain"):
            # The C client waits for one job first: a worker that leaves after it.
            submitter = contestant if mode == "background" else CONTESTANTS["C"]
            with running([[LIBGEARMAN, port, "work", "1"]]) as (worker,):
                seconds = run(*submitter.command(port, "background", str(count)))[0]
                worker.wait(LONGEST_RUN)
            if mode == "drain":
                command = contestant.command(port, "work", str(count), *contestant.prefetch)
                seconds = run(*command)[0]
            return count / seconds
        with running([contestant.command(port, "work", "0", *contestant.prefetch)]):
            return count / run(*contestant.command(port, mode, str(count)))[0]


def ratio(own: list[float], other: list[float] | None) -> str:
    """Returns the median of the ratios, run by run."""
    if other is None:
        return ""
    median = statistics.median(a / b for a, b in zip(own, other, strict=True))
    return f"{median:.2f}" if median >= 0.2 else f"{median:.3f}"


def race(
    rows: list[tuple[str, str, int, list[str]]], bases: list[str], tell: Tell
) -> dict[str, dict[str, float]]:
    """Tells a table of jobs a second, with ratios to the bases; returns the medians by row."""
    tell("| | contestant | jobs/s | " + " | ".join(f"× {base}" for base in bases) + " |")
    tell("|---" * (3 + len(bases)) + "|")
    medians = {}
    failures: dict[str, str] = {}
    for title, mode, count, names in rows:
        rates: dict[str, list[float]] = {name: [] for name in names if name not in failures}
        for repetition in range(REPETITIONS + 1):
            for name in list(rates):
                try:
                    rate = measure(name, mode, count)
                except Exception as error:
                    failures[name] = failure(error)
                    del rates[name]
                else:
                    rates[name] += [rate] if repetition else []
        medians[title] = {name: statistics.median(own) for name, own in rates.items()}
        for name in names:
            if name in failures:
                tell(f"| {title} | {name} | {failures[name]} |" + " |" * len(bases))
                continue
            own = rates[name]
            ratios = " | ".join(ratio(own, rates.get(base)) for base in bases)
            spread = f"{medians[title][name]:,.0f} ({min(own):,.0f} to {max(own):,.0f})"
            tell(f"| {title} | {name} | {spread} | {ratios} |")
    tell("")
    return medians


def main() -> None:
    """Prints the tables, and writes them to RESULTS.md and chart.png."""
    started = time.monotonic()
    results = Results()
    chart = None
    results.tell(
        f"`make bench`, in one run on {os.cpu_count()} cores. Jobs a second: median (least to "
        f"most) of {REPETITIONS} interleaved runs after a warm-up. gearmand has one thread for "
        "connections, unless a table says otherwise."
    )
    results.tell("")
    with results.part("Beside C and a bare loop") as tell:
        race(ROWS, ["C", "bare"], tell)
    with results.part("The asyncio client") as tell:
        race(AIO_ROWS, ["gearmanny"], tell)
    with results.part("Beside the peers, each with Redis") as tell:
        if Path(PEERS).exists():
            chart = race(PEER_ROWS, ["gearmanny"], tell)
        else:
            tell("The peers are missing, here and below: `make bench-peers` installs them.")
            tell("")
    with results.part("Tails") as tell:
        tails(PEERS, tell)
    with results.part("Memory of worker processes") as tell:
        memory(PEERS, tell)
    with results.part("Growth") as tell:
        growth(tell)
    with results.part("gearmand's threads") as tell:
        threads(tell, REPETITIONS)
    with results.part("Further costs") as tell:
        costs(tell, LIBGEARMAN, REPETITIONS)
    with results.part("A profile") as tell:
        shares(tell)
    results.write(HERE / "RESULTS.md", "Results", BELOW)
    write_speed(HERE / "RESULTS.md", HERE.parent / "README.md")
    if chart:
        drawing = [PEERS, str(HERE / "chart.py"), str(HERE / "chart.png")]
        subprocess.run(drawing, input=json.dumps(chart), text=True, check=True)
    print(f"In all: {time.monotonic() - started:.0f} s", file=sys.stderr)
    results.check()


if __name__ == "__main__":
    main()
