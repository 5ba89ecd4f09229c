"""Hooks: what they see, what they cannot do, and the one thing that they can."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any

import pytest

from gearmanny.client import SimpleClient
from gearmanny.errors import InvalidOption, RejectJob, TaskError, TaskTimeLimitExceeded
from gearmanny.hooks import Hook
from gearmanny.testing import running
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker, task
from gearmanny.workrunner import WorkRunner
from tests.support.servers import PATIENCE, ROOT, RunWorker, Server, end, until, workers_of


class Recorder:
    """A hook that keeps what it saw."""

    def __init__(self, letter: str, seen: list[str]) -> None:
        self.letter = letter
        self.seen = seen

    def __repr__(self) -> str:
        return f"<recorder {self.letter}>"

    @contextlib.contextmanager
    def __call__(self, job: GearmanJob) -> Iterator[None]:
        self.seen.append(f"{self.letter} in")
        try:
            yield
        except BaseException as error:
            self.seen.append(f"{self.letter} {type(error).__name__}")
            raise
        self.seen.append(f"{self.letter} out")


@contextlib.contextmanager
def failing_before(job: GearmanJob) -> Iterator[None]:
    raise OSError("no disk")
    yield


@contextlib.contextmanager
def failing_after(job: GearmanJob) -> Iterator[None]:
    try:
        yield
    finally:
        raise OSError("no disk")


@contextlib.contextmanager
def exiting_before(job: GearmanJob) -> Iterator[None]:
    sys.exit("no disk")
    yield


@contextlib.contextmanager
def exiting_after(job: GearmanJob) -> Iterator[None]:
    yield
    sys.exit("no disk")


def failing_when_called(job: GearmanJob) -> Any:
    raise OSError("no disk")


def returning_nothing(job: GearmanJob) -> Any:
    return None


class raising_anew:
    def __init__(self, job: GearmanJob) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if error is not None:
            raise error


@contextlib.contextmanager
def rejecting(job: GearmanJob) -> Iterator[None]:
    raise RejectJob("not on Sundays")
    yield


@contextlib.contextmanager
def rejecting_too_late(job: GearmanJob) -> Iterator[None]:
    yield
    raise RejectJob("too late")


@contextlib.contextmanager
def hiding(job: GearmanJob) -> Iterator[None]:
    with contextlib.suppress(BaseException):
        yield


@contextlib.contextmanager
def replacing(job: GearmanJob) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        raise KeyError("another") from error


class Task(BaseWorker):
    runs = 0

    def task_run(self) -> str:
        type(self).runs += 1
        return "done"

    def task_fail(self) -> None:
        raise ValueError("not so")

    @task(timeout=0.05)
    def task_spin(self) -> None:
        while True:
            pass

    @task(retries=3, backoff=0.0)
    def task_again(self) -> str:
        return self.task_run()


class Coroutine(BaseWorker):
    runs = 0

    async def task_run(self) -> str:
        type(self).runs += 1
        return "done"

    async def task_fail(self) -> None:
        raise ValueError("not so")

    @task(timeout=0.05)
    async def task_spin(self) -> None:
        await asyncio.sleep(PATIENCE)

    @task(retries=3, backoff=0.0)
    async def task_again(self) -> str:
        return await self.task_run()


class CoroutineBesideThreads(Coroutine):
    sync_to_async = staticmethod(lambda function: partial(asyncio.to_thread, function))


def asynchronous_twin(hook: Hook) -> Hook:
    """A hook that does the same, and can be entered by `async with` alone."""

    @contextlib.asynccontextmanager
    async def twin(job: GearmanJob) -> AsyncIterator[None]:
        with hook(job):
            await asyncio.sleep(0)
            yield

    twin.__qualname__ = getattr(hook, "__qualname__", repr(hook))
    return twin


Hooked = type[Task] | type[Coroutine]
Call = Callable[..., Any]


@pytest.fixture(params=[Task, Coroutine, CoroutineBesideThreads])
def hooked(request: pytest.FixtureRequest) -> Hooked:
    class Worker(request.param):  # type: ignore[misc]
        name = "hooked"

    return Worker


@pytest.fixture(params=[False, True], ids=["synchronous", "asynchronous"])
def as_given(request: pytest.FixtureRequest) -> Callable[[Hook], Hook]:
    """Makes of a hook one of the other kind, or leaves it as it is."""
    return asynchronous_twin if request.param else lambda hook: hook


@pytest.fixture
def call(
    gearman_server: Server,
    gearman_client: SimpleClient,
    hooked: Hooked,
    as_given: Callable[[Hook], Hook],
) -> Call:
    """Calls a task of a worker with these hooks, and waits until the worker has stopped."""

    def call(task: str, *hooks: Hook) -> Any:
        with running(hooked([gearman_server.host], hooks=[as_given(hook) for hook in hooks])):
            return gearman_client.call(f"hooked_{task}")

    return call


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [r for r in caplog.records if getattr(r, "action", "") == "hook_failed"]


def test_hooks_given_to_a_worker_are_outside_of_those_of_its_class(
    call: Call, hooked: Hooked
) -> None:
    seen: list[str] = []
    hooked.hooks = [Recorder("class", seen)]
    assert call("run", Recorder("given", seen)) == "done"
    assert seen == ["given in", "class in", "class out", "given out"]


def test_a_hook_sees_what_the_task_raised(call: Call) -> None:
    seen: list[str] = []
    with pytest.raises(TaskError, match="not so"):
        call("fail", Recorder("a", seen), Recorder("b", seen))
    assert seen == ["a in", "b in", "b ValueError", "a ValueError"]


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (failing_before, "failing_before"),
        (failing_when_called, "failing_when_called"),
        (failing_after, "failing_after"),
        (rejecting_too_late, "rejecting_too_late"),
        (returning_nothing, "returning_nothing"),
        (exiting_before, "exiting_before"),
        (exiting_after, "exiting_after"),
    ],
)
def test_a_hook_that_fails_is_logged_and_the_job_runs_inside_the_others(
    call: Call, caplog: pytest.LogCaptureFixture, bad: Hook, name: str
) -> None:
    seen: list[str] = []
    hooks = [Recorder("a", seen), bad, Recorder("b", seen)]
    assert call("run", *hooks) == "done"
    assert seen == ["a in", "b in", "b out", "a out"]
    (record,) = failures(caplog)
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert f"{__name__}.{name} around hooked_run failed" in record.getMessage()


def test_a_hook_that_returned_no_context_is_told_what_is_missing(
    gearman_server: Server,
    gearman_client: SimpleClient,
    hooked: Hooked,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running(hooked([gearman_server.host], hooks=[returning_nothing])):
        gearman_client.hooked_run()
    (record,) = failures(caplog)
    assert "Is @contextlib.contextmanager missing?" in record.getMessage()


@pytest.mark.parametrize("bad", [hiding, replacing, failing_after])
def test_no_hook_hides_or_replaces_what_the_task_raised(
    call: Call, caplog: pytest.LogCaptureFixture, bad: Hook
) -> None:
    seen: list[str] = []
    with pytest.raises(TaskError, match="not so") as failed:
        call("fail", Recorder("a", seen), bad)
    assert failed.value.type == "builtins.ValueError"
    assert seen == ["a in", "a ValueError"]
    assert len(failures(caplog)) == 1


def test_a_context_that_raises_anew_what_it_was_left_with_has_not_failed(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TaskError, match="not so"):
        call("fail", raising_anew)
    assert not failures(caplog)


def test_a_hook_does_not_hide_that_the_time_was_over(call: Call) -> None:
    seen: list[str] = []
    with pytest.raises(TaskError) as failed:
        call("spin", Recorder("a", seen), hiding)
    assert failed.value.type == f"gearmanny.errors.{TaskTimeLimitExceeded.__name__}"
    assert seen == ["a in", "a TaskTimeLimitExceeded"]


tenant = contextvars.ContextVar("tenant", default="nobody")


@contextlib.contextmanager
def as_a_tenant(job: GearmanJob) -> Iterator[None]:
    token = tenant.set("somebody")
    try:
        yield
    finally:
        tenant.reset(token)


@contextlib.asynccontextmanager
async def as_a_tenant_asynchronously(job: GearmanJob) -> AsyncIterator[None]:
    with as_a_tenant(job):
        yield


@pytest.mark.parametrize("hook", [as_a_tenant, as_a_tenant_asynchronously])
@pytest.mark.parametrize("beside", [False, True])
def test_a_coroutine_sees_what_a_hook_sets_and_the_hook_can_reset_it(
    gearman_server: Server,
    gearman_client: SimpleClient,
    caplog: pytest.LogCaptureFixture,
    hook: Hook,
    beside: bool,
) -> None:
    class Seeing(CoroutineBesideThreads if beside else Coroutine):  # type: ignore[misc]
        name = "seeing"

        async def task_tenant(self) -> str:
            return tenant.get()

    with running(Seeing([gearman_server.host], hooks=[hook])):
        assert gearman_client.seeing_tenant() == "somebody"
    assert failures(caplog) == []


def test_a_hook_that_waits_beside_the_event_loop_does_not_keep_it_from_going_on(
    gearman_server: Server, gearman_client: SimpleClient
) -> None:
    left, may_leave = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def waiting(job: GearmanJob) -> Iterator[None]:
        if job.task == "waiting_long":
            assert may_leave.wait(PATIENCE)
        yield
        left.set()

    class Waiting(CoroutineBesideThreads):
        name = "waiting"
        concurrency = 2

        async def task_long(self) -> str:
            return "long"

    with running(Waiting([gearman_server.host], hooks=[waiting])):
        long = gearman_client.submit("waiting_long")
        assert gearman_client.waiting_run() == "done"
        may_leave.set()
        assert long.get_result(PATIENCE) == "long"


@contextlib.asynccontextmanager
async def limiting(job: GearmanJob) -> AsyncIterator[None]:
    async with asyncio.timeout(0.05):
        yield


def test_a_hook_may_limit_the_time_of_a_coroutine(
    gearman_server: Server, gearman_client: SimpleClient
) -> None:
    class Limited(BaseWorker):
        name = "limited"

        async def task_wait(self) -> None:
            await asyncio.sleep(PATIENCE)

    with running(Limited([gearman_server.host], hooks=[limiting])):
        with pytest.raises(TaskError) as failed:
            gearman_client.limited_wait()
        assert failed.value.type == "asyncio.exceptions.CancelledError"


class TestRejectJob:
    def test_the_caller_is_told_and_the_log_has_one_line(
        self, call: Call, hooked: Hooked, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[str] = []
        hooks = [Recorder("a", seen), rejecting, Recorder("b", seen)]
        with pytest.raises(TaskError) as failed:
            call("run", *hooks)
        assert failed.value.type == "gearmanny.errors.RejectJob"
        assert failed.value.message == "not on Sundays"
        assert hooked.runs == 0
        assert seen == ["a in", "a RejectJob"]
        (record,) = [r for r in caplog.records if getattr(r, "action", "") == "job_failed"]
        assert (record.levelno, record.exc_info) == (logging.WARNING, None)

    def test_a_job_that_was_rejected_is_not_tried_again(self, call: Call) -> None:
        seen: list[str] = []
        with pytest.raises(TaskError, match="not on Sundays"):
            call("again", Recorder("a", seen), rejecting)
        assert seen == ["a in", "a RejectJob"]


STOPPED_BY_A_HOOK = """
import contextlib, sys
from gearmanny.worker import BaseWorker

