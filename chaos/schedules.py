"""Kills dispatchers whose clocks disagree, one each second, and counts the jobs of schedules.

    python -m chaos.schedules [TICKS] [URL]

Three dispatchers run, with clocks 5 s behind, right and 5 s ahead (by libfaketime). Two hundred
schedules tick every five seconds; half of them make up for all missed ticks. A tick is right when
there is one job for it, due at its time. The store is in a temporary folder, or at the URL, which
should be of an empty database.
"""

from __future__ import annotations

import collections
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gearmanny.records.scheduling import NewSchedule
from gearmanny.records.sql import SQLStore
from gearmanny.schedules.timetable import Timetable
from gearmanny.testing import Gearmand
from tools.processes import ROOT, with_clock

CLOCKS = ("-5s", "+0s", "+5s")
SCHEDULES = 200
EVERY = 5.0
"""Seconds from one tick of a schedule to the next: longer than nobody may be there to tick."""
LIFE = 1.0
"""Seconds between the deaths of two dispatchers."""


class Report(NamedTuple):
    """The counts of a run."""

    ticks: int
    missed: int
    made_twice: int
    killed: int
    seconds: float


def run(ticks: int, url: str) -> Report:
    """Lets schedules tick, and returns what became of the ticks.

    Args:
        ticks: how many, of all schedules together.
        url: of the store.
    """
    store = SQLStore(url)
    options: tuple[dict[str, Any], ...] = ({}, {"catch_up": True})
    for number in range(SCHEDULES):
        timetable = Timetable(every=EVERY, overlap="queue", **options[number % 2])
        store.schedules.add(NewSchedule(f"f{number}", f"f{number}", "{}", timetable))
    begun = {each.name: each.last.timestamp() for each in store.schedules.all()}
    until = time.monotonic() + EVERY * ticks / SCHEDULES + EVERY / 2
    started, killed = time.monotonic(), 0
    chance = random.Random(0)
    with Gearmand() as server, _dispatchers(url, server.host) as dispatchers:
        while time.monotonic() < until:
            time.sleep(LIFE)
            dispatchers.kill(chance.randrange(len(CLOCKS)))
            killed += 1
    found = {name: collections.Counter[int]() for name in begun}
    for name, due in _jobs(url):
        found[name][round((due - begun[name]) / EVERY * 1000)] += 1
    last = {each.name: each.last.timestamp() for each in store.schedules.all()}
    store.close()
    due_ticks = {
        name: [1000 * tick for tick in range(1, round((last[name] - begun[name]) / EVERY) + 1)]
        for name in begun
    }
    return Report(
        ticks=sum(map(len, due_ticks.values())),
        missed=sum(found[name][tick] == 0 for name in begun for tick in due_ticks[name]),
        made_twice=sum(found[name].total() - len(found[name].keys() & set(due_ticks[name]))
                       for name in begun),
        killed=killed,
        seconds=time.monotonic() - started,
    )  # fmt: skip


def _jobs(url: str) -> list[tuple[str, float]]:
    """The function of each job, and when it was due, in seconds."""
    if url.startswith("sqlite:///"):
        import sqlite3  # noqa: PLC0415

        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return connection.execute(
                "SELECT function, (julianday(due) - 2440587.5) * 86400.0 FROM gearmanny_jobs"
            ).fetchall()
    import psycopg  # noqa: PLC0415

    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT function, extract(epoch FROM due)::float8 FROM gearmanny_jobs"
        ).fetchall()


class _Dispatchers:
    """Dispatchers in processes of their own, each with a clock of its own."""

    def __init__(self, url: str, host: str) -> None:
        self._command = ["dispatch", "--records", url, "--host", host]
        self._processes = [self._start(clock) for clock in CLOCKS]

    def _start(self, clock: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "gearmanny", *self._command],
            cwd=ROOT,
            env=with_clock(clock),
            stderr=subprocess.DEVNULL,
        )

    def kill(self, index: int) -> None:
        """Kills one, and starts another in its place."""
        self._end(self._processes[index])
        self._processes[index] = self._start(CLOCKS[index])

    def close(self) -> None:
        """Kills all."""
        for process in self._processes:
            self._end(process)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _dispatchers(url: str, host: str) -> Iterator[_Dispatchers]:
    with contextlib.closing(_Dispatchers(url, host)) as dispatchers:
        yield dispatchers


def main(ticks: int = 10_000, url: str = "") -> bool:
    """Returns whether each tick was one job; prints the counts."""
    with tempfile.TemporaryDirectory() as folder:
        report = run(ticks, url or f"sqlite:///{Path(folder) / 'jobs.db'}")
    print(
        f"schedules: {report.ticks} ticks: {report.missed} missed, {report.made_twice} twice; "
        f"{report.killed} dispatchers killed in {report.seconds:.0f} s"
    )
    return not report.missed and not report.made_twice


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(not main(int(arguments[0]) if arguments else 10_000, *arguments[1:2]))
