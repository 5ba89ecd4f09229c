"""Workers with little memory, whose processes are replaced when they have grown.

    python -m chaos.memory [SECONDS]

Tasks fill the memory, return or are given more than there is, and leak. Those that fit are
answered rightly, the others fail with the reason, and no connection and no process is lost.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from gearmanny.client import SimpleClient
from gearmanny.errors import TaskError
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tools.processes import PATIENCE, ROOT, end

_MIB = 2**20
_ROOM = 200
"""MiB of addresses that a process may take beyond those that it begins with."""
_GROWN = 120
"""MiB resident after which a process is replaced."""
_THREADS = 3


class Heavy(BaseWorker):
    name = "heavy"
    kept: list[bytes]

    def setUp(self) -> None:
        self.kept = []

    def task_double(self, n: int) -> int:
        return 2 * n

    def task_length(self, text: str) -> int:
        return len(text)

    def task_grow(self, size: int) -> str:
        return "x" * size

    def task_leak(self) -> None:
        self.kept.append(b"x" * 5 * _MIB)

    def task_fill(self) -> None:
        filled = []
        while True:
            filled.append(bytes(_MIB))


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + _ROOM * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _calls(chance: random.Random, n: int) -> tuple[str, dict[str, Any], Any]:
    """Returns a random call, and its answer where it fits."""
    size = chance.choice([100, _MIB, 10 * _MIB, 150 * _MIB])
    kind = chance.choice(["double", "double", "double", "length", "grow", "leak", "fill"])
    if kind == "length":
        size = min(size, 60 * _MIB)
        return "heavy_length", {"text": "y" * size}, size
    if kind == "grow":
        return "heavy_grow", {"size": size}, "x" * size
    if kind == "double":
        return "heavy_double", {"n": n}, 2 * n
    return f"heavy_{kind}", {}, None


class _Callers:
    """Threads that call all the time."""

    def __init__(self, host: str, seconds: float) -> None:
        self.answered: Counter[str] = Counter()
        self.without_memory: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self._host = host
        self._end = time.monotonic() + seconds
        self._threads = [threading.Thread(target=self._call, args=(n,)) for n in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits for the threads."""
        for thread in self._threads:
            thread.join()

    def _call(self, n: int) -> None:
        chance = random.Random(n)
        with SimpleClient([self._host], timeout=2 * PATIENCE) as client:
            while time.monotonic() < self._end:
                n += _THREADS
                function, arguments, expected = _calls(chance, n)
                try:
                    answer = client.call(function, **arguments)
                except TaskError as error:
                    fits = function in ("heavy_double", "heavy_leak")
                    if "memory" in str(error).lower() and not fits:
                        self.without_memory[function] += 1
                    else:
                        self.wrong[f"{function}: {error}"[:200]] += 1
                except Exception as error:
                    self.wrong[f"{function}: {type(error).__name__}: {error}"[:200]] += 1
                else:
                    self.answered[function] += 1
                    self.wrong[f"{function}: another answer"] += answer != expected


def main(*arguments: str) -> bool:
    """Prints the figures; returns whether what fits was answered and what does not was told."""
    if arguments[:1] == ("work",):
        _limit()
        runner = WorkRunner([Heavy], [arguments[1]], verbosity=1, max_memory=_GROWN, max_crashes=1)
        sys.exit(not runner.start(2))
    seconds = float(arguments[0]) if arguments else 30.0
    with tempfile.TemporaryFile("w+") as log, Gearmand() as server:
        runner = subprocess.Popen(
            [sys.executable, "-m", "chaos.memory", "work", server.host],
            cwd=ROOT,
            stderr=log,
            text=True,
        )
        try:
            callers = _Callers(server.host, seconds)
            callers.join()
            runner.terminate()
            exit_code = runner.wait(2 * PATIENCE)
        finally:
            end(runner)
        log.seek(0)
        recycled = log.read().count("MiB are resident")
    print(
        f"memory: {callers.answered.total():,} calls answered, "
        f"{callers.without_memory.total():,} told that there is not enough memory, {recycled} "
        f"processes replaced, {callers.wrong.total()} wrong, exit code {exit_code}"
    )
    for text, count in callers.wrong.items():
        if count:
            print(f"  {count} × {text}")
    enough = callers.without_memory["heavy_fill"] > 0 and recycled > 0
    return not callers.wrong.total() and enough and not exit_code


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
