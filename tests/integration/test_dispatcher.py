"""The dispatcher: real databases and job servers, real processes, real ends of both."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from gearmanny.admin import JobServer as Admin
from gearmanny.client import AsyncClient
from gearmanny.contrib.prometheus import RecordCollector
from gearmanny.dispatching.dispatcher import Dispatcher
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.embedded import JobServer
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import parse_host
from gearmanny.net.question import ask
from gearmanny.net.transport import connect
from gearmanny.protocol.worker import Assigned, WorkerConnection
from gearmanny.records.ids import parse_unique
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claimed, NewJob, Snapshot
from tests.contract.records.conftest import Database, url_of
from tests.support.servers import PATIENCE, ROOT, Gearmand, Server, end, until
from tools.postgres import Postgres

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgresql":
        url = url_of(request.getfixturevalue("postgres_database"))
    else:
        url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with contextlib.closing(Database(url)) as opened:
        yield opened


only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For what does not depend on the database."""


@pytest.fixture
def store(database: Database) -> SQLStore:
    return database.open()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(log: Path) -> Iterator[Start]:
    """Starts a program in a session of its own, all of which is killed in the end."""
    with contextlib.ExitStack() as stack:

        def start(*command: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                stderr=stack.enter_context(log.open("a")),
                text=True,
                start_new_session=True,
            )
            stack.callback(kill_all_of, process)
            return process

        yield start


