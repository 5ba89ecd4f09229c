"""Django's tasks, from `enqueue()` in a transaction to the result: our backend beside others.

    python -m benchmarks.tasks [PYTHON]

PYTHON is that of an environment with the other backends, those of benchmarks/taskpeers.txt; one
that is missing there is left out. Prints a table in Markdown. Each backend has a PostgreSQL
database of its own and one worker process, as its documentation starts it. Those that look for
tasks only now and then are measured once more with a worker that looks often.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from tools.postgres import Postgres
from tools.processes import ROOT
from tools.taskpeers import DB, DJ_QUEUE, OURS, OX, RQ, Peer, Restarting, environment

TASKS = 300
"""Tasks of which each is awaited before the next one."""

SLOW_TASKS = 30
"""The same, where a worker looks for tasks once a second."""


def contestants(python: str) -> Iterator[tuple[str, Peer, list[str], int]]:
    """Yields a title, a backend, the command of its worker and the number of tasks."""
    for peer in (OURS, DB, OX, DJ_QUEUE, RQ):
        code = f"import importlib.util as i, sys; sys.exit(not i.find_spec({peer.package!r}))"
        if subprocess.run([python, "-c", code], check=False).returncode:
            print(f"{peer.package} is not installed", file=sys.stderr)
            continue
        yield peer.package, peer, peer.worker, SLOW_TASKS if peer.quick else TASKS
        if peer.quick:
            options = " ".join(option for option in peer.quick if "interval" in option)
            yield f"{peer.package}, {options}", peer, [*peer.worker, *peer.quick], TASKS


def latencies(
    python: str, server: Postgres, peer: Peer, worker: list[str], tasks: int
) -> list[float]:
    """Returns the milliseconds that the tasks took, in order."""
    with server.database("bench") as entry, peer.settings(["benchmarks.tasksapp"]) as its:
        settings = its | {"DATABASES": {"default": entry}}
        run = [python, "-m", "django", "migrate", "-v0", "--skip-checks"]
        subprocess.run(run, check=True, cwd=ROOT, env=environment(settings))
        with Restarting(worker, settings, python):
            program = [python, "-m", "benchmarks.tasks", "measure", str(tasks)]
            done = subprocess.run(
                program, check=True, cwd=ROOT, env=environment(settings), stdout=subprocess.PIPE
            )
    return sorted(map(float, done.stdout.split()))


def measure(tasks: int) -> None:
    """Prints the milliseconds of so many tasks, in a process with the settings of a backend."""
    import django  # noqa: PLC0415

    django.setup()
    from django.db import transaction  # noqa: PLC0415

    from benchmarks.tasksapp.models import Row  # noqa: PLC0415
    from benchmarks.tasksapp.tasks import add  # noqa: PLC0415

    def call() -> float:
        started = time.perf_counter()
        with transaction.atomic():
            Row.objects.create(name="bench")
            result: Any = add.enqueue(1, b=2)
        while not result.is_finished:
            time.sleep(0.0003)
            result.refresh()
        assert result.return_value == 3, result.errors
        return time.perf_counter() - started

    for _ in range(5):
        call()
    for _ in range(tasks):
        print(call() * 1000)


def main(python: str = sys.executable) -> None:
    print("| backend | p50, ms | p99, ms |\n|---|---:|---:|")
    with Postgres() as server:
        for title, peer, worker, tasks in contestants(python):
            times = latencies(python, server, peer, worker, tasks)
            p50, p99 = (times[len(times) * share // 100] for share in (50, 99))
            print(f"| {title} | {p50:,.1f} | {p99:,.1f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(int(sys.argv[2]))
    else:
        main(*sys.argv[1:])
