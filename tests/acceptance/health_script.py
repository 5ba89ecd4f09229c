"""Run by the tests of health, as a program of its own: health_script.py HOST FILE PROCESSES."""

import logging
import os
import re
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from gearmanny.net.polling import Poller
from gearmanny.worker import BaseWorker, task
from gearmanny.workrunner import WorkRunner


def stand_still(number: int, frame: FrameType | None) -> None:
    """Stays here for ever, if the loop is waiting for jobs: not at the end of one."""
    if frame is not None and frame.f_code is Poller.wait.__code__:
        threading.Event().wait()


class Shop(BaseWorker):
    name = "shop"

    def setUp(self) -> None:
        if not os.fork():  # by which the sign of life of this process rests
            os._exit(0)
        os.wait()
        signal.signal(signal.SIGUSR2, stand_still)

    def task_pid(self) -> int:
        return os.getpid()

    def task_wait_for(self, path: str) -> str:
        Path(f"{path}.started").touch()
        while not Path(path).exists():
            threading.Event().wait(0.01)
        return "done"

    @task(timeout=1)
    def task_keep_the_interpreter(self) -> None:
        re.match(r"(a+)+$", "a" * 60 + "b")  # for years, without giving the lock away once


if __name__ == "__main__":
    logging.basicConfig()
    host, file, processes = sys.argv[1:]
    runner = WorkRunner([Shop], [host], stall_timeout=1, max_deaths=1, health_file=file)
    sys.exit(not runner.start(int(processes)))
