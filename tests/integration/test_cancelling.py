"""Jobs with a record that are cancelled while they run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gearmanny.dispatching.dispatcher import Dispatcher
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.net.hosts import parse_host
from gearmanny.records.states import State
from gearmanny.records.values import Snapshot
from gearmanny.testing import running
from gearmanny.worker import BaseWorker
from gearmanny.working.interrupts import was_interrupted
from tests.contract.records.conftest import Database, url_of
from tests.support.cancelled import Cancellable
from tests.support.recorded import Caller, runs
from tests.support.servers import ROOT, Server, until, workers_of

StartRunner = Callable[..., "subprocess.Popen[str]"]

RunCancellable = Callable[..., Cancellable]

KINDS = [
    *("sleep", "steps", "again_and_again", "limited", "socket", "in_c", "parts", "registered"),
    *("later", "parts_later", "fork", "wrap"),
]


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgresql":
        url = url_of(request.getfixturevalue("postgres_database"))
    else:
        url = f"sqlite:///{tmp_path / 'jobs.db'}"
    database = Database(url)
    yield database
    database.close()


only_postgres = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def caller(database: Database, gearman_server: Server) -> Caller:
    return Caller(database.open(), gearman_server)


@pytest.fixture
def start(database: Database, gearman_server: Server) -> Iterator[StartRunner]:
    """Starts a runner as a program of its own, with so many processes."""
    with contextlib.ExitStack() as stack:

        def start(processes: int = 1) -> subprocess.Popen[str]:
            runner = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.integration.cancelling_script"),
                    *(database.url, gearman_server.host, str(processes)),
                ],
                cwd=ROOT,
                text=True,
                start_new_session=True,
            )
            stack.callback(kill_all_of, runner)
            until(lambda: workers_of(gearman_server, "cancellable_pid") == processes, "workers")
            return runner

        yield start


def kill_all_of(runner: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(runner.pid, signal.SIGKILL)
    runner.wait()


@pytest.fixture
def run(database: Database, gearman_worker: Callable[..., Any]) -> RunCancellable:
    """Runs a worker without a runner and a dispatcher, in a thread."""

    def run(**options: Any) -> Cancellable:
        worker: Cancellable = gearman_worker(Cancellable, records=database.open(), **options)
        return worker

    return run


class Cancels:
    """Calls tasks, and cancels them while they run."""

    def __init__(self, caller: Caller, folder: Path) -> None:
        self._caller = caller
        self._folder = folder

    def call(self, function: str) -> str:
        """Returns the id of a job that runs."""
        path = self.path(function)
        id = self._caller.call(f"cancellable_{function}", {"path": str(path)})
        until(lambda: runs(path), "the task running")
        return id

    def path(self, function: str) -> Path:
        return self._folder / function

    def cancel(self, function: str) -> Snapshot:
        """Returns the record of a job that was cancelled."""
        id = self.call(function)
        assert self._caller.store.cancel(id) is State.RUNNING
        cancelled = self._caller.until(id, State.CANCELLED)
        self._caller.until_answered(f"cancellable_{function}")
        return cancelled

    def pid(self) -> str:
        """Returns the process that runs another job."""
        pid = self._caller.until(self._caller.call("cancellable_pid"), State.SUCCEEDED).result
        assert isinstance(pid, str)
        return pid


@pytest.fixture
def cancels(caller: Caller, tmp_path: Path) -> Cancels:
    return Cancels(caller, tmp_path)


def kind_of_error(text: str | None) -> str:
    assert text is not None
    kind: str = json.loads(text)["gearmanny_error"]["type"]
    return kind


class TestInAProcessOfARunner:
    def test_every_kind_of_task_is_interrupted_and_its_process_lives(
        self, start: StartRunner, cancels: Cancels
    ) -> None:
        start()
        process = cancels.pid()
        for kind in KINDS:
            cancelled = cancels.cancel(kind)
            assert (cancelled.attempts, cancelled.failures, cancelled.deaths) == (1, 0, 0)
            assert not cancelled.cancelling
            expected = "builtins.ValueError" if kind == "wrap" else "gearmanny.errors.JobCancelled"
            assert kind_of_error(cancelled.error) == expected
            assert runs(cancels.path(kind)) == [process]
            assert cancels.pid() == process
        assert cancels.path("later.cancelled").exists()
        os.kill(int(cancels.path("fork.helper").read_text()), signal.SIGKILL)

    @only_postgres
    def test_a_query_is_interrupted(
        self, start: StartRunner, cancels: Cancels, database: Database
    ) -> None:
        start()
        process = cancels.pid()
        Path(f"{cancels.path('query')}.url").write_text(database.url)
        cancels.cancel("query")
        assert cancels.pid() == process

    def test_only_the_process_of_the_job_is(
        self, start: StartRunner, cancels: Cancels, caller: Caller
    ) -> None:
        start(2)
        other = cancels.call("steps")
        cancels.cancel("sleep")
        assert caller.look(other).state is State.RUNNING
        assert caller.store.cancel(other) is State.RUNNING
        caller.until(other, State.CANCELLED)

    @pytest.mark.parametrize("function", ["go_on", "block"])
    def test_a_task_that_goes_on_ends_with_its_process(
        self, start: StartRunner, cancels: Cancels, caller: Caller, function: str
    ) -> None:
        start()
        process = cancels.pid()
        cancelled = cancels.cancel(function)
        assert kind_of_error(cancelled.error) == "gearmanny.errors.JobCancelled"
        assert cancelled.deaths == 0
        assert cancels.pid() != process

    def test_a_job_is_cancelled_that_its_process_did_not_survive(
        self, start: StartRunner, cancels: Cancels, caller: Caller
    ) -> None:
        start()
        id = cancels.call("sleep")
        (process,) = runs(cancels.path("sleep"))
        os.kill(int(process), signal.SIGSTOP)  # it hears nothing
        assert caller.store.cancel(id) is State.RUNNING
        os.kill(int(process), signal.SIGKILL)
        assert caller.until(id, State.CANCELLED).deaths == 0


class TestInAThreadWithoutARunner:
    @pytest.mark.parametrize("function", ["steps", "later", "parts_later"])
    def test_a_task_is_interrupted_as_soon_as_python_can(
        self, run: RunCancellable, cancels: Cancels, function: str
    ) -> None:
        run()
        cancels.cancel(function)
        assert cancels.pid() == str(os.getpid())

    def test_what_a_task_makes_of_its_interruption_is_its_result(
        self, start: StartRunner, cancels: Cancels, caller: Caller
    ) -> None:
        start()
        id = cancels.call("swallow")
        caller.store.cancel(id)
        done = caller.until(id, State.SUCCEEDED)
        assert done.result == '"The job of cancellable_swallow() was cancelled."'
        assert not done.cancelling

    def test_of_coroutines_only_the_one_that_is_meant_is_cancelled(
        self, run: RunCancellable, cancels: Cancels, caller: Caller
    ) -> None:
        run(concurrency=3)
        first, second = cancels.call("parts_later"), cancels.call("later")
        third = cancels.call("steps")
        caller.store.cancel(second)
        caller.until(second, State.CANCELLED)
        assert caller.look(first).state is State.RUNNING
        assert caller.look(third).state is State.RUNNING
        for id in (first, third):
            caller.store.cancel(id)
            caller.until(id, State.CANCELLED)

    def test_jobs_that_wait_behind_it_in_the_process_run(
        self, run: RunCancellable, cancels: Cancels, caller: Caller
    ) -> None:
        run(prefetch=3)
        id = cancels.call("steps")
        behind = caller.call("cancellable_pid")
        caller.store.cancel(id)
        caller.until(id, State.CANCELLED)
        caller.until(behind, State.SUCCEEDED)

    def test_a_job_that_is_cancelled_before_its_task_begins_never_runs_it(
        self, database: Database, gearman_server: Server, caller: Caller, cancels: Cancels
    ) -> None:
        """In a hook, which is not interrupted."""
        began, go_on = threading.Event(), threading.Event()

        @contextlib.contextmanager
        def hold(job: Any) -> Iterator[None]:
            began.set()
            go_on.wait()
            yield

        class Held(Cancellable):
            hooks = (hold,)

        store = database.open()
        with running(Held(hosts=[gearman_server.host], records=store)):
            path = cancels.path("steps")
            id = caller.call("cancellable_steps", {"path": str(path)})
            began.wait()
            caller.store.cancel(id)
            heard = threading.Event()
            cancelling = store.cancelling

            def look(processes: Any) -> Any:
                if heard.is_set():
                    go_on.set()
                found = cancelling(processes)
                if found:
                    heard.set()
                return found

            store.cancelling = look  # type: ignore[method-assign]
            caller.until(id, State.CANCELLED)
            assert not runs(path)

    def test_hooks_are_told_that_it_was_interrupted(
        self, database: Database, gearman_server: Server, cancels: Cancels
    ) -> None:
        """Those that look after the connections of tasks."""
        seen: list[tuple[str, bool]] = []

        @contextlib.contextmanager
        def look(job: Any) -> Iterator[None]:
            try:
                yield
            finally:
                seen.append((job.task, was_interrupted(job, sys.exception())))

        class Watched(Cancellable):
            hooks = (look,)

        with running(Watched(hosts=[gearman_server.host], records=database.open())):
            for function in ("steps", "later", "wrap_steps"):
                cancels.cancel(function)
            cancels.pid()
        assert seen == [
            ("cancellable_steps", True),
            ("cancellable_later", True),
            ("cancellable_wrap_steps", True),
            ("cancellable_pid", False),
        ]

    @only_postgres
    def test_a_dispatcher_of_this_machine_wakes_its_process(
        self,
        run: RunCancellable,
        cancels: Cancels,
        database: Database,
        gearman_server: Server,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Which would not look by itself before the end of this test."""
        monkeypatch.setattr("gearmanny.working.membership.INTERVAL", 1000.0)
        hosts = (parse_host(gearman_server.host),)
        dispatcher = Dispatcher(database.open(), DispatchOptions(hosts=hosts))
        thread = threading.Thread(target=dispatcher.run)
        thread.start()
        try:
            until(
                lambda: database.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' "
                    "AND datname = current_database()"
                ),
                "the dispatcher listening",
            )
            run()
            cancels.cancel("steps")
        finally:
            dispatcher.stop()
            thread.join()

    def test_a_result_that_is_written_at_the_same_time_is_the_result(
        self, caller: Caller, database: Database, gearman_server: Server
    ) -> None:
        class Quick(BaseWorker):
            name = "quick"

            def task_answer(self) -> int:
                assert caller.store.cancel(id) is State.RUNNING
                return 42

        with running(Quick(hosts=[gearman_server.host], records=database.open())):
            id = caller.submit("quick_answer")
            caller.hand_over("quick_answer", id)
            assert caller.until(id, State.SUCCEEDED).result == "42"
            assert not caller.look(id).cancelling