def kill_all_of(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


@pytest.fixture
def dispatch(start: Start, database: Database, gearman_server: Server) -> Start:
    """Starts `gearmanny dispatch`."""

    def dispatch(*options: str) -> subprocess.Popen[str]:
        hosts = [] if "--host" in options else ["--host", gearman_server.host]
        return start("gearmanny", "dispatch", "--records", database.url, *hosts, *options)

    return dispatch


class Taker:
    """A worker that claims what it gets, and finishes it; or refuses everything."""

    def __init__(self, host: str, store: SQLStore | None, function: bytes = b"f") -> None:
        self.got: list[tuple[str, int]] = []
        """The id of each job, and the number of its hand-over."""
        self.payloads: set[bytes] = set()
        self._host = host
        self._store = store
        self._function = function
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(PATIENCE)

    def _work(self) -> None:
        process = self._store.register().id if self._store is not None else ""
        connection, machine = connect(parse_host(self._host)), WorkerConnection()
        machine.offer([self._function])
        with contextlib.closing(connection):
            while not self._closing.is_set():
                before = len(self.got)
                machine.wake()
                machine.grab()
                self._send(connection, machine)
                while machine.asking and connection.wait(PATIENCE):
                    for event in machine.receive(connection.receive()):
                        assert isinstance(event, Assigned)
                        self._take(machine, event, process)
                    self._send(connection, machine)
                if len(self.got) == before:
                    connection.wait(0.05)
        if self._store is not None:
            self._store.leave()

    def _send(self, connection: Any, machine: WorkerConnection) -> None:
        while data := machine.data_to_send():
            connection.send(data, Deadline(PATIENCE))

    def _take(self, machine: WorkerConnection, job: Assigned, process: str) -> None:
        travelling = parse_unique(job.unique)
        assert travelling is not None
        self.got.append((travelling.id, travelling.number))
        self.payloads.add(job.data)
        if self._store is None:
            machine.fail(job.handle)
            return
        claimed = self._store.claim(travelling.id, "f", travelling.number, process)
        if isinstance(claimed, Claimed):
            self._store.finish(claimed.claim, Event.SUCCEEDED)
        machine.complete(job.handle, b"")


@contextlib.contextmanager
def taking(host: str, store: SQLStore | None) -> Iterator[Taker]:
    with contextlib.closing(Taker(host, store)) as taker:
        yield taker


def waiting(store: SQLStore, count: int = 1, **options: Any) -> list[str]:
    """Records jobs for the dispatcher."""
    jobs = [NewJob("f", handed_over=False, **options) for _ in range(count)]
    return [submitted.id for submitted in store.submit(jobs)]


def total(server: Server) -> int:
    """How many jobs a job server has."""
    return sum(row.total for row in Admin(server.host).status() if row.function == "f")


def look(store: SQLStore, id: str) -> Snapshot:
    found = store.look(id)
    assert found is not None
    return found


def until_state(store: SQLStore, id: str, state: State) -> Snapshot:
    until(lambda: look(store, id).state is state, f"a job that is {state}")
    return look(store, id)


def actions(log: Path, text: str) -> bool:
    return text in log.read_text()


def test_jobs_leave_when_they_are_due(
    database: Database, store: SQLStore, dispatch: Start, gearman_server: Server
) -> None:
    dispatch()
    (now,) = waiting(store, arguments="[1]")
    (later,) = waiting(store, delay=0.3)
    (never,) = waiting(store, delay=3600)
    with taking(gearman_server.host, database.open()) as taker:
        until_state(store, now, State.SUCCEEDED)
        until_state(store, later, State.SUCCEEDED)
    assert taker.got == [(now, 1), (later, 1)]
    assert taker.payloads == {b""}  # they stay in the database
    assert look(store, never).number == 0


def test_a_job_that_its_caller_never_sent_is_handed_over(
    database: Database, store: SQLStore, dispatch: Start, gearman_server: Server
) -> None:
    dispatch()
    (submitted,) = store.submit([NewJob("f")])
    with taking(gearman_server.host, database.open()) as taker:
        until_state(store, submitted.id, State.SUCCEEDED)
    assert taker.got == [(submitted.id, 2)]


@pytest.mark.parametrize("kind", [Gearmand, JobServer])
def test_a_job_server_that_lost_its_queue_gets_the_jobs_again(
    database: Database, store: SQLStore, dispatch: Start, kind: Any, log: Path
) -> None:
    with kind() as server:
        dispatch("--host", server.host)
        ids = waiting(store, 300)
        until(lambda: total(server) == 300, "300 jobs")
        server.kill() if kind is Gearmand else server.stop()
        until(lambda: actions(log, "is away"), "a line in the log")
        server.start()
        until(lambda: total(server) == 300, "300 jobs again")
        assert {look(store, id).number for id in ids} == {2}
        with taking(server.host, database.open()) as taker:
            for id in ids:
                until_state(store, id, State.SUCCEEDED)
    assert sorted(taker.got) == sorted((id, 2) for id in ids)
    assert actions(log, "is back")


def test_what_a_job_server_still_has_is_not_handed_over_again(
    database: Database, store: SQLStore, dispatch: Start, gearman_server: Server
) -> None:
    dispatch()
    waiting(store, 500)
    now = "clock_timestamp()" if database.is_postgres else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    asked = f"SELECT count(*) FROM gearmanny_jobs WHERE handed > {now}"
    session = database.connect()
    until(lambda: session.execute(asked).fetchone() == (500,), "500 jobs that were asked about")
    assert total(gearman_server) == 500
    assert database.execute("SELECT DISTINCT handovers FROM gearmanny_jobs") == [(1,)]


def test_of_two_dispatchers_each_job_is_handed_over_by_one(
    database: Database, store: SQLStore, dispatch: Start, gearman_server: Server
) -> None:
    dispatch()
    dispatch()
    ids = waiting(store, 2000)
    with taking(gearman_server.host, database.open()) as taker:
        until(lambda: len(taker.got) >= 2000, "2000 jobs")
    assert sorted(taker.got) == sorted((id, 1) for id in ids)


def test_a_backlog_stays_in_the_database(
    database: Database, store: SQLStore, dispatch: Start, gearman_server: Server
) -> None:
    waiting(store, 10_000)
    dispatch("--max-unclaimed", "50")
    until(lambda: total(gearman_server) == 50, "50 jobs")
    with taking(gearman_server.host, database.open()) as taker:
        until(lambda: len(taker.got) > 200, "more than 200 jobs")
    assert database.execute("SELECT count(*) FROM gearmanny_jobs WHERE handovers > 0")[0][0] < 5000
    assert total(gearman_server) <= 50


@only_sqlite
def test_old_records_are_forgotten_and_open_ones_are_not(
    database: Database, store: SQLStore, dispatch: Start
) -> None:
    process = store.register()
    for event in (Event.SUCCEEDED, Event.FAILED):
        (submitted,) = store.submit([NewJob("f")])
        claimed = store.claim(submitted.id, "f", 1, process.id)
        assert isinstance(claimed, Claimed)
        store.finish(claimed.claim, event, error=None if event is Event.SUCCEEDED else "{}")
    (open_one,) = waiting(store, delay=3600)
    dispatch("--keep", "0")
    until(lambda: database.execute("SELECT count(*) FROM gearmanny_jobs") == [(1,)], "one record")
    assert look(store, open_one).state is State.QUEUED


@only_sqlite
@pytest.mark.gearmand
def test_what_a_full_job_server_refuses_waits_for_room(
    database: Database, store: SQLStore, dispatch: Start, gearman_server: Server, log: Path
) -> None:
    with taking(gearman_server.host, None):  # the job server has to know the function
        until(lambda: Admin(gearman_server.host).status(), "a function")
    host = parse_host(gearman_server.host)
    ask(host, "maxqueue", b"maxqueue f 5\n", lambda data: data or None, timeout=PATIENCE)
    dispatch()
    ids = waiting(store, 20)
    until(lambda: actions(log, "refuses jobs of f"), "a line in the log")
    with taking(gearman_server.host, database.open()) as taker:
        for id in ids:
            until_state(store, id, State.SUCCEEDED)
    assert sorted(taker.got) == sorted((id, 1) for id in ids)


@only_sqlite
def test_a_job_server_that_does_not_answer_holds_up_no_other(
    database: Database,
    store: SQLStore,
    dispatch: Start,
    gearman_server: Server,
    black_hole: str,
) -> None:
    dispatch("--host", black_hole, "--host", gearman_server.host)
    ids = waiting(store, 10)
    with taking(gearman_server.host, database.open()) as taker:
        for id in ids:
            until_state(store, id, State.SUCCEEDED)
    assert len(taker.got) == 10


@only_sqlite
def test_a_dispatcher_ends_when_it_is_told_to(dispatch: Start, log: Path) -> None:
    process = dispatch()
    until(lambda: actions(log, "dispatching the jobs of the store"), "a line in the log")
    end(process)
    assert process.returncode == 0
    assert not actions(log, "Traceback")


class Runner:
    """A runner whose processes hold jobs, and its own dispatcher."""

    def __init__(self, process: subprocess.Popen[str], server: Server, store: SQLStore) -> None:
        self.process = process
        self._host = server.host
        self._store = store

    def held(self) -> str:
        """Returns the id of a job that a process of the runner has claimed."""
        (submitted,) = self._store.submit([NewJob("f")])
        with contextlib.closing(AsyncClient([self._host])) as client:
            client.using(background=True).holder_hold(id=submitted.id, number=1)
            until_state(self._store, submitted.id, State.RUNNING)
        return submitted.id

    def owner_of(self, id: str) -> int:
        """Returns the pid of the process that has a job."""
        owner = look(self._store, id).process
        (pid,) = [process.pid for process in self._store.processes() if process.id == owner]
        return pid

    def children(self) -> set[int]:
        pid = self.process.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def dispatcher(self) -> int:
        """Returns the pid of its dispatcher, the first of its children."""
        return min(self.children())


@pytest.fixture
def runner(start: Start, database: Database, store: SQLStore, gearman_server: Server) -> Runner:
    store.id  # noqa: B018 - the tables exist
    process = start("tests.integration.dispatch_script", gearman_server.host, database.url)
    started = Runner(process, gearman_server, store)
    until(lambda: len(started.children()) == 2, "a worker and a dispatcher")
    return started


def test_a_process_that_is_killed_loses_its_jobs_to_others(
    database: Database, store: SQLStore, runner: Runner, gearman_server: Server, log: Path
) -> None:
    id = runner.held()
    pid = runner.owner_of(id)
    os.kill(pid, signal.SIGKILL)
    with taking(gearman_server.host, database.open()) as taker:
        found = until_state(store, id, State.SUCCEEDED)
    assert taker.got == [(id, 2)]
    assert (found.deaths, found.attempts) == (1, 2)
    assert actions(log, f"pid {pid} is dead; it gives back 1 job of f")


def test_an_end_that_was_ordered_does_not_count(store: SQLStore, runner: Runner, log: Path) -> None:
    id = runner.held()
    runner.process.terminate()
    until(lambda: actions(log, "finishing the current jobs"), "a line in the log")
    runner.process.terminate()  # at once
    runner.process.wait(PATIENCE)
    found = look(store, id)
    assert (found.state, found.deaths) == (State.QUEUED, 0), log.read_text()


def test_a_runner_that_is_killed_loses_its_jobs_to_others(
    database: Database, store: SQLStore, runner: Runner, dispatch: Start, gearman_server: Server
) -> None:
    id = runner.held()
    kill_all_of(runner.process)
    dispatch()
    with taking(gearman_server.host, database.open()) as taker:
        found = until_state(store, id, State.SUCCEEDED)
    assert taker.got == [(id, 2)]
    assert found.deaths == 1


@only_sqlite
def test_a_dispatcher_that_is_killed_is_replaced(
    database: Database, store: SQLStore, runner: Runner, gearman_server: Server, log: Path
) -> None:
    killed = runner.dispatcher()
    os.kill(killed, signal.SIGKILL)
    until(lambda: actions(log, "the dispatcher has ended; another one was started"), "a line")
    (id,) = waiting(store)
    with taking(gearman_server.host, database.open()):
        until_state(store, id, State.SUCCEEDED)
    assert runner.process.poll() is None


@only_sqlite
def test_a_death_while_there_is_no_dispatcher_is_made_up_for(
    database: Database, store: SQLStore, runner: Runner, gearman_server: Server
) -> None:
    id = runner.held()
    pid, dispatcher = runner.owner_of(id), runner.dispatcher()
    os.kill(dispatcher, signal.SIGSTOP)  # it hears of the death, and never gets to it
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in runner.children(), "an end that was noticed")
    os.kill(dispatcher, signal.SIGKILL)
    with taking(gearman_server.host, database.open()):
        assert until_state(store, id, State.SUCCEEDED).deaths == 1


