"""The queues that run `project/`, a Django project: how their workers are started."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.programs import HERE, job_server
from tools.processes import redis

PROJECT = HERE / "project"


@contextlib.contextmanager
def no_server() -> Iterator[str]:
    yield "0"


class Queue(NamedTuple):
    """How a queue runs workers. `{}` is the number of processes."""

    name: str
    """A key of `project/settings.py`."""
    title: str
    command: tuple[str, ...]
    server: Callable[[], contextlib.AbstractContextManager[str]] = redis
    alone: bool = False
    """Whether it is one process for each command."""

    def python(self, peers: str) -> str:
        """Returns the Python that has it."""
        return sys.executable if self.name == "gearmanny" else peers

    def commands(self, peers: str, processes: int) -> list[list[str]]:
        """Returns the commands that run so many worker processes."""
        command = [self.python(peers), *(part.format(processes) for part in self.command)]
        return [command] * (processes if self.alone else 1)

    def environment(self, port: str, folder: str, processes: int = 1) -> dict[str, str]:
        """Returns what `project/settings.py` reads."""
        return {
            **os.environ,
            "QUEUE": self.name,
            "QUEUE_PORT": port,
            "QUEUE_PROCESSES": str(processes),
            "QUEUE_FOLDER": folder,
        }


GEARMANNY = Queue("gearmanny", "gearmanny", ("manage.py", "runworkers"), job_server)
GEARMANNY_16 = GEARMANNY._replace(
    title="gearmanny, prefetch 16", command=(*GEARMANNY.command, "--prefetch=16")
)
CELERY = Queue(
    "celery",
    "Celery, prefork",
    ("-m", "celery", "-A", "celery_app", "worker", "--pool=prefork", "--concurrency={}"),
)
DJANGO_TASKS_DB = Queue(
    "django_tasks_db", "django-tasks-db", ("manage.py", "db_worker"), no_server, alone=True
)
PROCRASTINATE = Queue(
    "procrastinate",
    "Procrastinate",
    ("manage.py", "procrastinate", "worker"),
    no_server,
    alone=True,
)
DJANGO_Q = Queue("django_q", "django-q2", ("manage.py", "qcluster"), no_server)
DRAMATIQ = Queue(
    "dramatiq", "Dramatiq", ("manage.py", "rundramatiq", "--processes={}", "--threads=1")
)
HUEY = Queue("huey", "Huey", ("manage.py", "run_huey", "--workers={}", "--worker-type=process"))
RQ = Queue(
    "rq", "RQ, with the process of its job", ("manage.py", "rqworker-pool", "--num-workers={}")
)
RQ_SIMPLE = Queue(
    "rq",
    "RQ, SimpleWorker",
    ("manage.py", "rqworker", "default", "--worker-class=rq.SimpleWorker"),
    alone=True,
)
