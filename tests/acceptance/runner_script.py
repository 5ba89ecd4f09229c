"""Run by the tests of WorkRunner, as a program of its own: runner_script.py HOST THREADS OPTION…"""

import logging
import os
import pickle
import re
import sys
import threading
from pathlib import Path

from gearmanny.gearman_api import DataEncoder, GearmanWorker
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner


class PickleEncoder(DataEncoder):
    encode = pickle.dumps
    decode = pickle.loads


class PickleWorker(GearmanWorker):
    data_encoder = PickleEncoder


class First(BaseWorker):
    name = "first"

    def task_pid(self) -> int:
        return os.getpid()

    def task_wait_for(self, path: str) -> str:
        Path(f"{path}.started").touch()
        while not Path(path).exists():
            threading.Event().wait(0.01)
        return "done"

    def task_keep_the_interpreter(self, path: str) -> None:
        Path(path).touch()
        re.match(r"(a+)+$", "a" * 60 + "b")  # for years, without giving the lock away once


class Second(BaseWorker):
    name = "second"

    def task_pid(self) -> int:
        return os.getpid()


class Pickled(BaseWorker):
    name = "pickled"
    work_class = PickleWorker

    def task_pid(self) -> int:
        return os.getpid()


class Broken(BaseWorker):
    name = "broken"

    def setUp(self) -> None:
        raise RuntimeError("cannot be set up")


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    host, threads, *options = sys.argv[1:]
    workers: list[type[BaseWorker]] = [Broken] if "broken" in options else [First, Second, Pickled]
    tls = {"ca": os.environ["TEST_CA"]} if "TEST_CA" in os.environ else None
    all_well = WorkRunner(workers, [host], verbosity=1, tls=tls).start(
        threads=int(threads), keepAlive="no-keepalive" not in options
    )
    sys.stderr.write("start() returned\n")
    sys.exit(not all_well)
