"""Workers for pools: quick ones, and one whose jobs take as long as its caller likes."""

import os
import threading
from pathlib import Path

from gearmanny.worker import BaseWorker


class Mail(BaseWorker):
    name = "mail"

    def task_send(self):
        return [os.getpid(), os.getppid()]

    def task_fail(self):
        raise ValueError("as told")


class Shop(BaseWorker):
    name = "shop"

    def task_pid(self):
        return os.getpid()


class Reports(BaseWorker):
    name = "reports"

    def task_nightly(self, path):
        Path(f"{path}.started").touch()
        while not Path(path).exists():
            threading.Event().wait(0.01)
        return os.getpid()
