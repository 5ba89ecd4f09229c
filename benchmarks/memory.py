"""The memory of one more worker process in a Django project, beside the field's peers.

    python -m benchmarks.memory PEERS_PYTHON

Each queue runs `project/`, with the admin and 15 models, with 2 and with 6 worker processes, and is
measured while each is in a task that has done a full collection.
Memory is the proportional set size of all processes of the queue, without its server: what a
further process costs is the difference, divided. Its own memory is what no other process shares.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.programs import Tell, failure, running, tree
from benchmarks.queues import (
    CELERY,
    DJANGO_TASKS_DB,
    DRAMATIQ,
    GEARMANNY,
    HUEY,
    PROJECT,
    RQ,
    Queue,
    no_server,
)
from tools.processes import end, until

FEW, MANY = 2, 6
"""Worker processes."""

JOBS_FOR_EACH = 4
"""Jobs for each process, so that none is left without one."""

MIB = 1024 * 1024


QUEUES = [GEARMANNY, CELERY, DJANGO_TASKS_DB, DRAMATIQ, HUEY, RQ]

Setting = Callable[[Queue], contextlib.AbstractContextManager[dict[str, str]]]
"""Makes a place for a run of a queue; yields what else its environment has."""


class Memory(NamedTuple):
    """What the processes of a queue take, in bytes, and the seconds until its first job ran."""

    proportional: float
    own: float
    """Of one worker process."""
    first_job: float


NOTHING = (Memory(math.nan, math.nan, 0), Memory(math.nan, math.nan, 0))
"""Of a queue that failed."""


@contextlib.contextmanager
def no_database(queue: Queue) -> Iterator[dict[str, str]]:
    yield {}


def memory(
    peers: str,
    tell: Tell,
    repetitions: int = 1,
    queues: Sequence[Queue] = QUEUES,
    setting: Setting = no_database,
) -> None:
    """Tells a table of the queues that are installed. The first of them is gearmanny."""
    peers = os.path.abspath(peers)
    queues = [queue for queue in queues if Path(queue.python(peers)).is_file()]
    runs: dict[Queue, list[tuple[Memory, Memory]]] = {queue: [] for queue in queues}
    failures: dict[Queue, str] = {}
    for _ in range(repetitions):
        for queue in queues:
            if queue not in failures:
                try:
                    few, many = (measure(queue, peers, count, setting) for count in (FEW, MANY))
                except Exception as error:
                    failures[queue] = failure(error)
                else:
                    runs[queue].append((few, many))
    tell(
        f"Workers in a Django project with the admin and 15 models, after a full collection: "
        f"{f'medians of {repetitions} runs' if repetitions > 1 else 'one run'}, in MiB."
    )
    tell("")
    tell("| | each further process | × gearmanny | its own | × gearmanny | s to the first job |")
    tell("|---" * 6 + "|")
    base = figures(runs[queues[0]] or [NOTHING])
    for queue in queues:
        if queue in failures:
            tell(f"| {queue.title} | {failures[queue]} | | | | |")
            continue
        further, own, first = figures(runs[queue])
        tell(
            f"| {queue.title} | {further / MIB:.1f} | {further / base[0]:.1f} "
            f"| {own / MIB:.1f} | {own / base[1]:.1f} | {first:.1f} |"
        )
    tell("")


def figures(runs: list[tuple[Memory, Memory]]) -> tuple[float, float, float]:
    """Returns the memory of a further process, the own memory of one, and the time."""
    return (
        statistics.median((b.proportional - a.proportional) / (MANY - FEW) for a, b in runs),
        statistics.median(b.own for _, b in runs),
        statistics.median(a.first_job for a, _ in runs),
    )


def measure(queue: Queue, peers: str, processes: int, setting: Setting) -> Memory:
    python = queue.python(peers)
    with (
        queue.server() as port,
        tempfile.TemporaryDirectory() as folder,
        setting(queue) as further,
    ):
        env = queue.environment(port, folder, processes) | further
        if queue.server is no_server and not further:
            migrate = [python, "manage.py", "migrate", "--run-syncdb", "--verbosity=0"]
            subprocess.run(migrate, cwd=PROJECT, env=env, check=True)
        submitter = subprocess.Popen(
            [python, "caller.py", "seen"],
            cwd=PROJECT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # django-q2 has a line there for each job
            text=True,
        )
        try:
            submit(submitter, 1)
            started = time.perf_counter()
            with running(queue.commands(peers, processes), cwd=PROJECT, env=env) as roots:
                until(lambda: workers(folder), f"the first job of {queue.title}")
                first_job = time.perf_counter() - started
                submit(submitter, JOBS_FOR_EACH * processes)
                until(lambda: len(workers(folder)) == processes, f"a job in each of {queue.title}")
                pids = workers(folder)
                everything = {pid for root in roots for pid in tree(root.pid)}
                taken = Memory(
                    sum(sizes(pid)[0] for pid in everything),
                    statistics.median(sizes(pid)[1] for pid in pids),
                    first_job,
                )
                Path(folder, "measured").touch()
                return taken
        finally:
            end(submitter)


def submit(submitter: subprocess.Popen[str], jobs: int) -> None:
    assert submitter.stdin
    assert submitter.stdout
    submitter.stdin.write(f"{jobs}\n")
    submitter.stdin.flush()
    assert submitter.stdout.readline() == "submitted\n"


def workers(seen: str) -> set[int]:
    """Returns the processes that do a job."""
    return {int(path.name) for path in Path(seen).glob("[0-9]*")}


def sizes(pid: int) -> tuple[int, int]:
    """Returns the proportional set size of a process, and what it shares with none, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # a process for one job, which has ended
        return 0, 0
    fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
    return fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"]


if __name__ == "__main__":
    memory(sys.argv[1] if sys.argv[1:] else "", print, *map(int, sys.argv[2:]))
