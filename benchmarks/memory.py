"""The memory of one more worker process in a Django project, beside the field's peers.

    python -m benchmarks.memory PEERS_PYTHON

A project with the admin and 15 models is made in a temporary folder. Each queue runs it with 2 and
with 6 worker processes, and is measured while each is in a task that has done a full collection.
Memory is the proportional set size of all processes of the queue, without its server: what a
further process costs is the difference, divided. Its own memory is what no other process shares.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.djangosite import write
from benchmarks.programs import Tell, job_server, running, tree
from tools.processes import end, redis, until

FEW, MANY = 2, 6
"""Worker processes."""

JOBS_FOR_EACH = 4
"""Jobs for each process, so that none is left without one."""

MIB = 1024 * 1024


@contextlib.contextmanager
def no_server() -> Iterator[str]:
    yield "0"


class Queue(NamedTuple):
    """How a queue runs workers. `{}` is the number of processes."""

    title: str
    command: list[str]
    server: Callable[[], contextlib.AbstractContextManager[str]] = redis
    alone: bool = False
    """Whether it is one process for each command."""


QUEUES = {
    "gearmanny": Queue("gearmanny", ["manage.py", "runworkers"], job_server),
    "celery": Queue(
        "Celery, prefork",
        ["-m", "celery", "-A", "celery_app", "worker", "--pool=prefork", "--concurrency={}"],
    ),
    "django_tasks_db": Queue(
        "django-tasks-db", ["manage.py", "db_worker", "--interval=0.1"], no_server, alone=True
    ),
    "dramatiq": Queue("Dramatiq", ["manage.py", "rundramatiq", "--processes={}", "--threads=1"]),
    "huey": Queue("Huey", ["manage.py", "run_huey", "--workers={}", "--worker-type=process"]),
    "rq": Queue(
        "RQ, with the process of its job", ["manage.py", "rqworker-pool", "--num-workers={}"]
    ),
}


class Memory(NamedTuple):
    """What the processes of a queue take, in bytes, and the seconds until its first job ran."""

    proportional: int
    own: float
    """Of one worker process."""
    first_job: float


def memory(peers: str, tell: Tell, repetitions: int = 1) -> None:
    """Tells a table of all queues."""
    peers = os.path.abspath(peers)
    names = [
        "gearmanny",
        *(name for name in QUEUES if Path(peers).exists() and name != "gearmanny"),
    ]
    runs: dict[str, list[tuple[Memory, Memory]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for _ in range(repetitions):
            for name in names:
                few, many = (measure(name, peers, Path(folder), count) for count in (FEW, MANY))
                runs[name].append((few, many))
    tell(
        f"Workers in a Django project with the admin and 15 models, after a full collection: "
        f"{f'medians of {repetitions} runs' if repetitions > 1 else 'one run'}, in MiB."
    )
    tell("")
    tell("| | each further process | × gearmanny | its own | × gearmanny | s to the first job |")
    tell("|---" * 6 + "|")
    base = figures(runs["gearmanny"])
    for name in names:
        further, own, first = figures(runs[name])
        tell(
            f"| {QUEUES[name].title} | {further / MIB:.1f} | {further / base[0]:.1f} "
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


def measure(name: str, peers: str, project: Path, processes: int) -> Memory:
    queue = QUEUES[name]
    python = sys.executable if name == "gearmanny" else peers
    command = [python, *(part.format(processes) for part in queue.command)]
    with queue.server() as port, tempfile.TemporaryDirectory() as seen:
        env = {
            **os.environ,
            "QUEUE": name,
            "QUEUE_PORT": port,
            "QUEUE_PROCESSES": str(processes),
            "QUEUE_SEEN": seen,
        }

        if queue.server is no_server:
            (project / "db.sqlite3").unlink(missing_ok=True)
            migrate = [python, "manage.py", "migrate", "--run-syncdb", "--verbosity=0"]
            subprocess.run(migrate, cwd=project, env=env, check=True)
        submitter = subprocess.Popen(
            [python, "submit.py"],
            cwd=project,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        submit(submitter, 1)
        started = time.perf_counter()
        commands = [command] * (processes if queue.alone else 1)
        with running(commands, cwd=project, env=env) as roots:
            until(lambda: any(Path(seen).iterdir()), f"the first job of {name}")
            first_job = time.perf_counter() - started
            submit(submitter, JOBS_FOR_EACH * processes)
            end(submitter)
            until(lambda: len(workers(seen)) == processes, f"a job in each of {name}")
            pids = workers(seen)
            everything = {pid for root in roots for pid in tree(root.pid)}
            taken = Memory(
                sum(sizes(pid)[0] for pid in everything),
                statistics.median(sizes(pid)[1] for pid in pids),
                first_job,
            )
            Path(seen, "measured").touch()
            return taken


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
