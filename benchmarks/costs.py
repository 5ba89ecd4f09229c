"""Further costs: threads, payloads, memory, import time, idle workers."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.programs import (
    CONTESTANT,
    Tell,
    cpu_seconds,
    job_server,
    own_job_server,
    run,
    workers,
)

IDLE = 30
"""Seconds for which an idle worker is watched."""
KIB, MIB = 1024, 1024 * 1024


def costs(tell: Tell, repetitions: int = 3) -> None:
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
    payloads(tell, repetitions)
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


def payloads(tell: Tell, repetitions: int) -> None:
    sizes = {"1 KiB": KIB, "64 KiB": 64 * KIB, "1 MiB": MIB, "16 MiB": 16 * MIB, "64 MiB": 64 * MIB}
    seconds: dict[str, list[float]] = {name: [] for name in sizes}
    peaks: dict[str, tuple[float, float]] = {}
    for _ in range(repetitions):
        for name, size in sizes.items():
            with job_server() as port, workers(port):  # a fresh one, for its peak
                once, of_client, of_worker = run(*CONTESTANT, port, "payload", str(size))
            seconds[name].append(once)
            peaks[name] = max(peaks.get(name, (0, 0)), (of_client, of_worker))
    for name, took in seconds.items():
        cost = f"{1000 * statistics.median(took):,.1f} ms there and back"
        if name == "64 MiB":
            growth = statistics.median(a / b for a, b in zip(took, seconds["1 MiB"], strict=True))
            client, worker = peaks[name]
            cost += (
                f", {growth:.0f} × that of 1 MiB; peak memory of the client {client:.1f} ×, "
                f"of the worker {worker:.1f} × the payload"
            )
        tell(f"| {name} | {cost} |")


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
