"""Run by the tests of metrics, as a program of its own: metrics_script.py HOST MAX_JOBS"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Counter

from gearmanny.contrib.prometheus import metrics, serve_metrics
from gearmanny.errors import RejectJob
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker, task
from gearmanny.workrunner import WorkRunner

words = Counter("words", "A metric of the project", ["word"])


@contextlib.contextmanager
def choosy(job: GearmanJob) -> Iterator[None]:
    if job.data.get("unwanted"):
        raise RejectJob("unwanted")
    yield


class Counted(BaseWorker):
    name = "counted"

    def task_pid(self, unwanted: bool = False) -> int:
        words.labels("pid").inc()
        return os.getpid()

    def task_fail(self) -> None:
        raise ValueError("as told")

    @task(timeout=0.05)
    def task_long(self) -> None:
        threading.Event().wait()

    def task_wait_for(self, path: str) -> None:
        Path(f"{path}.started").write_text(str(os.getpid()))
        while not Path(path).exists():
            threading.Event().wait(0.01)


if __name__ == "__main__":
    host, max_jobs = sys.argv[1:]
    runner = WorkRunner(
        [Counted],
        [host],
        hooks=[metrics, choosy],
        max_jobs=int(max_jobs),
        recycle_after_timeout=False,
    )
    with serve_metrics([host, "127.0.0.1:1"], port=0) as url:
        sys.stdout.write(f"{url} {os.environ['PROMETHEUS_MULTIPROC_DIR']}\n")
        sys.stdout.flush()
        runner.start(threads=2)
