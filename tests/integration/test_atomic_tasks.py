"""Tasks whose writes and the end of their job are one transaction."""

from __future__ import annotations

import contextlib
import functools
import logging
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gearmanny.client import SimpleClient
from gearmanny.errors import InvalidOption, JobCancelled, TaskError
from gearmanny.records.states import State
from gearmanny.testing import eager, running
from gearmanny.workrunner import WorkRunner
from tests.contract.records.conftest import Database, url_of
from tests.support.atomic import Account, Commit, transaction
from tests.support.recorded import Caller, runs, wait_for
from tests.support.servers import PATIENCE, Server, until
from tools.proxies import Proxy, proxy


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Account, "interferes", [])
    monkeypatch.setattr(Commit, "before", staticmethod(lambda: None))


@pytest.fixture
def database(postgres_database: dict[str, Any]) -> Iterator[Database]:
    database = Database(url_of(postgres_database))
    database.execute("CREATE TABLE written (value integer)")
    yield database
    database.close()


@pytest.fixture
def caller(database: Database, gearman_server: Server) -> Caller:
    return Caller(database.open(), gearman_server)


@pytest.fixture
def network(database: Database, postgres_database: dict[str, Any]) -> Iterator[Proxy]:
    """A network between the task and its database, which breaks on demand."""
    with proxy(int(postgres_database["PORT"])) as made:
        yield made


@pytest.fixture
def worker(
    database: Database, gearman_server: Server, network: Proxy, postgres_database: dict[str, Any]
) -> Iterator[Account]:
    entry = {**postgres_database, "PORT": network.host.rpartition(":")[2]}
    worker = Account(
        hosts=[gearman_server.host],
        records=database.open(),
        transaction=functools.partial(transaction, url_of(entry)),
    )
    with running(worker):
        yield worker


def written(database: Database) -> list[int]:
    return [value for (value,) in database.execute("SELECT value FROM written ORDER BY value")]


def logged(caplog: pytest.LogCaptureFixture, action: str) -> int:
    return sum(getattr(record, "action", None) == action for record in caplog.records)


def raising(error: BaseException) -> Callable[[], object]:
    def interfere() -> None:
        raise error

    return interfere


