"""gearmand with one thread for connections, and with the four that are its default.

    python -m benchmarks.threads [REPETITIONS]

Beside the jobs a second, it tells the processor time that a job costs: that of gearmand, and that
of clients and workers. Their ratio says how many cores of empty jobs one thread can serve.
"""

from __future__ import annotations

import os
import statistics
import sys
from typing import NamedTuple

from benchmarks.programs import CONTESTANT, Tell, cpu_seconds, job_server, pid_of, run, workers

THREADS = ("1", "4")
ROWS = [
    # title, mode, jobs, clients, workers
    ("round trips, 1 client and 1 worker", "roundtrip", 2000, 1, 1),
    ("batch of 5,000, 1 client and 1 worker", "batch", 5000, 1, 1),
    ("round trips, 8 clients and 4 workers", "roundtrip", 2000, 8, 4),
    ("batches, 8 clients and 4 workers", "batch", 8000, 8, 4),
]


class Run(NamedTuple):
    """One run with so many threads."""

    jobs_a_second: float
    of_gearmand: float
    """Processor time of a job, in µs."""
    of_others: float


def threads(tell: Tell, repetitions: int = 5) -> None:
    """Tells a table of both."""
    tell(
        f"gearmand with `--threads=1` beside its default of 4, on {os.cpu_count()} cores: medians "
        f"of {repetitions} interleaved runs. `µs` is the processor time of a job."
    )
    tell("")
    tell("| | 4 threads, jobs/s | 1 thread, jobs/s | 1 thread × 4 | gearmand's µs, 4 and 1 |")
    tell("|---" * 5 + "|")
    ratios, cores = [], []
    for title, mode, count, clients, number in ROWS:
        runs: dict[str, list[Run]] = {each: [] for each in THREADS}
        for _ in range(repetitions):
            for each in THREADS:
                runs[each].append(measure(each, mode, count, clients, number))
        one, four = (median(runs[each]) for each in THREADS)
        pairs = zip(runs["1"], runs["4"], strict=True)
        ratio = statistics.median(a.jobs_a_second / b.jobs_a_second for a, b in pairs)
        tell(
            f"| {title} | {four.jobs_a_second:,.0f} | {one.jobs_a_second:,.0f} | {ratio:.2f} "
            f"| {four.of_gearmand:.0f}, {one.of_gearmand:.0f} |"
        )
        ratios.append(ratio)
        cores.append((one.of_gearmand + one.of_others) / one.of_gearmand)
    tell("")
    tell(
        f"One thread pays where its ratio is above 1: here in {sum(r > 1 for r in ratios)} of "
        f"{len(ratios)} rows. As a job without work costs clients and workers more than gearmand, "
        f"its one thread is the limit only where at least {min(cores):.0f} cores do nothing else "
        "than such jobs; tasks that work need more of them. Measure both there."
    )
    tell("")


def median(runs: list[Run]) -> Run:
    return Run(*(statistics.median(column) for column in zip(*runs, strict=True)))


def measure(threads: str, mode: str, count: int, clients: int, number: int) -> Run:
    with job_server(f"--threads={threads}") as port, workers(port, number) as pids:
        server = pid_of(port)
        before = cpu_seconds(server), sum(map(cpu_seconds, pids))
        seconds, of_clients = run(*CONTESTANT, port, "clients", str(count), str(clients), mode)
        of_gearmand = cpu_seconds(server) - before[0]
        of_workers = sum(map(cpu_seconds, pids)) - before[1]
        each = 1e6 / count
        return Run(count / seconds, of_gearmand * each, (of_workers + of_clients) * each)


if __name__ == "__main__":
    threads(print, *map(int, sys.argv[1:]))
