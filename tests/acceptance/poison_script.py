"""Run by the tests of jobs that kill their processes, as a program of its own:
poison_script.py HOST [OPTION=NUMBER…]

An option is one of WorkRunner, where 0 is None, or `threads`.
"""

import asyncio
import ctypes
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.worker import BaseWorker, task
from gearmanny.workrunner import WorkRunner


def die(how: str) -> None:
    if how.startswith("exit"):
        os._exit(int(how.removeprefix("exit")))
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "killed":  # as the kernel does when there is no memory left
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "closed":
        os.closerange(3, 1000)
    elif how == "interrupt":
        raise KeyboardInterrupt


def registered(worker: GearmanWorker, job: GearmanJob) -> None:
    die(job.data["how"])


class Poison(BaseWorker):
    name = "poison"
    concurrency = 8
    timeout_grace = 0.1

    def setUp(self) -> None:
        self.register_task("poison_registered", registered)

    def task_pid(self) -> int:
        return os.getpid()

    def task_die(self, how: str) -> None:
        die(how)

    async def task_die_in_a_coroutine(self, how: str, path: str = "") -> None:
        await until_there(path)
        die(how)

    async def task_wait(self, path: str) -> int:
        Path(f"{path}.{os.getpid()}").touch()
        await until_there(path)
        return os.getpid()

    @task(timeout=0.1)
    def task_ignore_the_limit(self) -> None:
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass

    def task_fail(self, text: str) -> None:
        raise ValueError(text)

    def task_echo(self, data: Any) -> int:
        return len(data)


async def until_there(path: str) -> None:
    while path and not Path(path).exists():
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    host, *options = sys.argv[1:]
    numbers = {name: int(n) or None for name, _, n in (each.partition("=") for each in options)}
    threads = numbers.pop("threads", 1) or 1
    sys.exit(not WorkRunner([Poison], [host], verbosity=1, **numbers).start(threads))