@pytest.mark.usefixtures("worker")
class TestAnAtomicTask:
    def test_is_committed_with_the_end_of_its_job(
        self, database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Any] = []

        def look() -> None:
            seen.append((written(database), caller.look(id).state, caller.at_server(function)))

        function = "account_write"
        monkeypatch.setattr(Commit, "before", staticmethod(look))
        id = caller.submit(function, {"value": 1})
        caller.hand_over(function, id)
        assert caller.until(id, State.SUCCEEDED).result == "1"
        assert written(database) == [1]
        assert seen == [([], State.RUNNING, [1, 1])]
        caller.until_answered(function)

    def test_may_be_a_generator(self, database: Database, caller: Caller) -> None:
        id = caller.call("account_write_all", {"values": [1, 2]})
        assert caller.until(id, State.SUCCEEDED).result == "[1,2]"
        assert written(database) == [1, 2]

    @pytest.mark.parametrize(
        ("function", "kind"),
        [
            ("fail", "builtins.ValueError"),
            ("unencodable", "gearmanny.errors.EncodingError"),
            ("endless", "gearmanny.errors.TaskTimeLimitExceeded"),
            ("returns_a_coroutine", "gearmanny.errors.InvalidTask"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:coroutine 'Account.soon'")
    def test_that_fails_has_written_nothing(
        self, database: Database, caller: Caller, function: str, kind: str
    ) -> None:
        id = caller.call(f"account_{function}", {"value": 1})
        assert caller.error(id)["type"] == kind
        assert written(database) == []

    def test_has_a_transaction_for_each_attempt(self, database: Database, caller: Caller) -> None:
        id = caller.call("account_second", {"value": 1})
        caller.until_answered("account_second")
        assert (caller.look(id).state, caller.look(id).failures) == (State.QUEUED, 1)
        assert written(database) == []
        caller.hand_over("account_second", id)
        caller.until(id, State.SUCCEEDED)
        assert written(database) == [1]

    def test_that_is_cancelled_is_rolled_back(
        self, database: Database, caller: Caller, tmp_path: Path
    ) -> None:
        path = tmp_path / "go"
        id = caller.call("account_wait", {"value": 1, "path": str(path)})
        until(lambda: runs(path), "the task running")
        assert caller.store.cancel(id) is State.RUNNING
        caller.until(id, State.CANCELLED)
        caller.until_answered("account_wait")
        assert written(database) == []

    def test_whose_transaction_its_cancellation_breaks_is_not_run_again(
        self, database: Database, caller: Caller
    ) -> None:
        def break_down() -> None:
            caller.store.cancel(id)
            try:
                wait_for("/nowhere")
            except JobCancelled:
                raise psycopg.errors.AdminShutdown from None

        Account.interferes.append(break_down)
        id = caller.submit("account_write", {"value": 1})
        caller.hand_over("account_write", id)
        caller.until(id, State.CANCELLED)
        assert written(database) == []

    def test_that_is_cancelled_at_its_commit_has_succeeded(
        self, database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cancelling: list[Future[State | None]] = []

        def cancel() -> None:
            cancelling.append(pool.submit(database.open().cancel, id))
            until(lambda: waiting(database) == 1, "the cancellation waiting for the COMMIT")

        monkeypatch.setattr(Commit, "before", staticmethod(cancel))
        with ThreadPoolExecutor() as pool:
            id = caller.submit("account_write", {"value": 1})
            caller.hand_over("account_write", id)
            caller.until_answered("account_write")
        assert cancelling[0].result() is State.SUCCEEDED
        assert caller.look(id).state is State.SUCCEEDED
        assert written(database) == [1]

    def test_whose_job_was_taken_from_it_is_rolled_back(
        self, database: Database, caller: Caller, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        caplog.set_level(logging.INFO, "gearmanny")
        path = tmp_path / "go"
        id = caller.call("account_wait", {"value": 1, "path": str(path)})
        until(lambda: runs(path), "the task running")
        database.execute("UPDATE gearmanny_jobs SET claim = 1")
        path.touch()
        caller.until_answered("account_wait")
        assert logged(caplog, "job_skipped") == 1
        assert written(database) == []
        assert caller.look(id).state is State.RUNNING

    @pytest.mark.parametrize(
        "error", [psycopg.errors.SerializationFailure(), psycopg.errors.DeadlockDetected()]
    )
    def test_that_met_another_transaction_is_run_again(
        self,
        database: Database,
        caller: Caller,
        caplog: pytest.LogCaptureFixture,
        error: psycopg.Error,
    ) -> None:
        Account.interferes.extend([raising(error), raising(error)])
        id = caller.call("account_write_all", {"values": [1, 2]})
        done = caller.until(id, State.SUCCEEDED)
        assert (done.result, done.attempts, done.failures) == ("[1,2]", 1, 0)
        assert written(database) == [1, 2]
        assert logged(caplog, "job_rerun") == 2

    def test_that_conflicts_for_real_is_run_again(
        self, database: Database, caller: Caller, caplog: pytest.LogCaptureFixture
    ) -> None:
        database.execute("INSERT INTO written (value) VALUES (0)")

        def conflict() -> None:
            Account.connection.rollback()
            Account.connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            Account.connection.execute("SELECT * FROM written")
            database.execute("UPDATE written SET value = value + 10")
            Account.connection.execute("UPDATE written SET value = value + 1")

        Account.interferes.append(conflict)
        id = caller.call("account_write", {"value": 1})
        caller.until(id, State.SUCCEEDED)
        assert written(database) == [1, 10]
        assert logged(caplog, "job_rerun") == 1

    def test_that_loses_its_connection_is_run_again(
        self, database: Database, caller: Caller, caplog: pytest.LogCaptureFixture
    ) -> None:
        def kill() -> None:
            pid = Account.connection.info.backend_pid
            database.execute("SELECT pg_terminate_backend(%s)", pid)
            Account.connection.execute("SELECT 1")

        Account.interferes.append(kill)
        id = caller.call("account_write", {"value": 1})
        assert caller.until(id, State.SUCCEEDED).failures == 0
        assert written(database) == [1]
        assert logged(caplog, "job_rerun") == 1

    def test_that_is_lost_again_and_again_fails_at_last(
        self, database: Database, caller: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gearmanny.working.decisions.MAX_RUNS", 3)
        error = psycopg.errors.SerializationFailure("again")
        Account.interferes.extend([raising(error)] * 9)
        id = caller.call("account_write", {"value": 1})
        assert caller.error(id)["type"] == "psycopg.errors.SerializationFailure"
        assert len(Account.interferes) == 6
        assert written(database) == []


@pytest.mark.usefixtures("worker")
class TestACommitThatIsNotAnswered:
    def test_and_was_executed_is_the_end(
        self, database: Database, caller: Caller, network: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def commit_unseen() -> None:
            Account.connection.pgconn.send_query(b"COMMIT")
            until(lambda: written(database) == [1], "the COMMIT")
            network.drop()

        monkeypatch.setattr(Commit, "before", staticmethod(commit_unseen))
        id = caller.call("account_write", {"value": 1})
        caller.until_answered("account_write")
        done = caller.look(id)
        assert (done.state, done.result, done.attempts) == (State.SUCCEEDED, "1", 1)
        assert written(database) == [1]

    def test_and_never_arrived_lets_the_task_run_again(
        self,
        database: Database,
        caller: Caller,
        network: Proxy,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def drop_once() -> None:
            monkeypatch.setattr(Commit, "before", staticmethod(lambda: None))
            network.drop()

        monkeypatch.setattr(Commit, "before", staticmethod(drop_once))
        id = caller.call("account_write", {"value": 1})
        caller.until_answered("account_write")
        assert caller.look(id).state is State.SUCCEEDED
        assert written(database) == [1]
        assert logged(caplog, "job_rerun") == 1

    def test_and_may_still_be_under_way_is_waited_for(
        self, database: Database, caller: Caller, network: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A row is locked that a deferred trigger of the first COMMIT needs."""
        database.execute("CREATE TABLE gate (open boolean)")
        database.execute("INSERT INTO gate VALUES (FALSE)")
        database.execute(
            "CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM 1 FROM gate FOR UPDATE; RETURN NULL; END'"
        )
        database.execute(
            "CREATE CONSTRAINT TRIGGER held AFTER INSERT ON written DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION pass()"
        )
        holder = database.begin()
        holder.execute("SELECT 1 FROM gate FOR UPDATE")

        def commit_and_vanish() -> None:
            Account.connection.pgconn.send_query(b"COMMIT")
            until(lambda: waiting(database) == 1, "the COMMIT waiting")
            network.drop()

        monkeypatch.setattr(Commit, "before", staticmethod(commit_and_vanish))
        id = caller.call("account_write", {"value": 1})
        until(lambda: waiting(database) == 2, "the worker waiting for the COMMIT")
        assert caller.at_server("account_write") == [1, 1]
        holder.execute("COMMIT")
        caller.until_answered("account_write")
        assert caller.look(id).attempts == 1
        assert caller.look(id).state is State.SUCCEEDED
        assert written(database) == [1]


def waiting(database: Database) -> int:
    return len(
        database.execute(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database()"
        )
    )


@pytest.mark.usefixtures("worker")
class TestAnErrorAtCommit:
    """A constraint that is looked at no earlier."""

    @pytest.fixture(autouse=True)
    def constraint(self, database: Database, worker: Account) -> None:
        database.execute("ALTER TABLE written ADD UNIQUE (value) DEFERRABLE INITIALLY DEFERRED")
        database.execute("INSERT INTO written VALUES (1)")

    def test_is_the_failure_of_its_job(self, database: Database, caller: Caller) -> None:
        id = caller.call("account_write", {"value": 1})
        assert caller.error(id)["type"] == "psycopg.errors.UniqueViolation"
        caller.until_answered("account_write")
        assert written(database) == [1]

    def test_is_the_answer_to_a_caller_that_waits(
        self, database: Database, gearman_client: SimpleClient
    ) -> None:
        assert gearman_client.account_write(value=2) == 2
        with pytest.raises(TaskError) as failed:
            gearman_client.account_write(value=1)
        assert failed.value.type == "psycopg.errors.UniqueViolation"
        assert written(database) == [1, 2]


def test_on_sqlite_the_task_writes_into_the_file_of_the_store(
    tmp_path: Path, gearman_server: Server
) -> None:
    path = tmp_path / "jobs.db"
    database = Database(f"sqlite:///{path}")
    database.execute("CREATE TABLE written (value integer)")

    @contextlib.contextmanager
    def transaction() -> Iterator[Any]:
        connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level="IMMEDIATE")
        with contextlib.closing(connection), connection:
            Account.connection = connection
            yield connection

    caller = Caller(database.open(), gearman_server)
    worker = Account(hosts=[gearman_server.host], records=database.open(), transaction=transaction)
    with running(worker):
        done, failed = (
            caller.call("account_write", {"value": 1}),
            caller.call("account_fail", {"value": 2}),
        )
        caller.until(done, State.SUCCEEDED)
        caller.error(failed)
    assert written(database) == [1]
    database.close()


class TestWithoutATransaction:
    def test_no_worker_starts(self) -> None:
        with pytest.raises(
            InvalidOption, match=r"account_\w+\(\) is atomic, and its worker has no"
        ):
            Account(hosts=["127.0.0.1:1"]).start()

    def test_no_runner_is_made(self) -> None:
        with pytest.raises(
            InvalidOption, match=r"account_\w+\(\) is atomic, and its worker has no"
        ):
            WorkRunner([Account], hosts=["127.0.0.1:1"])

    def test_a_call_in_eager_mode_fails(self) -> None:
        with (
            eager([Account]),
            SimpleClient(["127.0.0.1:1"]) as client,
            pytest.raises(TaskError, match="its worker has no transaction"),
        ):
            client.account_write(value=1)


def test_in_eager_mode_there_may_be_a_transaction(database: Database) -> None:
    factory = functools.partial(transaction, database.url)
    with eager([Account], transaction=factory), SimpleClient(["127.0.0.1:1"]) as client:
        assert client.account_write(value=1) == 1
    assert written(database) == [1]
