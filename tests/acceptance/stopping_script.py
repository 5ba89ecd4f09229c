"""Run by the tests of stopping, as a program of its own: stopping_script.py HOST WAY

A way is `runner`, `hasty`, for one with a short grace, `dropping`, for a runner whose workers drop
privileges, `first`, for one that inherits orphans as the first process of a container, or `bare`,
`handled` and `thread` for `start()` alone, with a handler for SIGTERM and outside of the main
thread.
"""

import asyncio
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner


def stay() -> None:
    time.sleep(600)


class Staying(BaseWorker):
    name = "staying"

    def setUp(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        if "dropping" in sys.argv:
            os.setgid(65534)

    def task_pid(self) -> int:
        return os.getpid()

    def task_wait_for(self, path: str) -> str:
        Path(f"{path}.started").touch()
        while not Path(path).exists():
            threading.Event().wait(0.01)
        return "done"

    def task_leave_a_thread(self) -> None:
        threading.Thread(target=stay, name="forgotten").start()

    def task_leave_orphans(self) -> list[int]:
        reader, writer = os.pipe()
        ended, end = os.pipe()
        child = os.fork()
        if not child:
            for _ in range(3):
                orphan = os.fork()
                if not orphan:
                    os.read(ended, 1)
                    os._exit(0)
                os.write(writer, b"%d " % orphan)
            os._exit(0)
        os.waitpid(child, 0)
        pids = [int(pid) for pid in os.read(reader, 100).split()]
        os.write(end, b"xxx")
        return pids

    def task_leave_a_reporter(self, path: str) -> None:
        """Leaves a thread that reports as soon as another job runs, and writes what comes of it."""

        def report() -> None:
            while not Path(f"{path}.started").exists():
                threading.Event().wait(0.01)
            try:
                self.send_data("for another")
            except RuntimeError as error:
                text = str(error)
            else:
                text = "sent"
            Path(f"{path}.writing").write_text(text)
            os.rename(f"{path}.writing", path)

        threading.Thread(target=report, daemon=True).start()

    def task_report_from_a_pool(self) -> None:
        self.pool.submit(self.send_data, os.getpid()).result()

    def task_run_a_loop_that_handles_signals(self) -> None:
        async def main() -> None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, list)

        asyncio.run(main())

    async def task_leave_a_coroutine(self, path: str) -> None:
        async def stay_here() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                Path(path).touch()

        self.left = asyncio.create_task(stay_here())
        await asyncio.sleep(0)

    def task_leave_a_process(self) -> None:
        multiprocessing.get_context("fork").Process(target=stay, name="forgotten").start()

    def task_terminate_a_child(self) -> int:
        child = os.fork()
        if not child:
            stay()
        os.kill(child, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    host, way = sys.argv[1:]
    if way == "first":
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    if way in ("runner", "dropping", "first", "hasty"):
        options = {"grace": 4} if way == "hasty" else {}
        WorkRunner([Staying], [host], verbosity=1, **options).start()
        sys.exit()
    if way == "handled":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
    if way == "thread":
        thread = threading.Thread(target=Staying([host]).start)
        thread.start()
        thread.join()
    Staying([host]).start()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    sys.exit(7)