def test_a_restart_of_the_database_kills_nobody(
    own_postgres: Postgres, gearman_server: Server, start: Start, log: Path
) -> None:
    url = url_of(own_postgres.settings())
    with contextlib.closing(Database(url)) as database:
        store, process = database.open(), database.open()
        (submitted,) = store.submit([NewJob("f")])
        owner = process.register().id
        claimed = process.claim(submitted.id, "f", 1, owner)
        assert isinstance(claimed, Claimed)
        start("gearmanny", "dispatch", "--records", url, "--host", gearman_server.host)
        until(lambda: actions(log, "dispatching the jobs"), "a dispatcher")
        own_postgres.stop()
        until(lambda: actions(log, "trying again"), "a dispatcher that noticed")
        own_postgres.start()
        until(lambda: actions(log, "the store answers again"), "a dispatcher that is back")
        process.renew()
        # The dispatcher looks twice, some seconds apart.
        (later,) = waiting(store, delay=8)
        until(lambda: process.renew() and look(store, later).number == 1, "some seconds")
        found = look(store, submitted.id)
        assert (found.state, found.deaths, found.process) == (State.RUNNING, 0, owner)
        assert process.finish(claimed.claim, Event.SUCCEEDED)


def test_recorded_jobs_are_counted_for_prometheus(
    database: Database, store: SQLStore, gearman_server: Server
) -> None:
    process = database.open()
    for function in ("f", "f", "g", "h"):
        (submitted,) = store.submit([NewJob(function)])
    claimed = process.claim(submitted.id, "h", 1, process.register().id)
    assert isinstance(claimed, Claimed)
    waiting(store, delay=3600)
    registry = CollectorRegistry()
    registry.register(RecordCollector(store, max_functions=1))

    def value(function: str, state: str) -> float | None:
        labels = {"function": function, "state": state}
        return registry.get_sample_value("gearmanny_records", labels)

    assert registry.get_sample_value("gearmanny_store_up") == 1
    assert (value("f", "waiting"), value("f", "scheduled")) == (2, 1)
    assert (value("(others)", "waiting"), value("(others)", "running")) == (1, 1)
    oldest = registry.get_sample_value("gearmanny_records_oldest_seconds", {"function": "f"})
    assert oldest is not None

    taken = {"function": "h", "outcome": "returned"}

    def taken_back() -> float:
        return REGISTRY.get_sample_value("gearmanny_records_taken_back_total", taken) or 0

    before = taken_back()
    database.execute("DELETE FROM gearmanny_processes")  # whoever has no row is dead
    options = DispatchOptions(hosts=(parse_host(gearman_server.host),))
    dispatcher = Dispatcher(database.open(), options)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        until(lambda: taken_back() == before + 1, "a job that is taken back")
    finally:
        dispatcher.stop()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_store_that_is_away_is_told_to_prometheus(own_postgres: Postgres) -> None:
    registry = CollectorRegistry()
    store = SQLStore(url_of(own_postgres.settings()))
    registry.register(RecordCollector(store))
    own_postgres.stop()
    assert registry.get_sample_value("gearmanny_store_up") == 0
