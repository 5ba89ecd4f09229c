"""Kills a persistent gearmand and its workers, and counts what became of the background jobs.

    python -m chaos.durability [JOBS]

Half of the jobs are submitted, gearmand is killed with SIGKILL and started again on its queue, and
the other half is submitted; workers are killed all the while. A job is done when its number is in
a file, which is written before it is answered: a worker killed between the two has done a job that
will be run again.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gearmanny.admin import JobServer
from gearmanny.client import SimpleClient
from gearmanny.errors import GearmanException, JobServerLost, JobServerUnavailable
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker
from tools.processes import ROOT

WORKERS = 3
LONGEST_LIFE = 0.5
"""Seconds between the deaths of two workers, at the most."""
WORK = 0.01
"""Seconds that a job takes: longer than submitting one, so that jobs wait when gearmand dies."""
PATIENCE = 300.0
"""Seconds for all jobs to be done."""


class Report(NamedTuple):
    """The counts of a run."""

    submitted: int
    done: int
    lost: int
    run_twice: int
    submitted_again: int
    """Jobs whose acceptance was lost with the connection: it is for the submitter to decide, and
    this one sends them again."""
    waiting_when_killed: int
    """Jobs that gearmand held when it was killed."""
    workers_killed: int
    seconds: float


class Recorder(BaseWorker):
    """Writes down which jobs it ran."""

    name = "recorder"
    file: int

    def task_record(self, number: int) -> None:
        time.sleep(WORK / 2)
        os.write(self.file, b"%d\n" % number)
        time.sleep(WORK / 2)


class Herd:
    """Workers in processes of their own, of which one is killed ever and again."""

    def __init__(self, host: str, record: Path, chance: random.Random) -> None:
        self._command = [sys.executable, "-m", "chaos.durability", "--work", host, str(record)]
        self._chance = chance
        self._ending = threading.Event()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.killed = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self._processes = [self._start() for _ in range(WORKERS)]
        killer = threading.Thread(target=self._kill)
        killer.start()
        try:
            yield
        finally:
            self._ending.set()
            killer.join()
            for process in self._processes:
                process.kill()
                process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, cwd=ROOT)

    def _kill(self) -> None:
        while not self._ending.wait(self._chance.uniform(0.1, LONGEST_LIFE)):
            place = self._chance.randrange(WORKERS)
            self._processes[place].send_signal(signal.SIGKILL)
            self._processes[place].wait()
            self._processes[place] = self._start()
            self.killed += 1


def run(jobs: int, seed: int = 4730) -> Report:
    """Returns what became of so many jobs."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "done")
        record.touch()
        server = Gearmand("-q", "libsqlite3", f"--libsqlite3-db={folder}/queue.db")
        server.start()
        try:
            herd = Herd(server.host, record, random.Random(seed))
            with herd.running():
                waiting, again = _submit_all(server, jobs)
                _wait_until_done(server, record, jobs, started + PATIENCE)
        finally:
            server.stop()
        runs = _runs(record)
    return Report(
        submitted=jobs,
        done=len(runs),
        lost=len(set(range(jobs)) - set(runs)),
        run_twice=sum(count > 1 for count in runs.values()),
        submitted_again=again,
        waiting_when_killed=waiting,
        workers_killed=herd.killed,
        seconds=time.monotonic() - started,
    )


def _submit_all(server: Gearmand, jobs: int) -> tuple[int, int]:
    """Submits jobs one by one, while gearmand is killed; returns how many it held then, and how
    often one was sent again."""
    again = 0

    def restart() -> None:
        server.kill()
        server.start()

    restarting = threading.Thread(target=restart)
    with SimpleClient([server.host], timeout=30) as client:
        submit = client.using(background=True)
        for number in range(jobs):
            if number == jobs // 2:
                waiting = _waiting(server)
                restarting.start()
            while True:
                try:
                    submit.recorder_record(number=number)
                    break
                except JobServerUnavailable:
                    time.sleep(0.05)  # nothing was sent
                except JobServerLost:
                    again += 1
        restarting.join()
    return waiting, again


def _waiting(server: Gearmand) -> int:
    return sum(row.total for row in JobServer(server.host).status())


def _wait_until_done(server: Gearmand, record: Path, jobs: int, until: float) -> None:
    while time.monotonic() < until:
        time.sleep(0.1)
        try:
            waiting = _waiting(server)
        except GearmanException:
            continue
        if len(_runs(record)) == jobs and not waiting:
            return


def _runs(record: Path) -> collections.Counter[int]:
    return collections.Counter(map(int, record.read_text().split()))


def _work(host: str, record: str) -> None:
    Recorder.file = os.open(record, os.O_WRONLY | os.O_APPEND)
    Recorder([host]).start()


def main(jobs: int = 2_000) -> bool:
    """Prints the figures; returns whether no job was lost."""
    report = run(jobs)
    figures = (
        f"{round(value, 1)} {name.replace('_', ' ')}"
        for name, value in zip(report._fields, report, strict=True)
    )
    print(f"durability: {', '.join(figures)}")
    return not report.lost


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        _work(*sys.argv[2:])
    else:
        sys.exit(not main(*map(int, sys.argv[1:])))
