"""Run by the tests of what processes inherit, as a program of its own: inherited_script.py HOST LOG

Before it forks, it has a thread that listens to a queue of log records, a handler that gathers
records, generators of random numbers, and objects that take memory.
"""

import contextlib
import gc
import logging
import os
import queue
import random
import sys
from logging.handlers import MemoryHandler, QueueHandler, QueueListener
from pathlib import Path

from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner

with contextlib.suppress(ImportError):
    import numpy.random


objects = [[number] for number in range(300_000)]


def own_memory() -> int:
    """The KiB that this process shares with no other one."""
    rows = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_"))


class Inheriting(BaseWorker):
    name = "inheriting"
    prefetch = 1

    def task_numbers(self) -> tuple[int, float, float]:
        return os.getpid(), random.random(), float(numpy.random.random())

    def task_collect(self) -> int:
        before = own_memory()
        gc.collect()
        return own_memory() - before

    def task_frozen(self) -> tuple[int, int]:
        self.kept = [[number] for number in range(1000)]
        return os.getpid(), gc.get_freeze_count()

    def task_fail(self) -> None:
        raise ValueError("so that what was gathered is written")


if __name__ == "__main__":
    host, log = sys.argv[1:]
    gathering = MemoryHandler(10_000, logging.ERROR, logging.FileHandler(log))
    records: queue.Queue[logging.LogRecord] = queue.Queue()
    logging.root.addHandler(gathering)
    logging.root.addHandler(logging.StreamHandler())
    logging.getLogger("queued").addHandler(QueueHandler(records))
    listener = QueueListener(records)
    listener.start()
    logging.warning("written once")
    WorkRunner([Inheriting], [host], verbosity=1).start(threads=3)
    listener.stop()
    sys.stdout.write(f"frozen afterwards: {gc.get_freeze_count()}")
