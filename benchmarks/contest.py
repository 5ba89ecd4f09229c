"""The durable queues, and what is measured of one of them in one run, for `durable.py`.

Each run has a server and a database of its own, a caller and one worker process, with `project/`.
When a task begins, it adds the time to a file: that costs a microsecond or two, and wakes nobody.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from benchmarks.programs import last_line, run, running
from benchmarks.queues import (
    CELERY,
    DJANGO_Q,
    DJANGO_TASKS_DB,
    GEARMANNY,
    GEARMANNY_16,
    PROCRASTINATE,
    PROJECT,
    RQ_SIMPLE,
    Queue,
)
from tools.postgres import Postgres
from tools.processes import until

PATIENCE = 60.0
"""Seconds for a worker to begin its first job, and for a caller to be done."""

LONGEST_DRAIN = 4.0
"""Seconds after which a drain is measured by what is done until then."""

COLD = 0.1
"""The share of the jobs of a drain that is not part of it: imports, first connections."""


class Contestant(NamedTuple):
    """A queue, and how it is run."""

    queue: Queue
    how: str
    """What the results say of it: which of its ways it takes."""
    finished: str = ""
    """A query for the number of jobs with a result; empty where PostgreSQL does not have them."""
    pause: float = 0.05
    """Seconds, at most, from a result to the next job where latencies are measured. At least as
    long as the pauses of a worker that polls, or all jobs would come at the same moment of them."""
    is_variant: bool = False
    """Whether it is a contestant for throughput alone: the rest is that of another one."""


CONTESTANTS = [
    Contestant(
        GEARMANNY,
        '`GEARMANNY["RECORDS"]`, `runworkers`',
        "SELECT count(*) FROM gearmanny_jobs WHERE state = 'succeeded'",
    ),
    Contestant(
        GEARMANNY_16,
        "the same with `runworkers --prefetch=16`: jobs of a full queue are assigned ahead",
        "SELECT count(*) FROM gearmanny_jobs WHERE state = 'succeeded'",
        is_variant=True,
    ),
    Contestant(
        DJANGO_TASKS_DB,
        "`db_worker`, which looks every second, its default",
        "SELECT count(*) FROM django_tasks_database_dbtaskresult WHERE status = 'SUCCESSFUL'",
        pause=1.0,
    ),
    Contestant(
        PROCRASTINATE,
        "`procrastinate worker`, woken by NOTIFY; keeps no results",
        "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
    ),
    Contestant(
        DJANGO_Q,
        "`qcluster` with the settings that its documentation has for the ORM (`bulk` 10, "
        "`queue_limit` 50) and one worker, beside which three processes fetch, save and guard; "
        "`save_limit` 0, which keeps all results",
        "SELECT count(*) FROM django_q_task WHERE success",
        pause=0.2,
    ),
    Contestant(
        CELERY,
        "prefork with one process, broker Redis, results by django-celery-results in PostgreSQL",
        "SELECT count(*) FROM django_celery_results_taskresult WHERE status = 'SUCCESS'",
    ),
    Contestant(
        RQ_SIMPLE,
        "django-rq with `SimpleWorker`, which forks for no job; jobs and results in Redis",
    ),
]


_STATEMENTS = """
    SELECT coalesce(sum(calls), 0) FROM pg_stat_statements JOIN pg_database
    ON dbid = pg_database.oid WHERE datname = '{}'
"""

_BYTES = """
    SELECT sum(pg_total_relation_size(oid)) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


class Costs(NamedTuple):
    """What a job costs PostgreSQL."""

    statements: tuple[float, float]
    """Of its caller, and of its worker."""
    wal: tuple[float, float]
    """Bytes, of the same."""
    kept: float
    """Bytes that the database has grown by."""


