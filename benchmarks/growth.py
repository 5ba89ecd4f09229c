"""How the processor time of a round trip grows: ours, and gearmand's.

    python -m benchmarks.growth [MOST_WAITING]

With more functions offered, jobs waiting, workers connected, and job servers. Each row has a job
server of its own. MOST_WAITING (1,000,000) is for short runs.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.programs import (
    CONTESTANT,
    Tell,
    cpu_seconds,
    job_server,
    offered,
    pid_of,
    run,
    running,
    tree,
)
from tools.processes import until

ROUND_TRIPS = 1000
REPETITIONS = 3
"""Of which the quickest counts."""

BUCKETS = "--hashtable-buckets=1000003"
"""For many waiting jobs: gearmand looks for each new one among those of its bucket, and with the
991 that are its default, a million jobs would need minutes to be submitted."""


class Times(NamedTuple):
    """Processor time of a round trip, in µs; and round trips a second."""

    client: float
    workers: float
    gearmand: float
    a_second: float

    @property
    def ours(self) -> float:
        return self.client + self.workers


def growth(tell: Tell, most_waiting: int = 1_000_000) -> None:
    """Tells a table of all four."""
    tell(
        f"Processor time of a round trip, in µs: the best of {REPETITIONS} × {ROUND_TRIPS:,}. The "
        f"slope is what each further one adds. Where jobs wait, gearmand runs with `{BUCKETS}`."
    )
    tell("")
    tell("| | | client | workers | gearmand | round trips/s |")
    tell("|---" * 6 + "|")
    axes = {
        "functions offered": ("offer", [1, 100, 10_000]),
        "jobs waiting": ("waiting", [10, 10_000, most_waiting]),
        "workers connected": ("workers", [1, 10, 100]),
        "job servers": ("servers", [1, 2]),
    }
    slopes = []
    for title, (mode, counts) in axes.items():
        rows = []
        for count in counts:
            with situation(mode, count) as (ports, workers):
                times = best(ports, workers)
            rows.append(times)
            cells = " | ".join(f"{each:,.0f}" for each in times)
            tell(f"| {title} | {count:,} | {cells} |")
        further = counts[-1] - counts[0]
        ours = (rows[-1].ours - rows[0].ours) / further
        gearmand = (rows[-1].gearmand - rows[0].gearmand) / further
        slopes.append((title, counts, 1000 * ours, 1000 * gearmand))
    tell("")
    tell("| slope, ns a round trip | ours | gearmand's |")
    tell("|---" * 3 + "|")
    for title, counts, ours, gearmand in slopes:
        tell(f"| {title}, {counts[0]:,} to {counts[-1]:,} | {ours:+,.1f} | {gearmand:+,.1f} |")
    tell("")


@contextlib.contextmanager
def situation(mode: str, count: int) -> Iterator[tuple[list[str], int]]:
    """Runs job servers and workers; yields their ports, and the process that has all workers."""
    number, commands = 1, ["work", "0"]
    with contextlib.ExitStack() as stack:
        servers = count if mode == "servers" else 1
        options = ["--threads=1", BUCKETS] if mode == "waiting" else []
        ports = [stack.enter_context(job_server(*options)) for _ in range(servers)]
        if mode == "waiting":
            worker = [*CONTESTANT, ports[0], "work", "1"]
            with running([worker]):  # for the first call of the one who submits
                run(*CONTESTANT, ports[0], "waiting", str(count), timeout=300)
        if mode in ("offer", "workers"):
            commands = [mode, str(count)]
            number = count if mode == "workers" else 1
        command = [*CONTESTANT, ",".join(ports), *commands]
        (process,) = stack.enter_context(running([command]))
        until(lambda: all(offered(port) == number for port in ports), "all workers there")
        yield ports, process.pid


def best(ports: list[str], workers: int) -> Times:
    """Returns the times of the quickest repetition."""
    servers, pids = [pid_of(port) for port in ports], [*tree(workers)]
    command = [*CONTESTANT, ",".join(ports), "clients", str(ROUND_TRIPS), "1", "roundtrip"]
    found = []
    for _ in range(REPETITIONS):
        before = sum(map(cpu_seconds, pids)), sum(map(cpu_seconds, servers))
        seconds, client = run(*command)
        of_workers = sum(map(cpu_seconds, pids)) - before[0]
        of_servers = sum(map(cpu_seconds, servers)) - before[1]
        each = 1e6 / ROUND_TRIPS
        found.append(
            Times(client * each, of_workers * each, of_servers * each, ROUND_TRIPS / seconds)
        )
    return min(found, key=lambda times: times.ours + times.gearmand)


if __name__ == "__main__":
    growth(print, *map(int, sys.argv[1:]))
