"""Other backends of Django's tasks, with a worker each, for the contract that ours is held to."""

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

from django.test import override_settings

from benchmarks.programs import redis
from tests.support.livetasks import default_database
from tests.support.servers import ROOT, end

QUEUES = ["default", "other"]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A backend."""

    package: str
    """The name of its package."""
    apps: list[str]
    """The apps that it needs in INSTALLED_APPS."""
    backend: str
    """The path of its class."""
    worker: list[str]
    """The management command of a worker that does one task at a time."""
    options: dict[str, Any] = field(default_factory=dict)
    """Its OPTIONS in TASKS."""
    differences: dict[str, str] = field(default_factory=dict)
    """What it does instead, by the name of the test."""
    breaks: bool = False
    """Whether a task can break a worker for all that follow, so that each test has its own."""
    settings: Callable[[], AbstractContextManager[dict[str, Any]]] = contextlib.nullcontext
    """More settings, while the servers that it needs are running."""

    def all_settings(self, more: dict[str, Any]) -> dict[str, Any]:
        """Returns its settings.

        Args:
            more: those of `settings`.
        """
        from django.conf import settings  # noqa: PLC0415

        backend = {"BACKEND": self.backend, "QUEUES": QUEUES, "OPTIONS": self.options}
        apps = [*settings.INSTALLED_APPS, *self.apps]
        return {"TASKS": {"default": backend}, "INSTALLED_APPS": apps, **more}

    @contextlib.contextmanager
    def running(self, entry: dict[str, Any]) -> Iterator[None]:
        """Runs a worker in a process, and another one when that has ended.

        Args:
            entry: of the database, in DATABASES.
        """
        with contextlib.ExitStack() as stack:
            settings = self.all_settings(stack.enter_context(self.settings()) or {})
            stack.enter_context(override_settings(**settings))
            stack.enter_context(default_database(entry))
            databases = json.dumps({"default": {**entry, "NAME": str(entry["NAME"])}})
            environment = {
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.django_settings",
                "TEST_DATABASES": databases,
                "TEST_SETTINGS": json.dumps(settings),
            }
            stack.enter_context(_Restarting(self.worker, environment))
            yield


class _Restarting:
    """A management command, started anew whenever it ends. A context manager."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "django", *arguments]
        self._environment = environment
        self._is_over = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._restart)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._is_over.set()
        end(self._process)
        self._thread.join()

    def _start(self) -> subprocess.Popen[str]:
        output = sys.stderr if os.environ.get("TEST_OUTPUT") else subprocess.DEVNULL
        return subprocess.Popen(
            self._command, cwd=ROOT, env=self._environment, stdout=output, stderr=output, text=True
        )

    def _restart(self) -> None:
        while not self._is_over.is_set():
            self._process.wait()
            if not self._is_over.is_set():
                self._process = self._start()


@contextlib.contextmanager
def _with_redis() -> Iterator[dict[str, Any]]:
    with redis() as port:
        queue = {"HOST": "127.0.0.1", "PORT": int(port), "DB": 0}
        yield {"RQ_QUEUES": dict.fromkeys(QUEUES, queue)}


PEERS = [
    Peer(
        package="django_tasks_db",
        apps=["django_tasks_db"],
        backend="django_tasks_db.DatabaseBackend",
        worker=["db_worker", "--queue-name=*", "--interval=0.05", "--no-startup-delay"],
    ),
    Peer(
        package="django_tasks_rq",
        apps=["django_rq", "django_tasks_rq"],
        backend="django_tasks_rq.RQBackend",
        worker=["rqworker", *QUEUES, "--job-class=django_tasks_rq.Job", "--with-scheduler"],
        settings=_with_redis,
    ),
    Peer(
        package="django_ox",
        apps=["django_ox"],
        backend="django_ox.backend.OxBackend",
        worker=["ox_worker", "--interval=0.05", "--lock-timeout=2"],
        options={"MAX_ATTEMPTS": 1},
    ),
    Peer(
        package="dj_queue",
        apps=["dj_queue"],
        backend="dj_queue.backend.DjQueueBackend",
        worker=["dj_queue"],
        breaks=True,
        options={"workers": [{"queues": "*", "threads": 1, "processes": 1}]},
    ),
]
