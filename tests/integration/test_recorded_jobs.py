"""Jobs with a record: claimed by workers, and finished in the store before their job server is
answered."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claimed
from gearmanny.testing import running
from gearmanny.worker import BaseWorker
from gearmanny.working import membership
from tests.contract.records.conftest import Database, url_of
from tests.support.recorded import Bytes, Caller, Recorded, runs
from tests.support.servers import PATIENCE, Server, until

RunRecorded = Callable[..., BaseWorker]

NOBODY = "018f0000-0000-7000-8000-000000000000"


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "postgresql":
        url = url_of(request.getfixturevalue("postgres_database"))
    else:
        url = f"sqlite:///{tmp_path / 'jobs.db'}"
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> SQLStore:
    """The store, with a session of the test's own."""
    return database.open()


@pytest.fixture
def caller(store: SQLStore, gearman_server: Server) -> Caller:
    return Caller(store, gearman_server)


@pytest.fixture
def run(database: Database, gearman_worker: Callable[..., Any]) -> RunRecorded:
    """Runs workers that have the store, in threads of this process."""

    def run(kind: type[BaseWorker] = Recorded, **options: Any) -> BaseWorker:
        worker: BaseWorker = gearman_worker(kind, **{"records": database.open(), **options})
        return worker

    return run


@pytest.fixture
def other_process(database: Database) -> tuple[SQLStore, str]:
    """Another process that may have jobs: a store with a session of its own, and its id."""
    store = database.open()
    return store, store.register(pool="other").id


def records(caplog: pytest.LogCaptureFixture, action: str) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if getattr(record, "action", None) == action
    ]


class TestEveryKindOfTask:
    @pytest.mark.parametrize(
        ("function", "arguments", "result"),
        [
            ("echo", {"value": [1, "two"]}, '[1,"two"]'),
            ("echo_later", {"value": "\0 and é"}, '"\\u0000 and é"'),
            ("numbers", {"count": 3}, "[0,1,2]"),
            ("numbers_later", {"count": 3}, "[0,1,2]"),
            ("registered", {"a": 1}, '[{"a":1},"j:"]'),
        ],
    )
    def test_runs_with_the_arguments_of_its_record_which_gets_the_whole_result(
        self, run: RunRecorded, caller: Caller, function: str, arguments: Any, result: str
    ) -> None:
        run()
        id = caller.call(f"recorded_{function}", arguments)
        done = caller.until(id, State.SUCCEEDED)
        assert (done.result, done.attempts, done.error) == (result, 1, None)
        caller.until_answered(f"recorded_{function}")

    @pytest.mark.parametrize(
        ("function", "result"), [("turn", b"\xff\0"), ("parts", b"\0\xff" * 2)]
    )
    def test_of_a_raw_worker_has_bytes(
        self, run: RunRecorded, caller: Caller, function: str, result: bytes
    ) -> None:
        run(Bytes)
        id = caller.call(f"bytes_{function}", b"\0\xff")
        assert caller.until(id, State.SUCCEEDED).result == result

    @pytest.mark.parametrize(
        ("function", "kind"),
        [
            ("fail", "builtins.ValueError"),
            ("fail_later", "builtins.ValueError"),
            ("unencodable", "gearmanny.errors.EncodingError"),
            ("endless", "gearmanny.errors.TaskTimeLimitExceeded"),
            ("echo", "gearmanny.errors.InvalidArguments"),
        ],
    )
    def test_that_fails_has_its_error_in_its_record(
        self, run: RunRecorded, caller: Caller, function: str, kind: str
    ) -> None:
        run()
        id = caller.call(f"recorded_{function}")
        assert caller.error(id)["type"] == kind
        failed = caller.look(id)
        assert (failed.failures, len(failed.errors)) == (1, 1)
        caller.until_answered(f"recorded_{function}")

    def test_continues_the_trace_of_its_caller(self, run: RunRecorded, caller: Caller) -> None:
        run()
        id = caller.call("recorded_traced", trace="00-0123-4567-01")
        assert caller.until(id, State.SUCCEEDED).result == '"00-0123-4567-01"'

    def test_that_has_no_record_runs_as_ever_beside_them(
        self, run: RunRecorded, caller: Caller, gearman_client: Any
    ) -> None:
        run()
        id = caller.call("recorded_echo", {"value": 1})
        assert gearman_client.recorded_echo(value=2) == 2
        assert gearman_client.recorded_echo_later(value=3) == 3
        caller.until(id, State.SUCCEEDED)