@contextlib.contextmanager
def first(job):
    try:
        yield
    finally:
        print("first left", flush=True)

@contextlib.contextmanager
def stopping(job):
    {before}
    yield
    {after}

class Stopped(BaseWorker):
    name = "stopped"
    def task_run(self):
        print("task", flush=True)

try:
    Stopped([sys.argv[1]], hooks=[first, stopping]).start()
except KeyboardInterrupt as stop:
    print("stopped by", stop, flush=True)
"""


@pytest.mark.parametrize(
    ("before", "after", "printed"),
    [
        ("raise KeyboardInterrupt(5)", "", ["first left", "stopped by 5"]),
        ("", "raise KeyboardInterrupt(5)", ["task", "first left", "stopped by 5"]),
    ],
)
def test_what_stops_a_worker_passes_through_and_the_job_is_kept(
    gearman_server: Server,
    gearman_client: SimpleClient,
    gearman_worker: RunWorker,
    before: str,
    after: str,
    printed: list[str],
) -> None:
    script = STOPPED_BY_A_HOOK.format(before=before, after=after)
    worker = subprocess.Popen(
        [sys.executable, "-c", script, gearman_server.host],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: workers_of(gearman_server, "stopped_run"), "the worker")
        gearman_client.using(background=True).stopped_run()
        told, _ = worker.communicate(timeout=PATIENCE)
        assert told.splitlines() == printed

        class Stopped(BaseWorker):
            name = "stopped"

            def task_run(self) -> None: ...

        done: list[str] = []
        gearman_worker(Stopped, hooks=[Recorder("next", done)])
        until(lambda: done == ["next in", "next out"], "another worker doing the job")
    finally:
        end(worker)


def generator(job: GearmanJob) -> Iterator[None]:
    yield


async def asynchronous(job: GearmanJob) -> None: ...


async def asynchronous_generator(job: GearmanJob) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ("a.dotted.path", "a list of functions"),
        (5, "a list of functions"),
        (["a.dotted.path"], "'a.dotted.path' is not a hook"),
        ([generator], r"generator is a generator function. Decorate it with @contextlib"),
        ([asynchronous], r"asynchronous is a coroutine function"),
        ([asynchronous_generator], r"Decorate it with @contextlib\.asynccontextmanager"),
    ],
)
def test_what_cannot_be_a_hook_is_told_at_once(hooks: Any, message: str) -> None:
    class Fine(BaseWorker):
        name = "fine"

    class Wrong(BaseWorker):
        name = "wrong"

    Wrong.hooks = hooks
    makes: Sequence[Any] = [
        lambda: Fine(hooks=hooks),
        Wrong,
        lambda: WorkRunner([Fine], hooks=hooks),
        lambda: WorkRunner([Wrong]),
    ]
    for make in makes:
        with pytest.raises(InvalidOption, match=message):
            make()
