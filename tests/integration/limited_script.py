"""A runner of a task with limits: limited_script.py HOST URL."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gearmanny.records.sql import SQLStore
from gearmanny.worker import BaseWorker, task
from gearmanny.workrunner import WorkRunner
from tests.support.recorded import wait_for


class Limited(BaseWorker):
    name = "limited"

    @task(max_running=2)
    def task_wait(self, path: str) -> int:
        with Path(f"{path}.runs").open("a") as file:
            file.write(f"{os.getpid()}\n")
        wait_for(path)
        return os.getpid()

    @task(max_running=1, limit_key="customer")
    def task_of(self, path: str, customer: int = 1) -> None:
        Path(f"{path}.runs").write_text(f"{customer}\n")
        wait_for(path)

    @task(rate="20/s")
    async def task_often(self) -> None: ...

    def task_free(self) -> str:
        return "free"


if __name__ == "__main__":
    WorkRunner([Limited], [sys.argv[1]], records=SQLStore(sys.argv[2]), grace=5).start(threads=3)
