"""Restarts under load, and memory over many jobs, in figures.

    python -m chaos.restarts [rolling [JOBS] | memory [JOBS]]

Without arguments: 20,000 jobs while every process is replaced again and again,
then a million jobs through one process.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gearmanny.admin import JobServer
from gearmanny.client import SimpleClient
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tools.processes import PATIENCE, ROOT, end, until, workers_of


class Chaos(BaseWorker):
    name = "chaos"
    log = -1

    def setUp(self) -> None:
        path = os.environ.get("CHAOS_LOG", os.devnull)
        self.log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def task_note(self, n: int) -> None:
        time.sleep(0.001)  # this is the job
        os.write(self.log, b"%d %d %f\n" % (n, os.getpid(), time.monotonic()))

    def task_nothing(self) -> int:
        return os.getpid()


@dataclass(frozen=True)
class Rolling:
    """The counts of `rolling_restart`."""

    submitted: int
    done: int
    lost: int
    run_twice: int
    restarts: int
    processes: int
    fewest_workers: int
    """That the job server knew of at any time it was asked."""
    longest_gap: float
    """Seconds between two jobs, of whichever processes."""
    exit_code: int


@contextlib.contextmanager
def runner(server: Gearmand, log: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Runs `WorkRunner` as a program, with options as `name=number`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos.restarts", "work", server.host, *options],
        cwd=ROOT,
        env={**os.environ, "CHAOS_LOG": str(log)},
        text=True,
    )
    try:
        yield process
    finally:
        end(process)


@contextlib.contextmanager
def fewest_workers(server: Gearmand, function: str) -> Iterator[list[int]]:
    """Asks all the time how many workers offer a function; the least is the last item."""
    fewest = [workers_of(server, function)]
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.002):
            fewest[0] = min(fewest[0], workers_of(server, function))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield fewest
    finally:
        ended.set()
        asking.join()


def rolling_restart(jobs: int, restarts: int | None = None, *options: str) -> Rolling:
    """Runs background jobs while SIGHUP after SIGHUP replaces all processes.

    Args:
        jobs: how many.
        restarts: how many SIGHUPs, evenly over the jobs; None: one in about a second.
        options: of `WorkRunner`, as `name=number`.
    """
    with tempfile.TemporaryDirectory() as folder, Gearmand() as server:
        log = Path(folder) / "log"
        with runner(server, log, "threads=2", *options) as process:
            until(lambda: workers_of(server, "chaos_note") == 2, "two workers")
            with (
                SimpleClient([server.host], timeout=PATIENCE) as client,
                fewest_workers(server, "chaos_note") as fewest,
            ):
                calls = ({"n": n} for n in range(jobs))
                for _ in client.using(background=True).map("chaos_note", calls):
                    pass
                sent = _restart_until_done(process, server, log, jobs, restarts)
            process.terminate()
            exit_code = process.wait(PATIENCE)
        return _count(log, jobs, sent, fewest[0], exit_code)


def _restart_until_done(
    process: subprocess.Popen[str], server: Gearmand, log: Path, jobs: int, restarts: int | None
) -> int:
    pause = threading.Event()
    for sent in itertools.count():
        if restarts is None:
            pause.wait(1)
        else:
            share = jobs * (sent + 1) // (restarts + 1)
            until(lambda share=share: _lines(log) >= share, "its share of the jobs")
        if sent == restarts or not any(row.total for row in JobServer(server.host).status()):
            break
        process.send_signal(signal.SIGHUP)
    until(lambda: not any(row.total for row in JobServer(server.host).status()), "all jobs done")
    return sent


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _count(log: Path, jobs: int, restarts: int, fewest: int, exit_code: int) -> Rolling:
    rows = [line.split() for line in log.read_text().splitlines()]
    times = Counter(int(n) for n, _, _ in rows)
    moments = sorted(float(moment) for _, _, moment in rows)
    return Rolling(
        submitted=jobs,
        done=len(times),
        lost=len(set(range(jobs)) - times.keys()),
        run_twice=sum(count > 1 for count in times.values()),
        restarts=restarts,
        processes=len({pid for _, pid, _ in rows}),
        fewest_workers=fewest,
        longest_gap=max((b - a for a, b in itertools.pairwise(moments)), default=0.0),
        exit_code=exit_code,
    )


def memory(jobs: int) -> list[tuple[int, int]]:
    """Sends jobs through one process that holds 16 at a time.

    Returns:
        The jobs done and the resident KiB of the process, ten times and after a first 1,000 jobs.
    """
    measured = []
    with (
        Gearmand() as server,
        runner(server, Path(os.devnull), "threads=1", "prefetch=16"),
        SimpleClient([server.host], timeout=PATIENCE) as client,
    ):
        pid = client.chaos_nothing()
        done = 0
        for share in (1_000, *(jobs * tenth // 10 for tenth in range(1, 11))):
            for _ in client.map("chaos_nothing", ({} for _ in range(share - done))):
                pass
            done = max(done, share)
            measured.append((done, _resident(pid)))
    return measured


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def _print_memory(jobs: int) -> None:
    measured = memory(jobs)
    for done, resident in measured:
        print(f"{done:>9,} jobs  {resident:>7,} KiB")
    print(f"growth: {measured[-1][1] - measured[0][1]:,} KiB")


def main(what: str = "", *arguments: str) -> bool:
    """Prints the figures; returns whether every job was done, and done once."""
    if what == "work":
        host, *options = arguments
        numbers = {name: int(n) for name, _, n in (option.partition("=") for option in options)}
        threads = numbers.pop("threads", 1)
        sys.exit(not WorkRunner([Chaos], [host], **numbers).start(threads))
    jobs = [int(argument) for argument in arguments]
    well = True
    if what in ("", "rolling"):
        rolling = rolling_restart(*(jobs or [20_000]))
        print(f"restarts: {rolling}")
        well = not rolling.lost and not rolling.run_twice
    if what in ("", "memory"):
        _print_memory(*(jobs or [1_000_000]))
    return well


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
