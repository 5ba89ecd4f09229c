"""Run by the tests of tasks that fork, exit and are killed, as a program of its own:
forks_script.py HOST OPTION…

An option is `in-thread`, for a runner in a thread, `no-keepalive`, `exit-in-setup`,
`fork-in-setup`, `later`, for a worker that forks after its jobs, `any-deaths`, for jobs that may
kill any number of processes, or `no-pidfd`, for a system that does not tell of the end of a
process.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator

from gearmanny.vocabulary.gearman_api import GearmanJob, GearmanWorker
from gearmanny.worker import BaseWorker, JsonWorker, task
from gearmanny.workrunner import WorkRunner

processes = multiprocessing.get_context("fork")


@contextlib.contextmanager
def forking(job: GearmanJob) -> Iterator[None]:
    """Forks where the argument says; the child exits, fails, or goes on."""
    if not isinstance(job.data, dict) or "fork" not in job.data:
        yield
        return
    where, how = job.data["fork"].split()
    if where == "before":
        leave_in_child(how)
    yield
    if where == "after":
        leave_in_child(how)


@contextlib.asynccontextmanager
async def forking_asynchronously(job: GearmanJob) -> AsyncIterator[None]:
    with forking(job):
        yield


def leave_in_child(how: str) -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    elif how == "exit":
        sys.exit(0)
    elif how == "fail":
        raise ValueError("in the child")


def wait_for_the_end() -> None:
    threading.Event().wait(60)


@contextlib.contextmanager
def noting(job: GearmanJob) -> Iterator[None]:
    """Says which process leaves the hook."""
    try:
        yield
    finally:
        logging.warning("hook left in %d", os.getpid())


def fork_and_exit(code: object) -> int:
    """Returns the exit code of a child that exits in the middle of the task."""
    child = os.fork()
    if not child:
        sys.exit(code)  # type: ignore[arg-type]
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Forking(BaseWorker):
    name = "forking"
    hooks = [noting]

    def setUp(self) -> None:
        if "exit-in-setup" in sys.argv:
            sys.exit(0)
        if "fork-in-setup" in sys.argv:
            os.fork()

    def task_pid(self) -> int:
        return os.getpid()

    def task_exit(self, code: int) -> None:
        sys.exit(code)

    def task_exit_hard(self, code: int) -> None:
        os._exit(code)

    def task_fork_and_exit(self, code: int) -> int:
        return fork_and_exit(code)

    @task(timeout=60)
    def task_limited_fork_and_exit(self, code: int) -> int:
        return fork_and_exit(code)

    async def task_coroutine_fork_and_exit(self, code: int) -> int:
        return fork_and_exit(code)

    def task_fork_and_return(self) -> int:
        child = os.fork()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else 7

    async def task_fork_in_a_thread(self) -> int:
        def fork() -> int:
            child = os.fork()
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else 7

        return await asyncio.to_thread(fork)

    def task_fork_and_fail(self) -> int:
        child = os.fork()
        if not child:
            raise ValueError("in the child")
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def task_terminate_a_child(self) -> int | None:
        child = processes.Process(target=wait_for_the_end)
        child.start()
        child.terminate()
        child.join()
        return child.exitcode

    async def task_terminate_a_child_of_a_coroutine(self) -> int | None:
        return self.task_terminate_a_child()

    def task_signal_a_child(self, number: int) -> int:
        child = os.fork()
        if not child:
            while True:
                pass
        os.kill(child, number)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def task_signal_a_program(self, number: int) -> int:
        program = subprocess.Popen(["sleep", "60"])
        program.send_signal(number)
        return program.wait()

    def task_pool(self) -> list[int]:
        with processes.Pool(2) as pool:
            return pool.map(abs, [-1, 2, -3])

    def task_leave_a_helper(self) -> list[int]:
        helper = processes.Process(target=wait_for_the_end)
        helper.start()
        assert helper.pid
        return [os.getpid(), helper.pid]

    def task_leave_a_helper_and_wait(self, path: str) -> str:
        pids = self.task_leave_a_helper()
        with open(f"{path}.new", "w") as file:
            file.write(" ".join(map(str, pids)))
        if not os.path.exists(path):
            os.rename(f"{path}.new", path)
            wait_for_the_end()
        return "done by another"


def exit_(worker: GearmanWorker, job: GearmanJob) -> None:
    sys.exit("registered")


class Hooked(BaseWorker):
    name = "hooked"
    hooks = [forking]

    def task_note(self, path: str, fork: str) -> int:
        with open(path, "a") as file:
            file.write("done\n")
        return os.getpid()

    async def task_note_asynchronously(self, path: str, fork: str) -> int:
        return self.task_note(path, fork)


class HookedAsynchronously(Hooked):
    name = "ahooked"
    hooks = [forking_asynchronously]


class ForkingAfterJobs(JsonWorker):
    def after_job(self) -> bool:
        os.fork()
        return True


class Later(BaseWorker):
    name = "later"
    work_class = ForkingAfterJobs

    def task_pid(self) -> int:
        return os.getpid()


class Registering(BaseWorker):
    name = "registering"

    def setUp(self) -> None:
        self.register_task("registered_exit", exit_)
        self.gearman_worker.register_task("foreign_fork", lambda worker, job: fork_and_exit(5))


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    host, *options = sys.argv[1:]
    if "no-pidfd" in options:
        del os.pidfd_open
    runner = WorkRunner(
        [Later] if "later" in options else [Forking, Registering, Hooked, HookedAsynchronously],
        [host],
        verbosity=1,
        max_crashes=3,
        max_deaths=None if "any-deaths" in options else 3,
    )
    if "in-thread" in options:
        thread = threading.Thread(target=runner.start)
        thread.start()
        os.read(0, 1)  # not by sys.stdin: a child would wait for its lock
        runner.stop()
        thread.join()
    else:
        sys.exit(not runner.start(keepAlive="no-keepalive" not in options))
