"""Run by the tests of WorkRunner, as a program of its own: runner_script.py HOST THREADS OPTION…

An option is a word, or `name=number` for WorkRunner.
"""

import contextlib
import logging
import os
import pickle
import queue
import re
import sys
import threading
from pathlib import Path

from gearmanny.client import SimpleClient
from gearmanny.errors import TaskError, TaskTimeLimitExceeded
from gearmanny.running import supervisor
from gearmanny.vocabulary.gearman_api import DataEncoder, GearmanWorker
from gearmanny.worker import BaseWorker, task
from gearmanny.workrunner import WorkRunner
from tests.support.servers import PATIENCE, until


class PickleEncoder(DataEncoder):
    encode = pickle.dumps
    decode = pickle.loads


class PickleWorker(GearmanWorker):
    data_encoder = PickleEncoder


memory: list[bytes] = []

shared: queue.Queue[int] = queue.Queue()


class First(BaseWorker):
    name = "first"

    def task_pid(self) -> int:
        return os.getpid()

    def task_wait_for(self, path: str) -> str:
        Path(f"{path}.started").touch()
        while not Path(path).exists():
            threading.Event().wait(0.01)
        return "done"

    def task_grow(self, mib: int) -> int:
        memory.append(b"x" * (mib * 2**20))
        return os.getpid()

    @task(timeout=0.1)
    def task_spin(self) -> None:
        while True:
            pass

    @task(timeout=0.02)
    def task_interrupt_queue(self) -> bool:
        """Returns whether the interruption left the lock of a queue held."""
        try:
            while True:
                shared.put(1)
                shared.get()
        except TaskTimeLimitExceeded:
            return shared.mutex.locked()

    @task(timeout=0.5)
    def task_use_queue(self) -> None:
        shared.put(1)

    def task_keep_the_interpreter(self, path: str) -> None:
        Path(path).touch()
        re.match(r"(a+)+$", "a" * 60 + "b")  # for years, without giving the lock away once

    def task_report_from_a_helper(self) -> str:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            for report in (self.send_data, self.warn, lambda done: self.progress(done, 1)):
                try:
                    report(1)
                except RuntimeError as error:
                    os.write(writer, f"{error}\n".encode())
            os._exit(0)
        os.close(writer)
        with open(reader) as errors:
            told = errors.read()
        os.waitpid(child, 0)
        self.send_data("from the task")
        return told


class Second(BaseWorker):
    name = "second"

    def task_pid(self) -> int:
        return os.getpid()


class Pickled(BaseWorker):
    name = "pickled"
    work_class = PickleWorker

    def task_pid(self) -> int:
        return os.getpid()


class Broken(BaseWorker):
    name = "broken"

    def setUp(self) -> None:
        raise RuntimeError("cannot be set up")


class Slow(BaseWorker):
    """Sets itself up for as long as the file exists that the environment names."""

    name = "slow"

    def setUp(self) -> None:
        while Path(os.environ["SLOW"]).exists():
            threading.Event().wait(0.01)

    def task_pid(self) -> int:
        return os.getpid()


def obey_methods(runner: WorkRunner, host: str) -> None:
    """Starts it in a thread, and calls what signals would have done."""
    thread = threading.Thread(target=runner.start)
    thread.start()
    with SimpleClient([host], timeout=PATIENCE) as client:
        with contextlib.suppress(TaskError):
            client.first_spin()
        old = client.first_pid()
        runner.restart()
        until(lambda: client.first_pid() != old, "the successor serving")
    runner.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    host, threads, *words = sys.argv[1:]
    options = [word for word in words if "=" not in word]
    numbers = {
        name: float(number) if name in ("grace", "ready_timeout") else int(number)
        for name, _, number in (word.partition("=") for word in words if "=" in word)
    }
    supervisor._READY_TIMEOUT = numbers.pop("ready_timeout", supervisor._READY_TIMEOUT)
    workers: list[type[BaseWorker]] = [First, Second, Pickled]
    if "broken" in options:
        workers = [Broken]
    elif "slow" in options:
        workers = [Slow]
    tls = {"ca": os.environ["TEST_CA"]} if "TEST_CA" in os.environ else None
    recycle = bool(numbers.pop("recycle_after_timeout", True))
    runner = WorkRunner(
        workers, [host], verbosity=1, tls=tls, recycle_after_timeout=recycle, **numbers
    )
    if "in-thread" in options:
        obey_methods(runner, host)
        sys.exit()
    all_well = runner.start(threads=int(threads), keepAlive="no-keepalive" not in options)
    sys.stderr.write("start() returned\n")
    sys.exit(not all_well)
