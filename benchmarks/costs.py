"""Further costs: threads, payloads, memory, import time, idle workers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from benchmarks.programs import (
    CONTESTANT,
    Tell,
    cpu_seconds,
    job_server,
    own_job_server,
    pid_of,
    run,
    running,
    workers,
)

IDLE = 30
"""Seconds for which an idle worker is watched."""
KIB, MIB = 1024, 1024 * 1024
TEXTS = 5
"""Texts that `contestant.py PORT payload` sends."""
HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""Makes the C library ask the kernel for huge pages, where that gives them on request alone."""


def costs(tell: Tell, libgearman: str, repetitions: int = 3) -> None:
    """Tells a table of them."""
    tell(f"What else is paid: medians of {repetitions} runs.")
    tell("")
    tell("| | measured |")
    tell("|---|---|")
    with job_server() as port, workers(port, 2):
        threads(port, tell, repetitions)
    with job_server() as port, workers(port):
        outstanding(port, tell, repetitions)
    over_our_own(tell, repetitions)
    payloads(tell, libgearman, repetitions)
    imports(tell, repetitions)
    idle(tell)
    tell("")


def threads(port: str, tell: Tell, repetitions: int) -> None:
    ratios = []
    for _ in range(repetitions):
        alone, together = (
            run(*CONTESTANT, port, "threads", "4000", number)[0] for number in ("1", "8")
        )
        ratios.append(alone / together)
    tell(
        f"| 8 threads that share a `SimpleClient`, 2 workers | {statistics.median(ratios):.2f} × "
        f"the calls of 1 thread ({min(ratios):.2f} to {max(ratios):.2f}) |"
    )


def outstanding(port: str, tell: Tell, repetitions: int) -> None:
    ratios, memory = [], []
    for _ in range(repetitions):
        few = run(*CONTESTANT, port, "outstanding", "1000")[0] / 1000
        seconds, each = run(*CONTESTANT, port, "outstanding", "100000")
        ratios.append(seconds / 100000 / few)
        memory.append(each)
    tell(
        f"| 100,000 work objects outstanding | {statistics.median(ratios):.2f} × the time a job "
        f"of 1,000 ({min(ratios):.2f} to {max(ratios):.2f}), {max(memory):,.0f} bytes a job |"
    )


def over_our_own(tell: Tell, repetitions: int) -> None:
    """Ratios of calls a second with our own job server to those with gearmand."""
    for name, mode, count in (
        ("round trips, one at a time", "roundtrip", 3000),
        ("batch of 5,000", "batch", 5000),
    ):
        ratios, rates = [], []
        with job_server() as gearmand, own_job_server() as ours, workers(gearmand), workers(ours):
            for _ in range(repetitions):
                theirs, own = (
                    run(*CONTESTANT, port, mode, str(count))[0] for port in (gearmand, ours)
                )
                ratios.append(theirs / own)
                rates.append(count / own)
        tell(
            f"| {name}, over our own job server | {statistics.median(rates):,.0f} a second, "
            f"{statistics.median(ratios):.2f} × those over gearmand "
            f"({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


class Exchange(NamedTuple):
    """A text there and back: the wall clock, and the processor time of each side, in ms."""

    wall: float
    ours: float
    gearmand: float


def payloads(tell: Tell, libgearman: str, repetitions: int) -> None:
    sizes = {"1 KiB": KIB, "64 KiB": 64 * KIB, "1 MiB": MIB, "16 MiB": 16 * MIB, "64 MiB": 64 * MIB}
    rows = [(name, size, "") for name, size in sizes.items()]
    rows += [(f"{name}, huge pages", sizes[name], HUGE_PAGES) for name in ("1 MiB", "64 MiB")]
    runs: dict[str, list[Exchange]] = {name: [] for name, _, _ in rows}
    peaks: dict[str, list[float]] = {}
    in_c = []
    for _ in range(repetitions):
        for name, size, tunables in rows:
            exchange, *peak = there_and_back(size, tunables)
            runs[name].append(exchange)
            peaks[name] = [*map(max, peak, peaks.get(name, peak))]
        with job_server() as port, running([[libgearman, port, "work", "0"]]):
            in_c.append(1000 * run(libgearman, port, "payload", str(MIB))[0])
    for name, exchanges in runs.items():
        cost = f"{statistics.median(each.wall for each in exchanges):,.1f} ms there and back"
        if name.startswith("64 MiB"):
            small = runs[name.replace("64", "1")]
            wall, ours, gearmand = (
                statistics.median(b / a for a, b in zip(before, after, strict=True))
                for before, after in zip(
                    zip(*small, strict=True), zip(*exchanges, strict=True), strict=True
                )
            )
            client, worker = peaks[name]
            cost += (
                f", {wall:.0f} × that of 1 MiB; processor time {ours:.0f} × for client and worker, "
                f"{gearmand:.0f} × for gearmand; peak memory of the client {client:.1f} ×, of the "
                f"worker {worker:.1f} × the payload"
            )
        tell(f"| {name} | {cost} |")
    tell(f"| 1 MiB, libgearman in C | {statistics.median(in_c):,.1f} ms there and back |")


def there_and_back(size: int, tunables: str) -> tuple[Exchange, float, float]:
    """Returns what a text costs, and the peak memory of client and worker as its multiple."""
    before = os.environ.get("GLIBC_TUNABLES")
    os.environ["GLIBC_TUNABLES"] = tunables
    try:
        with job_server() as port, workers(port) as (worker,):  # fresh ones, for their peaks
            others = worker, pid_of(port)
            started = [*map(cpu_seconds, others)]
            wall, client, peak, of_worker = run(*CONTESTANT, port, "payload", str(size))
            used = [cpu_seconds(pid) - began for pid, began in zip(others, started, strict=True)]
    finally:
        del os.environ["GLIBC_TUNABLES"]
        if before is not None:
            os.environ["GLIBC_TUNABLES"] = before
    of_server, of_both = 1000 * used[1] / TEXTS, 1000 * (client + used[0] / TEXTS)
    return Exchange(1000 * wall, of_both, of_server), peak, of_worker


def imports(tell: Tell, repetitions: int) -> None:
    ratios = []
    for repetition in range(repetitions + 1):
        took = []
        for module in ("gearmanny.client", "gearman"):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
            took.append(time.perf_counter() - started)
        if repetition:
            ratios.append(took[0] / took[1])
    tell(f"| `import gearmanny.client` | {statistics.median(ratios):.2f} × `import gearman` |")


def idle(tell: Tell) -> None:
    with job_server() as port, workers(port) as (pid,):
        before = cpu_seconds(pid)
        time.sleep(IDLE)
        share = (cpu_seconds(pid) - before) / IDLE
    tell(f"| idle worker | {share:.3%} of a core, over {IDLE} s |")