class Field:
    """A PostgreSQL server with a migrated database for each contestant."""

    def __init__(self, postgres: Postgres, peers: str) -> None:
        self.peers = peers
        self._postgres = postgres
        self._name = "run"
        self._migrated: set[str] = set()
        self._execute("CREATE EXTENSION pg_stat_statements")

    def migrate(self, queue: Queue) -> None:
        """Makes the database that those of the runs are copies of."""
        if queue.name in self._migrated:
            return
        self._migrated.add(queue.name)
        self._execute("CREATE DATABASE {}", queue.name)
        database = {"QUEUE_DATABASE": json.dumps(self._postgres.settings(queue.name))}
        with tempfile.TemporaryDirectory() as folder:
            migrate = [queue.python(self.peers), "manage.py", "migrate", "--run-syncdb"]
            env = queue.environment("1", folder) | database
            run(*migrate, "--verbosity=0", cwd=PROJECT, env=env)

    @contextlib.contextmanager
    def database(self, queue: Queue, conn_max_age: int | None = None) -> Iterator[dict[str, str]]:
        """Makes a database for a run; yields what the environment of the project says of it."""
        self._execute("CREATE DATABASE {} TEMPLATE {}", self._name, queue.name)
        try:
            entry = self._postgres.settings(self._name, CONN_MAX_AGE=conn_max_age)
            yield {"QUEUE_DATABASE": json.dumps(entry)}
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", self._name)

    def _execute(self, query: str, *names: str) -> None:
        self._postgres.execute(sql.SQL(query).format(*map(sql.Identifier, names)))

    def number(self, query: str, name: str = "postgres") -> Any:
        """Returns the one number that a query is answered with."""
        dsn = psycopg.conninfo.make_conninfo(self._postgres.dsn, dbname=name)
        with psycopg.connect(dsn, autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    @contextlib.contextmanager
    def _place(
        self, contestant: Contestant, conn_max_age: int | None = None
    ) -> Iterator[tuple[Path, dict[str, str]]]:
        """Yields a folder and an environment, with everything that a run needs but its programs."""
        queue = contestant.queue
        with (
            queue.server() as port,
            tempfile.TemporaryDirectory() as folder,
            self.database(queue, conn_max_age) as further,
        ):
            yield Path(folder), queue.environment(port, folder) | further

    def _call(self, contestant: Contestant, env: dict[str, str], *mode: str) -> list[float]:
        command = [contestant.queue.python(self.peers), "caller.py", *mode]
        return run(*command, timeout=PATIENCE, cwd=PROJECT, env=env)

    @contextlib.contextmanager
    def _working(
        self, contestant: Contestant, folder: Path, env: dict[str, str]
    ) -> Iterator[list[subprocess.Popen[str]]]:
        """Runs a worker process; what it prints is part of the error if it does not work."""
        log = folder / "log"
        commands = contestant.queue.commands(self.peers, 1)
        try:
            with running(commands, cwd=PROJECT, env=env, log=log) as processes:
                yield processes
        except AssertionError as error:
            raise AssertionError(f"{error} {last_line(log.read_text())}".strip()) from error

    def drain(
        self, contestant: Contestant, kind: str, task: str, jobs: int, conn_max_age: int | None
    ) -> tuple[float, float]:
        """Returns how many jobs a second are enqueued, and how many of a full queue are done."""
        filled = jobs if kind == "one" else 4 * jobs
        with self._place(contestant, conn_max_age) as (folder, env):
            (enqueued,) = self._call(contestant, env, "fill", kind, task, str(filled))
            with self._working(contestant, folder, env) as processes:
                times = self._done(folder / "notes", jobs, processes)
                self._check(contestant, len(times))
        cold = int(COLD * len(times))
        return enqueued, (len(times) - cold - 1) / (times[-1] - times[cold])

    def _done(self, notes: Path, jobs: int, processes: list[subprocess.Popen[str]]) -> list[float]:
        """Returns when the jobs began."""
        ends = time.monotonic() + PATIENCE
        size = 0
        while size < 8 * jobs and time.monotonic() < ends:
            for process in processes:
                assert process.poll() is None, f"its worker ended with {process.returncode}."
            time.sleep(0.02)
            before, size = size, notes.stat().st_size
            if size and not before:
                ends = time.monotonic() + LONGEST_DRAIN
        times = sorted(each for (each,) in struct.iter_unpack("d", notes.read_bytes()))[:jobs]
        assert len(times) > 10, f"{len(times)} jobs were begun within {PATIENCE:g} s."
        return times

    def _check(self, contestant: Contestant, jobs: int) -> None:
        """Waits until so many jobs have a result."""
        if query := contestant.finished:
            until(lambda: self.number(query, self._name) >= jobs, f"{jobs} results")

    def latencies(self, contestant: Contestant, seconds: float) -> tuple[list[float], list[float]]:
        """Returns the ms until jobs begin, and until their results are there, one at a time."""
        with (
            self._place(contestant) as (folder, env),
            self._working(contestant, folder, env),
        ):
            numbers = self._call(contestant, env, "wait", str(seconds), str(contestant.pause))
        return numbers[::2], numbers[1::2]

    def costs(self, contestant: Contestant, jobs: int) -> Costs:
        """Returns what a job costs PostgreSQL: one a transaction, and then done."""
        with self._place(contestant) as (folder, env):
            query = "ALTER DATABASE {} SET pg_stat_statements.track = 'top'"
            self._execute(query, self._name)
            marks = [self._mark()]
            self._call(contestant, env, "fill", "one", "add", str(jobs))
            marks.append(self._mark())
            with self._working(contestant, folder, env) as processes:
                done = self._done(folder / "notes", jobs, processes)
                self._check(contestant, len(done))
                marks.append(self._mark())
        (enqueue, work), (bytes_1, bytes_2), kept = (
            [
                (after - before) / count
                for before, after, count in zip(values, values[1:], (jobs, len(done)), strict=False)
            ]
            for values in zip(*marks, strict=True)
        )
        return Costs((enqueue, work), (bytes_1, bytes_2), sum(kept))

    def _mark(self) -> tuple[int, int, int]:
        """Returns how many statements there were, and bytes of WAL and of the tables."""
        return (
            int(self.number(_STATEMENTS.format(self._name))),
            int(self.number("SELECT pg_current_wal_lsn() - '0/0'")),
            int(self.number(_BYTES, self._name)),
        )


def percentile(times: list[float], share: float) -> float:
    """Returns the time below which that share of the times is; NaN where there are none."""
    if not times:
        return math.nan
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def median_ratio(ours: list[float], others: list[float]) -> float:
    """Returns the median of the ratios, run by run."""
    return statistics.median(a / b for a, b in zip(ours, others, strict=True) if b)
