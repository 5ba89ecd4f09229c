"""Who listens to the jobs of a worker: one report of each end, which cannot hurt a job."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gearmanny.client import SimpleClient
from gearmanny.dispatching.dispatcher import Dispatcher
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.errors import RejectJob, TaskError
from gearmanny.net.hosts import parse_host
from gearmanny.records.sql import SQLStore
from gearmanny.vocabulary.gearman_api import Job
from gearmanny.worker import BaseWorker, task
from tests.support.servers import PATIENCE, Server, until


class Listener:
    """Keeps what it is told, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.listens = True
        self.threads: set[str] = set()
        self.error: BaseException | None = None

    def started(self, kind: type, job: Any) -> None:
        self.note("started", kind, job)

    def succeeded(self, kind: type, job: Any) -> None:
        self.note("succeeded", kind, job)

    def failed(self, kind: type, job: Any, error: BaseException, will_retry: bool) -> None:
        self.note("failed", kind, job, type(error).__name__, will_retry)

    def note(self, what: str, kind: type, job: Any, *more: Any) -> None:
        self.heard.append((what, kind.__name__, job.function, job.attempt, *more))
        self.threads.add(threading.current_thread().name)
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def refusing(job: Job) -> Iterator[None]:
    if job.data.get("value") == "refused":
        raise RejectJob("not this one")
    yield


class Heard(BaseWorker):
    name = "heard"
    hooks = [refusing]

    def setUp(self) -> None:
        self.register_task("heard_exception", sending_exception)

    def task_echo(self, value: Any) -> Any:
        return value

    async def task_echo_later(self, value: Any) -> Any:
        return value

    def task_set(self, value: Any) -> set[Any]:
        return {value}

    def task_fail(self) -> None:
        raise ValueError("no luck")

    async def task_fail_later(self) -> None:
        raise ValueError("no luck")

    @task(retries=1, backoff=0)
    def task_second(self) -> int:
        return self.second()

    @task(retries=1, backoff=0)
    async def task_second_later(self) -> int:
        return self.second()

    def second(self) -> int:
        attempt: int = self.job.attempt
        if attempt == 1:
            raise ValueError("not yet")
        return attempt

    @task(retries=1, backoff=0)
    def task_hopeless(self) -> None:
        raise ValueError("no luck")


def sending_exception(worker: Any, job: Any) -> None:
    worker.connection_to_handler_map[job.connection].send_job_exception(job, "no luck")
    return


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    with contextlib.closing(SQLStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        yield store


@pytest.fixture(params=["plain", "recorded"])
def is_recorded(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "recorded")


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def call(
    listener: Listener,
    store: SQLStore,
    is_recorded: bool,
    gearman_server: Server,
    gearman_worker: Callable[..., Any],
) -> Iterator[Callable[..., Any]]:
    """Calls a task of a worker with a listener, recorded or not, and waits for the answer."""
    gearman_worker(Heard, records=store, listener=listener)
    dispatcher = Dispatcher(store, DispatchOptions(hosts=(parse_host(gearman_server.host),)))
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    with SimpleClient([gearman_server.host], timeout=3 * PATIENCE, records=store) as client:

        def call(function: str, **arguments: Any) -> Any:
            if is_recorded:
                work = client.using(background=True).call(function, **arguments)
                return work.get_result(timeout=3 * PATIENCE)
            return client.call(function, **arguments)

        yield call
    dispatcher.stop()
    thread.join(PATIENCE)


def heard(listener: Listener, *expected: tuple[Any, ...]) -> None:
    """Waits until a listener has heard as much; compares it."""
    until(lambda: len(listener.heard) >= len(expected), f"{len(expected)} reports")
    assert listener.heard == [(what, "Heard", *more) for what, *more in expected]
    listener.heard.clear()


Call = Callable[..., Any]


class TestAJob:
    @pytest.mark.parametrize("function", ["heard_echo", "heard_echo_later"])
    def test_that_succeeds(self, call: Call, listener: Listener, function: str) -> None:
        for _ in range(2):
            assert call(function, value=1) == 1
            heard(listener, ("started", function, 1), ("succeeded", function, 1))

    @pytest.mark.parametrize("function", ["heard_fail", "heard_fail_later"])
    def test_that_fails(self, call: Call, listener: Listener, function: str) -> None:
        for _ in range(2):
            with pytest.raises(TaskError, match="no luck"):
                call(function)
            heard(
                listener,
                ("started", function, 1),
                ("failed", function, 1, "ValueError", False),
            )

    @pytest.mark.parametrize(
        ("function", "arguments", "error"),
        [
            ("heard_echo", {"valeu": 1}, "InvalidArguments"),
            ("heard_echo", {"value": "refused"}, "RejectJob"),
            ("heard_echo_later", {"value": "refused"}, "RejectJob"),
            ("heard_set", {"value": 1}, "EncodingError"),
        ],
    )
    def test_that_fails_outside_of_its_task(
        self, call: Call, listener: Listener, function: str, arguments: Any, error: str
    ) -> None:
        with pytest.raises(TaskError):
            call(function, **arguments)
        heard(listener, ("started", function, 1), ("failed", function, 1, error, False))

    @pytest.mark.parametrize("function", ["heard_second", "heard_second_later"])
    def test_that_is_tried_again(self, call: Call, listener: Listener, function: str) -> None:
        assert call(function) == 2
        heard(
            listener,
            ("started", function, 1),
            ("failed", function, 1, "ValueError", True),
            ("started", function, 2),
            ("succeeded", function, 2),
        )

    def test_that_fails_for_good_has_one_last_failure(self, call: Call, listener: Listener) -> None:
        with pytest.raises(TaskError):
            call("heard_hopeless")
        heard(
            listener,
            ("started", "heard_hopeless", 1),
            ("failed", "heard_hopeless", 1, "ValueError", True),
            ("started", "heard_hopeless", 2),
            ("failed", "heard_hopeless", 2, "ValueError", False),
        )

    def test_that_answers_with_an_exception_itself(self, call: Call, listener: Listener) -> None:
        with pytest.raises(TaskError):
            call("heard_exception")
        heard(
            listener,
            ("started", "heard_exception", 1),
            ("failed", "heard_exception", 1, "GearmanException", False),
        )


@pytest.mark.parametrize("error", [ValueError("of a listener"), SystemExit(3)])
def test_an_error_of_a_listener_is_logged_and_hurts_no_job(
    call: Call, listener: Listener, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    listener.error = error
    with caplog.at_level(logging.ERROR, "gearmanny"):
        for function in ("heard_echo", "heard_echo_later"):
            assert call(function, value=1) == 1
        assert call("heard_second") == 2
        until(lambda: len(listener.heard) == 8, "all reports")
        until(lambda: len(caplog.records) == 8, "their errors")
    assert {getattr(record, "action", "") for record in caplog.records} == {"report_failed"}


class TestAroundCoroutines:
    @pytest.mark.parametrize("listens", [True, False])
    def test_it_is_called_where_synchronous_hooks_are(
        self, call: Call, listener: Listener, listens: bool
    ) -> None:
        listener.listens = listens
        call("heard_second_later")
        until(lambda: len(listener.heard) == 4, "all reports")
        in_loop = {name for name in listener.threads if name == "gearmanny event loop"}
        assert bool(in_loop) != listens
