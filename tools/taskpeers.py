"""Other backends of Django's tasks, with a worker each: for the contract, and for benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from gearmanny.testing import Gearmand
from tools.processes import ROOT, end, redis

QUEUES = ["default", "other"]

Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A backend."""

    package: str
    """The name of its package."""
    apps: list[str]
    """What it needs in INSTALLED_APPS."""
    backend: str
    """The path of its class."""
    worker: list[str]
    """The management command of its worker, as its documentation has it."""
    quick: list[str] = field(default_factory=list)
    """Options of that command, so that it looks for tasks often."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its OPTIONS in TASKS."""
    servers: Callable[[], AbstractContextManager[Settings]] = lambda: contextlib.nullcontext({})
    """Runs the servers that it needs; yields the settings that name them."""

    @contextlib.contextmanager
    def settings(self, apps: list[str]) -> Iterator[Settings]:
        """Runs its servers; yields its settings.

        Args:
            apps: more of INSTALLED_APPS.
        """
        backend = {"BACKEND": self.backend, "QUEUES": QUEUES, "OPTIONS": self.options}
        with self.servers() as more:
            yield {
                "INSTALLED_APPS": [*apps, *self.apps],
                "TASKS": {"default": backend},
                **more,
            }


@contextlib.contextmanager
def _with_redis() -> Iterator[Settings]:
    with redis() as port:
        queue = {"HOST": "127.0.0.1", "PORT": int(port), "DB": 0}
        yield {"RQ_QUEUES": dict.fromkeys(QUEUES, queue)}


@contextlib.contextmanager
def _with_gearmand() -> Iterator[Settings]:
    with Gearmand() as server:
        yield {"GEARMANNY": {"HOSTS": [server.host], "RECORDS": {"STORE": "database"}}}


OURS = Peer(
    package="gearmanny",
    apps=["gearmanny.contrib.django"],
    backend="gearmanny.contrib.django.tasks.GearmanBackend",
    worker=["runworkers", "tasks", "-v0"],
    servers=_with_gearmand,
)
DB = Peer(
    package="django_tasks_db",
    apps=["django_tasks_db"],
    backend="django_tasks_db.DatabaseBackend",
    worker=["db_worker", "--queue-name=*"],
    quick=["--interval=0.05", "--no-startup-delay"],
)
RQ = Peer(
    package="django_tasks_rq",
    apps=["django_rq", "django_tasks_rq"],
    backend="django_tasks_rq.RQBackend",
    worker=["rqworker", *QUEUES, "--job-class=django_tasks_rq.Job", "--with-scheduler"],
    servers=_with_redis,
)
OX = Peer(
    package="django_ox",
    apps=["django_ox"],
    backend="django_ox.backend.OxBackend",
    worker=["ox_worker"],
    quick=["--interval=0.05", "--lock-timeout=2"],
    options={"MAX_ATTEMPTS": 1},
)
DJ_QUEUE = Peer(
    package="dj_queue",
    apps=["dj_queue"],
    backend="dj_queue.backend.DjQueueBackend",
    worker=["dj_queue"],
    options={"workers": [{"queues": "*", "threads": 1, "processes": 1}]},
)


def environment(settings: Settings) -> dict[str, str]:
    """Returns the environment of a program with these settings of Django.

    Args:
        settings: in JSON.
    """
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "DJANGO_SETTINGS_MODULE": "tools.peersettings",
        "PEER_SETTINGS": json.dumps(settings, default=str),
    }


class Restarting:
    """A management command, started anew whenever it ends. A context manager."""

    def __init__(self, arguments: list[str], settings: Settings, python: str = "") -> None:
        """
        Args:
            arguments: the command.
            settings: of Django.
            python: the path of the interpreter; empty for that of this process.
        """
        self._command = [python or sys.executable, "-m", "django", *arguments]
        self._environment = environment(settings)
        self._is_over = threading.Event()

    def __enter__(self) -> None:
        self._process = self._start()
        self._thread = threading.Thread(target=self._restart)
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._is_over.set()
        end(self._process)
        self._thread.join()

    def _start(self) -> subprocess.Popen[str]:
        output = subprocess.DEVNULL
        return subprocess.Popen(
            self._command, cwd=ROOT, env=self._environment, stdout=output, stderr=output, text=True
        )

    def _restart(self) -> None:
        while True:
            self._process.wait()
            if self._is_over.is_set():
                return
            self._process = self._start()
