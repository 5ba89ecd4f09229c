"""Tasks that are tried again: when, with what, and what becomes of the job meanwhile."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import InvalidArguments, JobServerLost, TaskError, TaskTimeLimitExceeded
from gearmanny.testing import running
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker, JsonWorker, task
from tests.support.servers import PATIENCE, RunWorker, Server, until


class Moody(BaseWorker):
    """Each of its tasks fails until the attempt that it is told."""

    name = "moody"

    def setUp(self) -> None:
        self.attempts: list[int] = []

    def fail_until(self, attempt: int, error: BaseException) -> int:
        self.attempts.append(self.job.attempt)
        if self.job.attempt < attempt:
            raise error
        return self.job.attempt

    @task(retries=3, backoff=0)
    def task_any(self, until: int) -> int:
        return self.fail_until(until, ValueError(f"attempt {self.job.attempt}"))

    @task(retries=3, retry_on=OSError, backoff=0)
    def task_picky(self, until: int, by_connection: bool) -> int:
        return self.fail_until(until, ConnectionError() if by_connection else ValueError())

    @task(retries=3, backoff=0)
    def task_refusing(self) -> int:
        return self.fail_until(9, InvalidArguments("not these"))

    @task(retries=3, backoff=0)
    def task_consume(self, items: list[int]) -> list[int]:
        taken = [items.pop() for _ in list(items)]
        self.fail_until(3, ValueError())
        return taken

    @task(retries=3, backoff=0)
    def task_stream(self, ahead: int) -> Iterator[int]:
        yield from range(ahead)
        self.fail_until(2, ValueError())
        yield 7

    @task(retries=2, retry_on=TaskTimeLimitExceeded, timeout=0.3, backoff=0)
    def task_slow(self, until: int) -> int:
        self.attempts.append(self.job.attempt)
        while self.job.attempt < until:
            pass
        return self.job.attempt

    @task(retries=3, backoff=lambda attempt: "soon")  # type: ignore
    def task_misconfigured(self) -> int:
        return self.fail_until(9, ValueError("the task's own"))

    def task_plain(self) -> int:
        return self.fail_until(1, ValueError())


class Waiting(BaseWorker):
    """Fails, and then waits as good as for ever."""

    name = "waiting"

    @task(retries=3, backoff=1000)
    def task_once(self) -> str:
        raise OSError("not now")


class Succeeding(Waiting):
    def task_once(self) -> str:
        return f"done in attempt {self.job.attempt}"


@pytest.fixture
def worker(gearman_worker: RunWorker) -> Moody:
    return gearman_worker(Moody)


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    names = [record.action for record in caplog.records if record.name == "gearmanny.worker"]
    return [name for name in names if name.startswith("job_")]


def test_a_task_succeeds_in_a_later_attempt(
    worker: Moody, gearman_client: SimpleClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert gearman_client.moody_any(until=3) == 3
    assert worker.attempts == [1, 2, 3]
    assert actions(caplog) == ["job_retried", "job_retried"]
    record = caplog.records[-1]
    assert record.levelno == logging.WARNING
    assert (record.attempt, record.delay, record.function) == (2, 0.0, "moody_any")
    assert record.getMessage() == (
        "moody_any failed in attempt 2: builtins.ValueError: attempt 2; trying again in 0.0 s"
    )


def test_the_last_failure_is_the_answer(
    worker: Moody, gearman_client: SimpleClient, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TaskError, match=r"builtins\.ValueError: attempt 4"):
        gearman_client.moody_any(until=5)
    assert worker.attempts == [1, 2, 3, 4]
    assert actions(caplog) == ["job_retried"] * 3 + ["job_failed"]


def test_only_what_was_named_is_a_reason(worker: Moody, gearman_client: SimpleClient) -> None:
    assert gearman_client.moody_picky(until=2, by_connection=True) == 2
    worker.attempts.clear()
    with pytest.raises(TaskError, match="ValueError"):
        gearman_client.moody_picky(until=2, by_connection=False)
    assert worker.attempts == [1]


def test_wrong_arguments_are_no_reason(worker: Moody, gearman_client: SimpleClient) -> None:
    for call in (gearman_client.moody_any, gearman_client.moody_refusing):
        with pytest.raises(TaskError, match="InvalidArguments"):
            call()
    assert worker.attempts == [1]  # of the task that found fault with them itself


def test_every_attempt_has_its_arguments_as_they_were_sent(
    worker: Moody, gearman_client: SimpleClient
) -> None:
    assert gearman_client.moody_consume(items=[1, 2, 3]) == [3, 2, 1]
    assert worker.attempts == [1, 2, 3]


def test_what_has_sent_data_is_not_tried_again(
    worker: Moody, gearman_async_client: AsyncClient, gearman_client: SimpleClient
) -> None:
    assert gearman_client.moody_stream(ahead=0) == [7]
    assert worker.attempts == [1, 2]
    with pytest.raises(TaskError):
        gearman_async_client.moody_stream(ahead=2).get_result(timeout=PATIENCE)
    assert worker.attempts == [1, 2, 1]


def test_every_attempt_has_its_own_time(worker: Moody, gearman_client: SimpleClient) -> None:
    assert gearman_client.moody_slow(until=3) == 3
    worker.attempts.clear()
    with pytest.raises(TaskError, match="TaskTimeLimitExceeded"):
        gearman_client.moody_slow(until=4)
    assert worker.attempts == [1, 2, 3]


def test_a_backoff_that_returns_nonsense_fails_the_job(
    worker: Moody, gearman_client: SimpleClient
) -> None:
    with pytest.raises(
        TaskError, match=r"InvalidOption: The backoff after attempt 1 must be .*, not 'soon'"
    ):
        gearman_client.moody_misconfigured()
    assert worker.attempts == [1]


def test_a_task_without_retries_is_in_its_first_attempt(
    worker: Moody, gearman_client: SimpleClient
) -> None:
    assert gearman_client.moody_plain() == 1


def test_hooks_wrap_every_attempt(gearman_server: Server, gearman_client: SimpleClient) -> None:
    seen: list[Any] = []

    @contextlib.contextmanager
    def hook(job: GearmanJob) -> Iterator[None]:
        seen.append(job.attempt)
        try:
            yield
        except ValueError:
            seen.append("failed")
            raise
        seen.append("done")

    class Hooked(Moody):
        hooks = (hook,)

    with running(Hooked([gearman_server.host])):
        gearman_client.moody_any(until=2)
    assert seen == [1, "failed", 2, "done"]


def test_a_job_class_needs_no_place_for_the_attempt(
    gearman_client: SimpleClient, gearman_worker: RunWorker
) -> None:
    class Counted(GearmanJob):  # type: ignore[misc]
        attempt = property(lambda self: 0)

    class CountedWorker(JsonWorker):
        job_class = Counted

    class Worker(BaseWorker):
        name = "counted"
        work_class = CountedWorker

        @task(retries=1, backoff=0)
        def task_twice(self, log: list[int] = []) -> int:  # noqa: B006  of both attempts
            log.append(1)
            if len(log) == 1:
                raise ValueError
            return len(log)

    gearman_worker(Worker)
    assert gearman_client.counted_twice() == 2


@pytest.mark.parametrize("background", [False, True])
def test_a_worker_that_stops_while_it_waits_gives_the_job_back(
    gearman_server: Server,
    gearman_async_client: AsyncClient,
    caplog: pytest.LogCaptureFixture,
    background: bool,
) -> None:
    caplog.set_level(logging.INFO, "gearmanny.worker")
    with running(Waiting([gearman_server.host])):
        work = gearman_async_client.using(background=background).waiting_once()
        until(lambda: "job_retried" in actions(caplog), "the first attempt")
    assert actions(caplog) == ["job_retried", "job_given_back"]
    with running(Succeeding([gearman_server.host])):
        if background:
            until(lambda: "job_answered" in actions(caplog), "the other worker")
        else:
            assert work.get_result(timeout=PATIENCE) == "done in attempt 1"
    assert "job_failed" not in actions(caplog)


def test_a_job_whose_server_went_is_not_tried_again(
    gearman_server: Server, gearman_async_client: AsyncClient, gearman_worker: RunWorker
) -> None:
    gone = threading.Event()

    class Worker(Moody):
        def task_other(self) -> list[int]:
            return self.attempts

        @task(retries=3, backoff=lambda _: gone.wait(PATIENCE) * 0.0)
        def task_any(self, until: int) -> int:
            return self.fail_until(until, OSError())

    worker = gearman_worker(Worker)
    work = gearman_async_client.moody_any(until=9)
    until(lambda: worker.attempts, "the first attempt")
    gearman_server.stop()
    with pytest.raises(JobServerLost):
        work.get_result(timeout=PATIENCE)
    gearman_server.start()
    gone.set()
    assert gearman_async_client.moody_other().get_result(timeout=PATIENCE) == [1]


def test_what_comes_during_a_wait_is_served_after_it(
    gearman_server: Server, gearman_async_client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()

    class Worker(Moody):
        prefetch = 3

        @task(retries=1, backoff=lambda _: go_on.wait(PATIENCE) * 0.01)
        def task_any(self, until: int) -> int:
            return self.fail_until(until, OSError())

    worker = Worker([gearman_server.host])
    with running(worker):
        first = gearman_async_client.moody_any(until=2)
        until(lambda: worker.attempts, "the first attempt")
        others = [gearman_async_client.moody_plain() for _ in range(10)]
        go_on.set()
        assert first.get_result(timeout=PATIENCE) == 2
        assert [other.get_result(timeout=PATIENCE) for other in others] == [1] * 10
    assert actions(caplog) == ["job_retried"]
    assert worker.attempts == [1, 2, *[1] * 10]
