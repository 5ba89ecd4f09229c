"""Run by the tests of time limits and retries, as a program of its own: attempts_script.py HOST"""

import asyncio
import contextlib
import ctypes
import logging
import os
import sys
import threading

from gearmanny.worker import BaseWorker, task
from gearmanny.workrunner import WorkRunner


class Deaf(BaseWorker):
    name = "deaf"
    timeout = 0.1
    timeout_grace = 0.1
    prefetch = 2

    @task(timeout=None)
    def task_pid(self) -> int:
        return os.getpid()

    def task_ignore(self) -> None:
        while True:
            with contextlib.suppress(BaseException):
                while True:
                    pass

    def task_lock(self) -> None:
        """Waits in C code for what never comes, and lets no signal disturb it."""
        mutex = ctypes.create_string_buffer(64)
        library = ctypes.CDLL(None)
        library.pthread_mutex_lock(mutex)
        library.pthread_mutex_lock(mutex)

    async def task_block(self) -> None:
        threading.Event().wait()

    async def task_swallow(self) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)

    @task(timeout=None, retries=3, backoff=1000)
    def task_fail(self) -> None:
        raise OSError("not now")


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    sys.exit(not WorkRunner([Deaf], [sys.argv[1]], verbosity=1).start())
