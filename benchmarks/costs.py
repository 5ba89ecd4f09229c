"""Further costs: threads, payloads, memory, import time, idle workers."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gearmanny.admin import JobServer
from gearmanny.net.loopback import free_port
from gearmanny.serving.process import running_where_none_is
from gearmanny.testing import Gearmand
from tools.processes import end, until, workers_of

CONTESTANT = [sys.executable, str(Path(__file__).parent / "contestant.py")]
REPETITIONS = 5
LONGEST_RUN = 300
"""Seconds after which a run counts as hung."""
IDLE = 30
"""Seconds for which an idle worker is watched."""
KIB, MIB = 1024, 1024 * 1024

Tell = Callable[[str], None]


def costs(tell: Tell) -> None:
    """Tells a table of them."""
    tell(f"What else is paid: medians of {REPETITIONS} runs.")
    tell("")
    tell("| | measured |")
    tell("|---|---|")
    with workers(2) as port:
        threads(port, tell)
    with workers(1) as port:
        outstanding(port, tell)
    own_job_server(tell)
    payloads(tell)
    imports(tell)
    idle(tell)
    tell("")


@contextlib.contextmanager
def workers(number: int, *, embedded: bool = False) -> Iterator[str]:
    """Runs a gearmand, or our own job server, with so many workers; yields its port."""
    with job_server(embedded=embedded) as port:
        processes = [
            subprocess.Popen([*CONTESTANT, port, "work", "0"], text=True) for _ in range(number)
        ]
        try:
            until(lambda: offered(port) == number)
            yield port
        finally:
            for process in processes:
                end(process)


@contextlib.contextmanager
def job_server(*, embedded: bool) -> Iterator[str]:
    """Runs a job server in a process of its own; yields its port."""
    if not embedded:
        with Gearmand() as server:
            yield str(server.port)
        return
    port = free_port()
    with running_where_none_is([f"127.0.0.1:{port}"]):
        yield str(port)


def offered(port: str) -> int:
    """Returns how many workers offer the function that is called."""
    status = JobServer(f"127.0.0.1:{port}").status()
    return sum(row.workers for row in status if row.function == "bench_add")


def run(*command: str) -> list[float]:
    """Returns the numbers that a program printed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=LONGEST_RUN, check=True
    )
    return [float(number) for number in done.stdout.split()]


def threads(port: str, tell: Tell) -> None:
    ratios = []
    for _ in range(REPETITIONS):
        alone, together = (
            run(*CONTESTANT, port, "threads", "4000", number)[0] for number in ("1", "8")
        )
        ratios.append(alone / together)
    tell(
        f"| 8 threads that share a `SimpleClient`, 2 workers | {statistics.median(ratios):.2f} × "
        f"the calls of 1 thread ({min(ratios):.2f} to {max(ratios):.2f}) |"
    )


def outstanding(port: str, tell: Tell) -> None:
    ratios, memory = [], []
    for _ in range(REPETITIONS):
        few = run(*CONTESTANT, port, "outstanding", "1000")[0] / 1000
        seconds, each = run(*CONTESTANT, port, "outstanding", "100000")
        ratios.append(seconds / 100000 / few)
        memory.append(each)
    tell(
        f"| 100,000 work objects outstanding | {statistics.median(ratios):.2f} × the time a job "
        f"of 1,000 ({min(ratios):.2f} to {max(ratios):.2f}), {max(memory):,.0f} bytes a job |"
    )


def own_job_server(tell: Tell) -> None:
    """Ratios of calls a second with our own job server to those with gearmand."""
    for name, mode, count in (
        ("round trips, one at a time", "roundtrip", 3000),
        ("batch of 5,000", "batch", 5000),
    ):
        ratios, rates = [], []
        with workers(1) as gearmands, workers(1, embedded=True) as ours:
            for _ in range(REPETITIONS):
                theirs, own = (
                    run(*CONTESTANT, port, mode, str(count))[0] for port in (gearmands, ours)
                )
                ratios.append(theirs / own)
                rates.append(count / own)
        tell(
            f"| {name}, over our own job server | {statistics.median(rates):,.0f} a second, "
            f"{statistics.median(ratios):.2f} × those over gearmand "
            f"({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


def payloads(tell: Tell) -> None:
    sizes = {"1 KiB": KIB, "64 KiB": 64 * KIB, "1 MiB": MIB, "16 MiB": 16 * MIB, "64 MiB": 64 * MIB}
    seconds: dict[str, list[float]] = {name: [] for name in sizes}
    peaks: dict[str, tuple[float, float]] = {}
    for _ in range(REPETITIONS):
        for name, size in sizes.items():
            with workers(1) as port:  # a fresh one, for its peak
                took, *peak = run(*CONTESTANT, port, "payload", str(size))
            seconds[name].append(took)
            peaks[name] = max(peaks.get(name, (0, 0)), (peak[0], peak[1]))
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


def imports(tell: Tell) -> None:
    ratios = []
    for repetition in range(REPETITIONS + 1):
        took = []
        for module in ("gearmanny.client", "gearman"):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
            took.append(time.perf_counter() - started)
        if repetition:
            ratios.append(took[0] / took[1])
    tell(f"| `import gearmanny.client` | {statistics.median(ratios):.2f} × `import gearman` |")


def idle(tell: Tell) -> None:
    with Gearmand() as server:
        process = subprocess.Popen([*CONTESTANT, str(server.port), "work", "0"], text=True)
        try:
            until(lambda: workers_of(server, "bench_add") == 1)
            before = cpu_seconds(process.pid)
            time.sleep(IDLE)
            share = (cpu_seconds(process.pid) - before) / IDLE
        finally:
            end(process)
    tell(f"| idle worker | {share:.3%} of a core, over {IDLE} s |")


def cpu_seconds(pid: int) -> float:
    """Returns the processor time of all threads of a process."""
    return sum(
        int((thread / "schedstat").read_text().split()[0]) / 1e9
        for thread in Path(f"/proc/{pid}/task").iterdir()
    )
