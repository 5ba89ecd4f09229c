"""Hooks: what they see, what they cannot do, and the one thing that they can."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import pytest

from gearmanny.client import SimpleClient
from gearmanny.errors import InvalidOption, RejectJob, TaskError, TaskTimeLimitExceeded
from gearmanny.gearman_api import GearmanJob
from gearmanny.hooks import Hook
from gearmanny.testing import running
from gearmanny.worker import BaseWorker, task
from gearmanny.workrunner import WorkRunner
from tests.servers import PATIENCE, ROOT, RunWorker, Server, end, until, workers_of


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


Hooked = type[Task]
Call = Callable[..., Any]


@pytest.fixture
def hooked() -> Hooked:
    class Worker(Task):
        name = "hooked"

    return Worker


@pytest.fixture
def call(gearman_server: Server, gearman_client: SimpleClient, hooked: Hooked) -> Call:
    """Calls a task of a worker with these hooks, and waits until the worker has stopped."""

    def call(task: str, *hooks: Hook) -> Any:
        with running(hooked([gearman_server.host], hooks=hooks)):
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
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    call("run", returning_nothing)
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
except SystemExit as stop:
    print("stopped by", stop, flush=True)
"""


@pytest.mark.parametrize(
    ("before", "after", "printed"),
    [
        ("sys.exit(5)", "", ["first left", "stopped by 5"]),
        ("", "sys.exit(5)", ["task", "first left", "stopped by 5"]),
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


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ("a.dotted.path", "a list of functions"),
        (5, "a list of functions"),
        (["a.dotted.path"], "'a.dotted.path' is no hook"),
        ([generator], r"generator is a generator function. Decorate it with @contextlib"),
        ([asynchronous], r"asynchronous is asynchronous"),
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
