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
import itertools
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import IO

from chaos.durable_roles import is_atomic
from chaos.durable_scene import CALLERS, Database, Scene
from tools.postgres import Postgres
from tools.processes import until

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
    longest_gap: float
    """Seconds in which nothing ran at all: there was no worker, no job server, or no database."""
    kills: dict[str, int]
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether all promises were kept."""
        return not (self.lost or self.ghosts or self.failed or self.stuck or self.atomic_twice)


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
    moments = sorted(at for _, at in (*effects, *notes))
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
        longest_gap=max((b - a for a, b in itertools.pairwise(moments)), default=0.0),
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
