"""Jobs that kill their processes, that fail with a megabyte, or are over the limit, among good
ones, in figures.

    python -m chaos.poison [JOBS]

Without an argument: 10,000 good ones, and among them 200 that kill.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gearmanny.admin import JobServer
from gearmanny.client import SimpleClient
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tools.processes import PATIENCE, ROOT, end, until

_MEGABYTE = 10**6
_LIMIT = 2 * 10**6
"""Bytes of the longest packet of the workers."""

_MOST_WAITING = 50
"""Good jobs that are sent before the queue is worked off: a job server holds them in memory."""


class Poison(BaseWorker):
    name = "poison"

    def task_die(self, n: int) -> None:
        if n % 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        os._exit(n % 3)

    def task_fail(self, text: str) -> None:
        raise ValueError(text)

    def task_note(self, n: int) -> None:
        with open(os.environ["CHAOS_LOG"], "ab", buffering=0) as log:
            log.write(b"%d\n" % n)


@dataclass(frozen=True)
class Poisoned:
    """The counts of `poisoned`."""

    good: int
    good_done: int
    deaths: int
    """Processes that were killed."""
    condemned: int
    """Jobs that were failed instead of run again."""
    failed: int
    """All jobs that the log says to have failed."""
    growth_of_runner: int
    """KiB of resident memory."""
    largest_worker: int
    """KiB of resident memory."""
    exit_code: int


def poisoned(jobs: int, poison: int) -> Poisoned:
    """Runs good jobs behind a stream of bad ones, all in the background.

    Args:
        jobs: how many good ones, as many that fail, and a tenth of that over the limit.
        poison: how many that kill their processes; no more than the others.
    """
    with tempfile.TemporaryDirectory() as folder, Gearmand() as server:
        notes, log = Path(folder) / "notes", Path(folder) / "log"
        with log.open("w") as stderr:
            runner = subprocess.Popen(
                [sys.executable, "-m", "chaos.poison", "work", server.host],
                cwd=ROOT,
                env={**os.environ, "CHAOS_LOG": str(notes)},
                stderr=stderr,
            )
        try:
            with SimpleClient([server.host], timeout=PATIENCE) as client:
                client.poison_note(n=-1)
                before = _resident(runner.pid)
                background = client.using(background=True)
                with _Largest(runner.pid) as largest:
                    for n in range(jobs):
                        for function, arguments in _bad_ones(n, poison):
                            background.call(function, **arguments)
                        background.poison_note(n=n)
                        if not n % _MOST_WAITING:
                            _work_off(server, _MOST_WAITING)
                    _work_off(server, 0)
                after = _resident(runner.pid)
            runner.terminate()
            exit_code = runner.wait(PATIENCE)
        finally:
            end(runner)
        text = log.read_text()
        return Poisoned(
            good=jobs,
            good_done=len(set(notes.read_text().splitlines()) - {"-1"}),
            deaths=text.count(", while it ran "),
            condemned=text.count("is failed instead of run again"),
            failed=text.count(" failed: "),
            growth_of_runner=after - before,
            largest_worker=largest.kib,
            exit_code=exit_code,
        )


def _bad_ones(n: int, poison: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if n < poison:
        yield "poison_die", {"n": n}
    yield "poison_fail", {"text": "x" * _MEGABYTE}
    if not n % 10:
        yield "poison_fail", {"text": "x" * (_LIMIT + 1)}


def _work_off(server: Gearmand, rest: int) -> None:
    """Returns when no more jobs than that are left."""

    def left() -> int:
        return sum(row.total for row in JobServer(server.host).status())

    while (before := left()) > rest:
        until(lambda before=before: left() < before, "a job being done")


class _Largest:
    """Looks all the time how large the processes of a runner are."""

    def __init__(self, runner: int) -> None:
        self.kib = 0
        self._runner = runner
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Largest:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        children = Path(f"/proc/{self._runner}/task/{self._runner}/children")
        while not self._ended.wait(0.02):
            for pid in children.read_text().split():
                self.kib = max(self.kib, _resident(int(pid)))


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it has ended
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def main(*arguments: str) -> bool:
    """Prints the figures; returns whether every good job was done."""
    if arguments[:1] == ("work",):
        logging.basicConfig(format="%(message).300s")
        runner = WorkRunner([Poison], [arguments[1]], max_packet=_LIMIT, max_crashes=1)
        sys.exit(not runner.start(2))
    jobs = int(arguments[0]) if arguments else 10_000
    counted = poisoned(jobs, min(jobs, 200))
    print(f"poison: {counted}")
    return counted.good_done == counted.good and not counted.exit_code


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
