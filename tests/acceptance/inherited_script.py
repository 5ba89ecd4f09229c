"""Run by the tests of what processes inherit, as a program of its own: inherited_script.py HOST LOG

Before it forks, it has a thread that listens to a queue of log records, a handler that gathers
records, and generators of random numbers.
"""

import contextlib
import logging
import os
import queue
import random
import sys
from logging.handlers import MemoryHandler, QueueHandler, QueueListener

from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner

with contextlib.suppress(ImportError):
    import numpy.random


class Inheriting(BaseWorker):
    name = "inheriting"
    prefetch = 1

    def task_numbers(self) -> tuple[int, float, float]:
        return os.getpid(), random.random(), float(numpy.random.random())

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