class TestAClaim:
    def test_of_a_job_without_a_record_is_refused_and_logged(
        self, run: RunRecorded, caller: Caller, caplog: pytest.LogCaptureFixture
    ) -> None:
        run()
        caller.hand_over("recorded_echo", NOBODY)
        caller.until_answered("recorded_echo")
        (line,) = records(caplog, "job_failed")
        assert "no record of this job" in line

    def test_of_a_job_of_another_store_is_refused_and_logged(
        self, run: RunRecorded, caller: Caller, caplog: pytest.LogCaptureFixture
    ) -> None:
        run()
        id = caller.submit("recorded_echo", {"value": 1})
        caller.hand_over("recorded_echo", id, store="0123abcd")
        caller.until_answered("recorded_echo")
        (line,) = records(caplog, "job_failed")
        assert "in the store 0123abcd" in line
        assert caller.store.id in line
        assert caller.look(id).state is State.QUEUED

    def test_under_another_function_is_refused(
        self, run: RunRecorded, caller: Caller, caplog: pytest.LogCaptureFixture
    ) -> None:
        run()
        id = caller.submit("recorded_fail")
        caller.hand_over("recorded_echo", id)
        caller.until_answered("recorded_echo")
        assert len(records(caplog, "job_failed")) == 1
        assert caller.look(id).state is State.QUEUED

    @pytest.mark.parametrize("how", ["cancelled", "done", "handed over again", "not due"])
    def test_of_a_job_that_is_not_to_be_run_now_is_skipped(
        self, run: RunRecorded, caller: Caller, caplog: pytest.LogCaptureFixture, how: str
    ) -> None:
        caplog.set_level(logging.INFO, "gearmanny")
        run()
        number = 1
        if how == "not due":
            id = caller.submit("recorded_echo", {"value": 1}, delay=100)
            number = 0
        else:
            id = caller.submit("recorded_echo", {"value": 1})
        if how == "cancelled":
            caller.store.cancel(id)
        elif how == "done":
            caller.hand_over("recorded_echo", id)
            caller.until(id, State.SUCCEEDED)
            caller.until_answered("recorded_echo")
        elif how == "handed over again":
            (before,) = caller.store.handed_before(0, 10)
            assert caller.store.hand_over_again([before], counts=False).handed
        before_it = caller.look(id)
        caller.hand_over("recorded_echo", id, number)
        until(lambda: records(caplog, "job_skipped"), "the job being skipped")
        caller.until_answered("recorded_echo")
        assert caller.look(id) == before_it

    def test_takes_over_from_an_owner_that_is_dead(
        self,
        run: RunRecorded,
        caller: Caller,
        other_process: tuple[SQLStore, str],
    ) -> None:
        other, process = other_process
        id = caller.submit("recorded_echo", {"value": 1})
        assert isinstance(other.claim(id, "recorded_echo", 1, process), Claimed)
        other.leave()  # and nobody has taken its jobs back
        run()
        caller.hand_over("recorded_echo", id)
        done = caller.until(id, State.SUCCEEDED)
        assert (done.attempts, done.deaths) == (2, 1)

    def test_leaves_a_job_whose_owner_may_live_to_it_and_to_the_dispatcher(
        self,
        run: RunRecorded,
        caller: Caller,
        other_process: tuple[SQLStore, str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO, "gearmanny")
        other, process = other_process
        id = caller.submit("recorded_echo", {"value": 1})
        claimed = other.claim(id, "recorded_echo", 1, process)
        assert isinstance(claimed, Claimed)
        run()
        caller.hand_over("recorded_echo", id)
        caller.until_answered("recorded_echo")
        assert "another process is running it" in records(caplog, "job_skipped")[0]
        assert (caller.look(id).state, caller.look(id).process) == (State.RUNNING, process)

    def test_looks_again_at_a_job_whose_owner_gives_it_back_at_last(
        self,
        run: RunRecorded,
        caller: Caller,
        database: Database,
        other_process: tuple[SQLStore, str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        other, process = other_process
        id = caller.submit("recorded_echo", {"value": 1})
        claimed = other.claim(id, "recorded_echo", 1, process)
        assert isinstance(claimed, Claimed)
        worker = database.open()
        take_over = worker.take_over

        def refused_once(refused: Any, *arguments: Any) -> Any:
            monkeypatch.setattr(worker, "take_over", take_over)
            answer = take_over(refused, *arguments)
            other.give_back(claimed.claim, Event.GIVEN_BACK)
            return answer

        monkeypatch.setattr(worker, "take_over", refused_once)
        run(records=worker)
        caller.hand_over("recorded_echo", id)
        assert caller.until(id, State.SUCCEEDED).attempts == 2

    def test_registers_a_worker_again_that_was_taken_for_dead(
        self, run: RunRecorded, caller: Caller
    ) -> None:
        run()
        (worker,) = caller.store.processes()
        caller.store.take_back(worker.id)
        id = caller.call("recorded_echo", {"value": 1})
        assert caller.until(id, State.SUCCEEDED).process == worker.id

    def test_at_a_worker_without_a_store_fails_and_says_what_to_do(
        self,
        gearman_worker: Callable[..., Any],
        caller: Caller,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        gearman_worker(Recorded)
        id = caller.call("recorded_echo", {"value": 1})
        caller.until_answered("recorded_echo")
        (line,) = records(caplog, "job_failed")
        assert "has no store of records" in line
        assert "records=" in line
        assert caller.look(id).state is State.QUEUED

    def test_that_only_looks_like_one_runs_without(
        self, run: RunRecorded, gearman_client: Any
    ) -> None:
        run()
        client = gearman_client.using(unique="j:mine")
        assert client.recorded_echo(value=1) == 1


def test_progress_is_written_before_the_next_sign_of_life(
    run: RunRecorded,
    caller: Caller,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(membership, "INTERVAL", 3600.0)
    run()
    path = tmp_path / "go"
    id = caller.call("recorded_wait", {"path": str(path)})
    until(lambda: caller.look(id).progress == (1, 3), "its progress")
    path.touch()
    caller.until(id, State.SUCCEEDED)


@pytest.mark.parametrize(
    ("function", "fails", "state"),
    [
        ("report", False, State.SUCCEEDED),
        ("report", True, State.FAILED),
        ("report_later", False, State.SUCCEEDED),
        ("report_twice", True, State.QUEUED),
    ],
)
def test_the_last_progress_is_written_with_the_end(
    run: RunRecorded, caller: Caller, tmp_path: Path, function: str, fails: bool, state: State
) -> None:
    run()
    path = tmp_path / "go"
    id = caller.call(f"recorded_{function}", {"path": str(path), "fails": fails})
    until(lambda: caller.look(id).progress == (1, 3), "its progress")
    path.touch()
    caller.until_answered(f"recorded_{function}")
    assert (caller.look(id).state, caller.look(id).progress) == (state, (2, 3))


class TestTheEnd:
    def test_is_written_before_the_job_server_is_answered(
        self, run: RunRecorded, caller: Caller, database: Database, tmp_path: Path
    ) -> None:
        run()
        path = tmp_path / "go"
        id = caller.call("recorded_wait", {"path": str(path)})
        until(lambda: runs(path), "the task running")
        until(lambda: caller.look(id).progress == (1, 3), "its progress")
        holder = database.begin()
        holder.execute("UPDATE gearmanny_jobs SET priority = 0")
        path.touch()
        if database.is_postgres:
            until(
                lambda: database.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND query LIKE '%%succeeded%%'"
                ),
                "the end waiting",
            )
        assert caller.at_server("recorded_wait") == [1, 1]
        assert caller.look(id).state is State.RUNNING
        holder.execute("COMMIT")
        caller.until(id, State.SUCCEEDED)
        caller.until_answered("recorded_wait")

    @pytest.mark.parametrize("function", ["wait", "wait_later"])
    def test_that_comes_too_late_is_dropped(
        self,
        run: RunRecorded,
        caller: Caller,
        database: Database,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        function: str,
    ) -> None:
        run()
        path = tmp_path / "go"
        id = caller.call(f"recorded_{function}", {"path": str(path)})
        until(lambda: runs(path), "the task running")
        database.execute("UPDATE gearmanny_jobs SET claim = 1")
        path.touch()
        caller.until_answered(f"recorded_{function}")
        assert len(records(caplog, "job_dropped")) == 1
        assert (caller.look(id).state, caller.look(id).result) == (State.RUNNING, None)

    @pytest.mark.parametrize("function", ["wait", "wait_later"])
    def test_is_written_though_the_job_server_was_lost(
        self,
        database: Database,
        caller: Caller,
        tmp_path: Path,
        network: Any,
        function: str,
    ) -> None:
        worker = Recorded(hosts=[network.host], records=database.open())
        with running(worker):
            path = tmp_path / "go"
            id = caller.call(f"recorded_{function}", {"path": str(path)})
            until(lambda: runs(path), "the task running")
            network.drop()
            path.touch()
            done = caller.until(id, State.SUCCEEDED)
            assert done.attempts == 1
            caller.until_answered(f"recorded_{function}")

    def test_of_a_job_that_an_interrupt_ends_is_its_return_too(
        self, database: Database, gearman_server: Server, caller: Caller
    ) -> None:
        worker = Recorded(hosts=[gearman_server.host], records=database.open())
        id = caller.call("recorded_interrupted")
        with pytest.raises(KeyboardInterrupt):
            worker.start()
        assert caller.look(id).state is State.QUEUED
        assert caller.at_server("recorded_interrupted") == [1, 0]
        assert caller.store.processes() == []

    def test_of_a_coroutine_that_is_cancelled_with_its_worker_is_its_return_too(
        self, database: Database, gearman_server: Server, caller: Caller, tmp_path: Path
    ) -> None:
        worker = Recorded(hosts=[gearman_server.host], records=database.open(), concurrency=2)
        path = tmp_path / "go"
        id = caller.call("recorded_wait_later", {"path": str(path)})
        with ThreadPoolExecutor() as pool:
            ended = pool.submit(worker.start)
            until(lambda: runs(path), "the coroutine")
            caller.call("recorded_interrupted")
            assert isinstance(ended.exception(PATIENCE), KeyboardInterrupt)
        returned = caller.look(id)
        assert (returned.state, returned.deaths) == (State.QUEUED, 0)


class TestAProcess:
    def test_has_another_thread_of_ours_when_it_has_forked(
        self, run: RunRecorded, caller: Caller
    ) -> None:
        run()
        id = caller.call("recorded_fork")
        done = caller.until(id, State.SUCCEEDED)
        assert isinstance(done.result, str)
        before, after = json.loads(done.result)
        assert len(before) == len(after) == 1
        assert before != after, "the first one had ended"

    def test_is_registered_while_it_works(
        self, database: Database, gearman_server: Server, caller: Caller
    ) -> None:
        worker = Recorded(hosts=[gearman_server.host], records=database.open())
        with running(worker):
            (process,) = caller.store.processes()
            assert '"recorded_echo": {"description"' in process.functions
            assert '"recorded_registered": {}' in process.functions
            assert process.client_id.startswith(f"recorded-{process.pid}@")
        assert caller.store.processes() == []

    def test_is_one_whatever_runs_in_it(
        self, database: Database, gearman_server: Server, caller: Caller
    ) -> None:
        store = database.open()
        first = Recorded(hosts=[gearman_server.host], records=store)
        second = Bytes(hosts=[gearman_server.host], records=store)
        with running(first):
            with running(second):
                assert len(caller.store.processes()) == 1
            assert len(caller.store.processes()) == 1
            id = caller.call("recorded_echo", {"value": 1})
            caller.until(id, State.SUCCEEDED)
        assert caller.store.processes() == []

    def test_runs_a_job_alone_that_processes_died_of(
        self, run: RunRecorded, caller: Caller, database: Database, tmp_path: Path
    ) -> None:
        run(concurrency=4)
        beside, alone = tmp_path / "beside", tmp_path / "alone"
        caller.call("recorded_wait_later", {"path": str(beside)})
        until(lambda: runs(beside), "the first task running")
        id = caller.submit("recorded_wait_later", {"path": str(alone)})
        database.execute("UPDATE gearmanny_jobs SET deaths = 1 WHERE state = 'queued'")
        caller.hand_over("recorded_wait_later", id)
        until(lambda: caller.look(id).attempts, "it being claimed")
        caller.until(id, State.QUEUED)
        assert not runs(alone)
        beside.touch()
        until(lambda: runs(alone), "the second task running")
        alone.touch()
        caller.until(id, State.SUCCEEDED)


class TestHooks:
    """Their errors are theirs alone: whether a job runs, and what becomes of it, is not theirs."""

    @pytest.mark.parametrize("moment", ["called", "entered", "left"])
    @pytest.mark.parametrize("function", ["echo", "echo_later"])
    def test_that_raise_change_nothing(
        self,
        database: Database,
        gearman_server: Server,
        caller: Caller,
        caplog: pytest.LogCaptureFixture,
        function: str,
        moment: str,
    ) -> None:
        class Hooked(Recorded):
            hooks = (RaisingHook(moment),)

        with running(Hooked(hosts=[gearman_server.host], records=database.open())):
            done = caller.until(caller.call(f"recorded_{function}", {"value": 1}), State.SUCCEEDED)
            caller.until_answered(f"recorded_{function}")
        assert (done.result, done.attempts, done.failures, done.errors) == ("1", 1, 0, [])
        assert records(caplog, "hook_failed")

    @pytest.mark.parametrize("function", ["fail", "fail_later"])
    def test_that_raise_hide_no_failure(
        self, database: Database, gearman_server: Server, caller: Caller, function: str
    ) -> None:
        class Hooked(Recorded):
            hooks = (RaisingHook("left"),)

        with running(Hooked(hosts=[gearman_server.host], records=database.open())):
            assert caller.error(caller.call(f"recorded_{function}"))["message"] == "no luck"


class RaisingHook:
    def __init__(self, moment: str) -> None:
        self._moment = moment

    def __call__(self, job: Any) -> Self:
        self._reach("called")
        return self

    def __enter__(self) -> None:
        self._reach("entered")

    def __exit__(self, *exc_info: object) -> None:
        self._reach("left")

    def _reach(self, moment: str) -> None:
        if moment == self._moment:
            raise RuntimeError(f"when it is {moment}")


@pytest.mark.parametrize("records", ["sqlite:///jobs.db", object()])
def test_what_is_no_store_is_refused_early(records: Any) -> None:
    with pytest.raises(InvalidOption, match=r"records must be a store, such as SQLStore\(") as info:
        Recorded(records=records)
    assert 'jobs.db"), not' in str(info.value)
