"""A project whose `runworkers` runs Django's tasks, for tests that enqueue them in this process."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import pickle
import re
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from gearmanny.contrib.django import client
from gearmanny.contrib.django.records import store_in
from gearmanny.testing import Gearmand
from tests.support.servers import PATIENCE, ROOT, end, until, workers_of

_ENDED = re.compile(r"Task id=(\S+) .* state=(?:SUCCESSFUL|FAILED)")


@contextlib.contextmanager
def default_database(entry: dict[str, Any]) -> Iterator[None]:
    """Has an empty database in the place of the default one, with its tables.

    Args:
        entry: as in DATABASES.
    """
    usual, connection = connections.settings["default"], connections["default"]
    made = connections.configure_settings({"default": entry})["default"]
    del connections["default"]
    connections.settings["default"] = made
    try:
        call_command("migrate", verbosity=0)
        yield
    finally:
        store_in.cache_clear()
        connections["default"].close()
        connections.settings["default"] = usual
        connections["default"] = connection


class LiveTasks:
    """Workers of Django's tasks in processes of their own. A context manager.

    Their log of tasks arrives in the loggers of this process, as if they had run here.
    """

    current: LiveTasks
    """The one whose block runs."""

    def __init__(
        self, entry: dict[str, Any], tasks: dict[str, Any], app: str, *path: str, **more: str
    ) -> None:
        """
        Args:
            entry: of the database, in DATABASES.
            tasks: the setting TASKS of the workers.
            app: the name of an app of theirs.
            path: folders from which they import, too.
            more: of their environment.
        """
        self.server = Gearmand()
        self._records = {"STORE": "database"}
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.django_settings",
            "PYTHONPATH": os.pathsep.join([*path, str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "TEST_APP": app,
            "TEST_DATABASES": json.dumps({"default": {**entry, "NAME": str(entry["NAME"])}}),
            "TEST_HOSTS": self.server.host,
            "TEST_RECORDS": json.dumps(self._records),
            "TEST_TASKS": json.dumps(tasks),
            **more,
        }
        self._log = _Log()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.server)
            stack.enter_context(override_settings(GEARMANNY=self.settings(**self._records)))
            stack.callback(client.close)
            stack.enter_context(self._log)
            process = subprocess.Popen(
                [sys.executable, "-m", "django", "runworkers", "tasks", "-v0"],
                cwd=ROOT,
                env={
                    **self._environment,
                    "TEST_SETTINGS": json.dumps({"LOGGING": self._log.settings()}),
                },
                text=True,
            )
            stack.callback(end, process)
            stack.callback(self.release)
            until(lambda: workers_of(self.server, "tasks_default"), "the worker of the queue")
            self._stack = stack.pop_all()
        LiveTasks.current = self
        return self

    def __exit__(self, *exc_info: object) -> None:
        del LiveTasks.current
        self._stack.close()

    def settings(self, **records: Any) -> dict[str, Any]:
        """Returns the setting GEARMANNY.

        Args:
            records: its key RECORDS.
        """
        return {"HOSTS": [self.server.host], "LIVE_IN_TESTS": True, "RECORDS": records}

    def hold(self) -> None:
        """Lets no task begin: the job server pauses."""
        self._signal(signal.SIGSTOP)

    def release(self) -> None:
        """Lets tasks begin, also those that were enqueued since `hold()`."""
        self._signal(signal.SIGCONT)

    def finish(self, result: Any) -> None:
        """Waits for the end of a task, and for the log of it."""
        self.release()
        self._log.wait_for(result.id)
        if result.task.get_backend().supports_get_result:
            result.refresh()

    def _signal(self, number: int) -> None:
        process = self.server._process
        assert process is not None
        process.send_signal(number)


class _Log(socketserver.ThreadingTCPServer):
    """Takes the log of other processes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _LogHandler)
        self._ended: set[str] = set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def settings(self) -> dict[str, Any]:
        """Returns the setting LOGGING of the others."""
        host, port = self.socket.getsockname()
        handler = {"class": "logging.handlers.SocketHandler", "host": host, "port": port}
        names = ("django.tasks", "django_tasks")
        return {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"socket": handler},
            "loggers": {name: {"handlers": ["socket"], "level": "INFO"} for name in names},
        }

    def note(self, record: logging.LogRecord) -> None:
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
        ended = _ENDED.match(record.getMessage())
        if ended:
            with self._changed:
                self._ended.add(ended[1])
                self._changed.notify_all()

    def wait_for(self, id: str) -> None:
        """Waits for the log of the end of a task."""
        with self._changed:
            told = self._changed.wait_for(lambda: id in self._ended, PATIENCE)
        assert told, f"the task {id} did not end within {PATIENCE:g} s"


class _LogHandler(socketserver.StreamRequestHandler):
    server: _Log

    def handle(self) -> None:
        while length := self.rfile.read(4):
            values = pickle.loads(self.rfile.read(int.from_bytes(length, "big")))
            self.server.note(logging.makeLogRecord(values))


def sqlite_in(folder: Path) -> dict[str, Any]:
    """Returns the entry in DATABASES of an SQLite database."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "jobs.db"}
