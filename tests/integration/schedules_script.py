"""A runner whose task has a schedule, as a program of its own: schedules_script.py URL HOST"""

from __future__ import annotations

import sys
from datetime import timedelta

from gearmanny.records.sql import SQLStore
from gearmanny.worker import BaseWorker, task
from gearmanny.workrunner import WorkRunner


class Reports(BaseWorker):
    name = "reports"

    @task(every=timedelta(seconds=1), args={"kind": "short"}, overlap="queue")
    def task_report(self, kind: str) -> str:
        return f"a {kind} report"

    @task(cron="0 3 * * mon-fri", timezone="Europe/Berlin")
    async def task_nightly(self) -> None: ...


if __name__ == "__main__":
    url, host = sys.argv[1:]
    WorkRunner([Reports], hosts=[host], records=SQLStore(url)).start(threads=2)
