"""Jobs with a record whose attempts fail: they wait in the store, and not in a process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gearmanny.client import SimpleClient
from gearmanny.dispatching.dispatcher import Dispatcher
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.net.hosts import parse_host
from gearmanny.records.states import State
from gearmanny.testing import running
from tests.contract.records.conftest import Database, url_of
from tests.support.cancelled import Trying
from tests.support.recorded import Caller, runs
from tests.support.servers import PATIENCE, Server, until

RunTrying = Callable[..., Trying]


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
def caller(database: Database, gearman_server: Server) -> Caller:
    return Caller(database.open(), gearman_server)


@pytest.fixture
def run(database: Database, gearman_worker: Callable[..., Any]) -> RunTrying:
    def run(**options: Any) -> Trying:
        worker: Trying = gearman_worker(Trying, records=database.open(), **options)
        return worker

    return run


@pytest.fixture
def dispatcher(database: Database, gearman_server: Server) -> Iterator[None]:
    """Hands over what is due."""
    hosts = (parse_host(gearman_server.host),)
    dispatcher = Dispatcher(database.open(), DispatchOptions(hosts=hosts))
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    yield
    dispatcher.stop()
    thread.join(PATIENCE)


@pytest.mark.usefixtures("dispatcher")
class TestAJobThatFails:
    @pytest.mark.parametrize(
        ("function", "arguments", "result"),
        [
            ("plain", {}, "3"),
            ("later", {}, "3"),
            ("parts", {}, "[0,3]"),
            ("parts_later", {}, "[0,3]"),
            ("changed", {"values": [1]}, "[1,3]"),
        ],
    )
    def test_is_tried_again_and_keeps_what_its_attempts_failed_with(
        self, run: RunTrying, caller: Caller, function: str, arguments: Any, result: str
    ) -> None:
        worker = run()
        id = caller.call(f"trying_{function}", arguments)
        done = caller.until(id, State.SUCCEEDED)
        assert (done.result, done.attempts, done.failures) == (result, 3, 2)
        errors = [json.loads(error) for error in done.errors]
        assert [error["event"] for error in errors] == ["retried", "retried"]
        assert [error["error"]["gearmanny_error"]["message"] for error in errors] == [
            "attempt 1",
            "attempt 2",
        ]
        assert all(error["started"] <= error["ended"] for error in errors)
        assert done.number == 3
        assert worker.seen == [(1, "ValueError"), (2, "ValueError"), (3, "")]
        caller.until_answered(f"trying_{function}")

    def test_as_often_as_it_may_has_failed_until_somebody_revives_it(
        self, run: RunTrying, caller: Caller
    ) -> None:
        worker = run()
        id = caller.call("trying_hopeless")
        assert caller.error(id)["message"] == "attempt 2"
        failed = caller.look(id)
        assert (failed.failures, len(failed.errors)) == (2, 2)
        assert caller.store.revive(id)
        until(lambda: caller.look(id).attempts == 4, "two more attempts")
        assert caller.error(id)["message"] == "attempt 2"
        assert len(caller.look(id).errors) == 4
        assert [attempt for attempt, _ in worker.seen] == [1, 2, 1, 2]

    def test_by_its_time_limit_is_tried_again_where_that_is_a_reason(
        self, run: RunTrying, caller: Caller
    ) -> None:
        run()
        id = caller.call("trying_hasty")
        done = caller.until(id, State.SUCCEEDED)
        assert (done.result, done.failures) == ('"in time"', 1)

    @pytest.mark.parametrize("function", ["unreckoned", "unreckoned_later"])
    def test_and_whose_backoff_fails_says_both(
        self, run: RunTrying, caller: Caller, function: str
    ) -> None:
        run()
        id = caller.call(f"trying_{function}")
        assert caller.error(id)["message"] == (
            "The backoff after attempt 1 failed with builtins.ZeroDivisionError: division by "
            "zero. The attempt had failed with builtins.ValueError: no luck"
        )


class TestAJobThatWaitsForItsNextAttempt:
    def test_leaves_its_process_to_others_for_days(
        self, run: RunTrying, caller: Caller, caplog: pytest.LogCaptureFixture
    ) -> None:
        run()
        id = caller.call("trying_tomorrow")
        caller.until_answered("trying_tomorrow")
        waiting = caller.look(id)
        assert (waiting.state, waiting.failures) == (State.QUEUED, 1)
        assert waiting.due - waiting.created > timedelta(hours=23)
        other = caller.call("trying_pid")
        caller.until(other, State.SUCCEEDED)
        # As gearmand does whose worker dies before it has answered.
        caller.hand_over("trying_tomorrow", id)
        caller.until_answered("trying_tomorrow")
        assert caller.look(id).attempts == 1

    def test_can_be_cancelled(self, run: RunTrying, caller: Caller) -> None:
        run()
        id = caller.call("trying_tomorrow")
        caller.until_answered("trying_tomorrow")
        assert caller.store.cancel(id) is State.CANCELLED

    def test_longer_than_databases_can_has_failed(self, run: RunTrying, caller: Caller) -> None:
        run()
        id = caller.call("trying_never")
        assert caller.error(id)["message"] == (
            "The backoff after attempt 1 must be a number of seconds from 0 to 3e9, not "
            "10000000000.0. The attempt had failed with builtins.ValueError: not in this life"
        )


def test_an_attempt_that_fails_while_its_worker_stops_counts(
    run: RunTrying, caller: Caller, tmp_path: Path
) -> None:
    worker = run()
    path = tmp_path / "go"
    id = caller.call("trying_wait_and_fail", {"path": str(path)})
    until(lambda: runs(path), "the attempt")
    worker.stop()
    path.touch()
    waiting = caller.until(id, State.QUEUED)
    assert (waiting.failures, waiting.attempts) == (1, 1)
    caller.until_answered("trying_wait_and_fail")


def test_an_attempt_that_fails_though_its_job_server_was_lost_counts(
    database: Database, caller: Caller, network: Any, tmp_path: Path
) -> None:
    with running(Trying(hosts=[network.host], records=database.open())):
        path = tmp_path / "go"
        id = caller.call("trying_wait_and_fail", {"path": str(path)})
        until(lambda: runs(path), "the attempt")
        network.drop()
        path.touch()
        until(lambda: caller.look(id).failures, "its failure")


def test_a_failure_of_a_job_that_somebody_else_has_is_dropped(
    run: RunTrying,
    caller: Caller,
    database: Database,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run()
    path = tmp_path / "go"
    id = caller.call("trying_wait_and_fail", {"path": str(path)})
    until(lambda: runs(path), "the attempt")
    database.execute("UPDATE gearmanny_jobs SET claim = 1")
    path.touch()
    caller.until_answered("trying_wait_and_fail")
    assert "somebody else has taken its record over" in caplog.text
    assert (caller.look(id).state, caller.look(id).failures) == (State.RUNNING, 0)


def test_a_job_that_is_cancelled_at_that_moment_is_not_tried_again(
    run: RunTrying, caller: Caller, database: Database, tmp_path: Path
) -> None:
    """Before its process has heard of it."""
    run()
    path = tmp_path / "go"
    id = caller.call("trying_wait_and_fail", {"path": str(path)})
    until(lambda: runs(path), "the attempt")
    assert caller.store.cancel(id) is State.RUNNING
    path.touch()
    caller.until(id, State.CANCELLED)


def test_a_job_without_a_record_is_tried_again_where_it_is(
    run: RunTrying, gearman_client: SimpleClient
) -> None:
    worker = run()
    assert gearman_client.trying_plain() == 3
    assert [attempt for attempt, _ in worker.seen] == [1, 2, 3]
