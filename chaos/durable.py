"""Kills everything that recorded jobs pass through, and counts what became of them.

    python -m chaos.durable [--database postgresql|sqlite] [--jobs N] [--kills N] [--runners N]
                            [--seed N] [--log FILE]

Callers open so many transactions with a job in each, and roll half of them back. Meanwhile callers,
workers, dispatchers, whole runners, the job server, which holds its queue in memory, and the
database are killed with SIGKILL, one at a time. What is killed is started again. A file of SQLite
cannot be killed: a process that has locked it is.

Half of the tasks are atomic, and write into the database; the others write into a file. A job is
lost if its transaction was committed and it has not run; a ghost if it has run and was not; stuck
if its record is open long after the last kill. Without arguments, both databases, each with one
runner and with two: about 10 minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psycopg

from chaos.durable_roles import is_atomic
from gearmanny.records.sql import SQLStore, StoreUnavailable
from gearmanny.testing import Gearmand
from tools.postgres import Postgres
from tools.processes import PATIENCE, ROOT, until

CALLERS = 2
INTERVAL = 0.4
"""Seconds between two kills, on average."""
SETTLES = 60.0
"""Seconds after the last kill in which all jobs should have ended."""

KINDS = ("caller", "worker", "dispatcher", "runner", "gearmand", "database")


@dataclass(frozen=True)
class Durable:
    """The counts of a run."""

    committed: int
    lost: int
    ghosts: int
    failed: int
    """Jobs whose record says so: no task fails, so something went wrong."""
    stuck: int
    atomic_twice: int
    others_twice: int
    """Tasks that are not atomic, and were killed before their end was written."""
    longest_wait: float
    """Seconds from the transaction to the first run that left a trace."""
    kills: dict[str, int]
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether all promises were kept."""
        return not (self.lost or self.ghosts or self.failed or self.stuck or self.atomic_twice)


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


def run(
    database: str,
    *,
    jobs: int,
    kills: int,
    runners: int = 1,
    seed: int = 4730,
    log: IO[str] | None = None,
) -> Durable:
    """Returns what became of the jobs.

    Args:
        database: `"postgresql"` or `"sqlite"`.
        jobs: transactions, of which half are rolled back.
        kills: how often something is killed.
        runners: that share the database.
        seed: of the choices.
        log: where the programs write.
    """
    started = time.monotonic()
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        postgres = stack.enter_context(Postgres()) if database == "postgresql" else None
        pause = CALLERS * kills * INTERVAL / jobs
        log = log or stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        scene = Scene(Database(folder, postgres), folder, jobs, pause, runners, log)
        with scene.playing():
            until(lambda: len(scene.database.rows("SELECT 1 FROM wanted LIMIT 1")), "a job")
            deck: list[str] = []
            while killed.total() < kills:
                time.sleep(chance.uniform(0, 2 * INTERVAL))
                deck = deck or chance.sample(KINDS, len(KINDS))
                kind = deck.pop()
                killed[kind] += scene.kill(kind, chance)
            until_over = time.monotonic() + SETTLES
            while time.monotonic() < until_over and (scene.is_calling or scene.open()):
                if scene.is_calling:
                    until_over = time.monotonic() + SETTLES
                time.sleep(0.1)
            return _count(scene, scene.open(), dict(killed), time.monotonic() - started)


def _count(scene: Scene, stuck: int, kills: dict[str, int], seconds: float) -> Durable:
    wanted = dict(scene.database.rows("SELECT number, at FROM wanted"))
    effects = scene.database.rows("SELECT number, at FROM effects")
    notes = [
        (int(number), float(at))
        for number, at in (line.split() for line in scene.notes.read_text().splitlines())
    ]
    runs = Counter(number for number, _ in (*effects, *notes))
    first: dict[int, float] = {}
    for number, at in (*effects, *notes):
        first[number] = min(at, first.get(number, at))
    twice = [number for number, count in runs.items() if count > 1]
    failed = scene.database.rows("SELECT errors FROM gearmanny_jobs WHERE state = 'failed'")
    for (errors,) in failed:
        print(f"failed: {errors}", file=sys.stderr)
    return Durable(
        committed=len(wanted),
        lost=len(wanted.keys() - runs.keys()),
        ghosts=len(runs.keys() - wanted.keys()),
        failed=len(failed),
        stuck=stuck,
        atomic_twice=sum(map(is_atomic, twice)),
        others_twice=sum(not is_atomic(number) for number in twice),
        longest_wait=max(
            (at - wanted[number] for number, at in first.items() if number in wanted), default=0.0
        ),
        kills=kills,
        seconds=seconds,
    )


def main(*arguments: str) -> bool:
    """Prints the figures; returns whether all promises were kept."""
    parser = argparse.ArgumentParser(prog="chaos.durable")
    parser.add_argument("--database", choices=["postgresql", "sqlite"])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=250)
    parser.add_argument("--runners", type=int)
    parser.add_argument("--seed", type=int, default=4730)
    parser.add_argument("--log", type=argparse.FileType("w"))
    options = parser.parse_args(arguments)
    is_sound = True
    for database in [options.database] if options.database else ["postgresql", "sqlite"]:
        for runners in [options.runners] if options.runners else [1, 2]:
            report = run(
                database,
                jobs=options.jobs,
                kills=options.kills,
                runners=runners,
                seed=options.seed,
                log=options.log,
            )
            figures = ", ".join(
                f"{round(value, 1)} {name.replace('_', ' ')}"
                for name, value in asdict(report).items()
                if name != "kills"
            )
            kills = ", ".join(f"{count} {kind}" for kind, count in sorted(report.kills.items()))
            print(f"durable, {database}, {runners} runners: {figures}; killed: {kills}", flush=True)
            is_sound = is_sound and report.is_sound
    return is_sound


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
