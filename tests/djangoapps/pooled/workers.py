"""Workers for pools: quick ones, and one whose jobs take as long as its caller likes."""

import os
import threading
from pathlib import Path

from gearmanny.client import SimpleClient
from gearmanny.worker import BaseWorker, task


class Mail(BaseWorker):
    name = "mail"

    def task_send(self):
        return [os.getpid(), os.getppid()]

    def task_fail(self):
        raise ValueError("as told")

    @task(retries=1, backoff=3600)
    def task_fail_now(self):
        raise ValueError("as told")

    def task_die(self):
        os._exit(1)

    def task_order(self, path, host):
        "Makes a job of another worker, which makes one of this, and so on"
        left = int(Path(path).read_text())
        if left:
            Path(path).write_text(str(left - 1))
            with SimpleClient([host], timeout=10) as client:
                client.using(background=True).reports_order(path=path, host=host)


class Shop(BaseWorker):
    name = "shop"

    def task_pid(self):
        return os.getpid()


class Reports(BaseWorker):
    name = "reports"

    def task_order(self, path, host):
        with SimpleClient([host], timeout=10) as client:
            client.using(background=True).mail_order(path=path, host=host)

    def task_nightly(self, path):
        Path(f"{path}.started").touch()
        while not Path(path).exists():
            threading.Event().wait(0.01)
        return os.getpid()
