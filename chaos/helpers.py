"""Tasks that start helpers and send them signals, in workers that are killed.

    python -m chaos.helpers [JOBS]

Helpers are processes that a task forks, with `os.fork()` and `multiprocessing`, and programs. Each
has to end by the signal that its task sends, as it would outside of a worker. Every background job
has to run, and none may take a worker with it.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from gearmanny.admin import JobServer
from gearmanny.client import SimpleClient
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tools.processes import PATIENCE, ROOT, end, until

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL)
_PROCESSES = 3


def _fork(number: signal.Signals) -> int:
    """Returns the exit code of a process that was forked and got a signal."""
    pid = os.fork()
    if not pid:
        time.sleep(PATIENCE)
        return 0  # out of the task, which must not make a worker of it
    os.kill(pid, number)
    return -os.WTERMSIG(os.waitpid(pid, 0)[1])


def _fork_with_multiprocessing(number: signal.Signals) -> int | None:
    helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(PATIENCE,))
    helper.start()
    assert helper.pid is not None
    os.kill(helper.pid, number)
    helper.join()
    return helper.exitcode


def _start_a_program(number: signal.Signals) -> int:
    helper = subprocess.Popen(["sleep", str(PATIENCE)])
    helper.send_signal(number)
    return helper.wait()


class Helped(BaseWorker):
    name = "helped"

    def task_start(self, n: int) -> None:
        number = _SIGNALS[n % len(_SIGNALS)]
        start = (_fork, _fork_with_multiprocessing, _start_a_program)[n % 3]
        code = start(number)
        # Python makes an exception of SIGINT, which ends a process of multiprocessing with 1.
        known = {-number, 1} if number is signal.SIGINT else {-number}
        verdict = "" if code in known else f" {start.__name__} {number.name} {code}"
        with open(os.environ["CHAOS_LOG"], "ab", buffering=0) as log:
            log.write(f"{n}{verdict}\n".encode())

    def task_ready(self) -> bool:
        return True


def _kill_workers(runner: int, over: threading.Event, killed: list[int]) -> None:
    """Kills a worker now and then: a child of the runner, and not of a task."""
    chance = random.Random(4730)
    children = Path(f"/proc/{runner}/task/{runner}/children")
    while not over.wait(chance.uniform(1, 2)):
        pids = children.read_text().split()
        if pids:
            killed.append(int(chance.choice(pids)))
            os.kill(killed[-1], signal.SIGKILL)


def main(*arguments: str) -> bool:
    """Prints the figures; returns whether every job has run, and every helper ended rightly."""
    if arguments[:1] == ("work",):
        sys.exit(
            not WorkRunner([Helped], [arguments[1]], max_deaths=None, max_crashes=None).start(
                _PROCESSES
            )
        )
    jobs = int(arguments[0]) if arguments else 1000
    killed: list[int] = []
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder, Gearmand() as server:
        notes = Path(folder) / "notes"
        runner = subprocess.Popen(
            [sys.executable, "-m", "chaos.helpers", "work", server.host],
            cwd=ROOT,
            env={**os.environ, "CHAOS_LOG": str(notes)},
            stderr=subprocess.DEVNULL,
            text=True,
        )
        killing = threading.Thread(target=_kill_workers, args=(runner.pid, over, killed))
        try:
            with SimpleClient([server.host], timeout=PATIENCE) as client:
                client.helped_ready()
                killing.start()
                for n in range(jobs):
                    client.using(background=True).helped_start(n=n)
            _work_off(server)
            over.set()
            killing.join()
            runner.terminate()
            exit_code = runner.wait(PATIENCE)
        finally:
            over.set()
            end(runner)
        lines = notes.read_text().splitlines()
    done = {int(line.split()[0]) for line in lines}
    wrong = [line for line in lines if " " in line]
    print(
        f"helpers: {len(done)} of {jobs} jobs done, {len(lines) - len(done)} run twice, "
        f"{len(killed)} workers killed, {len(wrong)} helpers ended wrongly, exit code {exit_code}"
    )
    for line in wrong:
        print(f"  {line}")
    return len(done) == jobs and not wrong and not exit_code


def _work_off(server: Gearmand) -> None:
    def left() -> int:
        return sum(row.total for row in JobServer(server.host).status())

    while before := left():
        until(lambda before=before: left() < before, "a job being done")


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
