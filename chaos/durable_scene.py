"""Everything that runs while `chaos.durable` kills: started, killed, and started again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psycopg

from gearmanny.records.sql import SQLStore, StoreUnavailable
from gearmanny.testing import Gearmand
from tools.postgres import Postgres
from tools.processes import PATIENCE, ROOT

CALLERS = 2


class Database:
    """A database that can be killed."""

    def __init__(self, folder: str, postgres: Postgres | None) -> None:
        self._postgres = postgres
        self._path = f"{folder}/jobs.db"
        if postgres is None:
            self.entry: dict[str, Any] = {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": self._path,
                "OPTIONS": {"timeout": 20},
            }
            self.url = f"sqlite:///{self._path}"
        else:
            self.entry = postgres.settings()
            where = "{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**self.entry)
            self.url = f"postgresql://{where}"

    def kill(self, chance: random.Random) -> None:
        """Kills it, and starts it again."""
        if self._postgres is not None:
            self._postgres.restart()
            return
        with _start("lock", self._path, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"locked\n"
            time.sleep(chance.random())
            holder.kill()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Returns the answer to a query."""
        if self._postgres is None:
            with contextlib.closing(sqlite3.connect(self._path)) as file:
                return file.execute(query).fetchall()
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()


def _start(role: str, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "chaos.durable_roles", role, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, **options)


class Scene:
    """Everything that runs, and is killed."""

    def __init__(
        self, database: Database, folder: str, jobs: int, pause: float, runners: int, log: IO[str]
    ) -> None:
        self.database = database
        self.server = Gearmand()
        self._folder, self._jobs, self._pause, self._log = folder, jobs, pause, log
        self.notes = Path(folder, "notes")
        self.notes.touch()
        self._store = SQLStore(database.url)
        self._runners: list[subprocess.Popen[bytes]] = []
        self._callers: dict[int, subprocess.Popen[bytes]] = {}
        self._count = runners

    @contextlib.contextmanager
    def playing(self) -> Iterator[None]:
        """Starts everything, and ends it with the block."""
        with self.server:
            assert self._run("migrate").wait(PATIENCE) == 0
            try:
                self._runners = [self._run("work") for _ in range(self._count)]
                for number in range(CALLERS):
                    self._callers[number] = self._call(number, number)
                yield
            finally:
                self._store.close()
                for process in self._runners:
                    process.terminate()
                for process in (*self._runners, *self._callers.values()):
                    try:
                        process.wait(PATIENCE)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()

    def _run(self, role: str, *arguments: object) -> subprocess.Popen[bytes]:
        environment = {
            "CHAOS_DATABASE": json.dumps(self.database.entry),
            "CHAOS_HOST": self.server.host,
            "CHAOS_NOTES": str(self.notes),
        }
        return _start(role, *arguments, env={**os.environ, **environment}, stderr=self._log)

    def _call(self, number: int, first: int) -> subprocess.Popen[bytes]:
        progress = Path(self._folder, f"caller{number}")
        return self._run("call", first, self._jobs, CALLERS, self._pause, progress)

    @property
    def is_calling(self) -> bool:
        """Whether callers are not done yet."""
        return any(process.poll() is None for process in self._callers.values())

    def kill(self, kind: str, chance: random.Random) -> bool:
        """Kills something, and starts it again; returns whether there was such a thing."""
        match kind:
            case "gearmand":
                self.server.kill()
                self.server.start()
            case "database":
                self.database.kill(chance)
            case "caller":
                return self._kill_caller(chance.randrange(CALLERS))
            case "runner":
                return self._kill_runner(chance.randrange(len(self._runners)))
            case _:
                return self._kill_child(kind, chance)
        return True

    def _kill_runner(self, place: int) -> bool:
        process = self._runners[place]
        if not self._workers().intersection(_children(process.pid)):
            return False  # one that never gets to work would only keep everybody waiting
        process.kill()
        process.wait()
        self._runners[place] = self._run("work")
        return True

    def _workers(self) -> set[int]:
        """Returns the pids that are registered, perhaps of processes that are dead by now."""
        try:
            return {process.pid for process in self._store.processes()}
        except StoreUnavailable:
            return set()

    def _kill_caller(self, number: int) -> bool:
        process = self._callers[number]
        if process.poll() is not None:
            return False
        process.kill()
        process.wait()
        progress = Path(self._folder, f"caller{number}")
        text = progress.read_text() if progress.exists() else ""
        self._callers[number] = self._call(number, int(text) + CALLERS if text else number)
        return True

    def _kill_child(self, kind: str, chance: random.Random) -> bool:
        workers = self._workers()
        children = [
            pid
            for runner in self._runners
            for pid in _children(runner.pid)
            if (pid in workers) is (kind == "worker")
        ]
        if not workers or not children:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(children), signal.SIGKILL)
        return True

    def open(self) -> int:
        """Returns how many records are open."""
        return sum(
            count.waiting + count.scheduled + count.running for count in self._store.counts()
        )


def _children(pid: int) -> list[int]:
    try:
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    except OSError:
        return []
