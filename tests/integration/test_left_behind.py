"""What a job leaves behind in its process: not for the next one to see, and not for ever."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from logging.handlers import MemoryHandler

import pytest

from gearmanny.aio import AioClient
from gearmanny.client import AsyncClient, Data, SimpleClient, Warning
from gearmanny.errors import EncodingError, TaskError
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker, task
from tests.support.servers import PATIENCE, RunWorker, Server, until

language = ContextVar("language", default="en")


@contextlib.contextmanager
def translated(job: GearmanJob) -> Iterator[None]:
    """Sets the language for a task, and forgets to reset it."""
    if job.task.endswith("speak_in_hook"):
        language.set("fr")
    yield


class Speaking(BaseWorker):
    name = "speaking"
    hooks = (translated,)

    def setUp(self) -> None:
        language.set("nl")
        self.seen: list[str] = []

    def task_speak(self) -> str:
        before = language.get()
        language.set("de")
        return before

    @task(timeout=20)
    def task_speak_in_time(self) -> str:
        return self.task_speak()

    @task(retries=2, backoff=0)
    def task_speak_again(self) -> list[str]:
        self.seen.append(self.task_speak())
        if len(self.seen) < 3:
            raise OSError
        return self.seen

    def task_speak_in_hook(self) -> str:
        return language.get()

    def task_stream(self) -> Iterator[str]:
        yield language.get()
        language.set("de")
        yield language.get()

    async def task_speak_later(self) -> str:
        return self.task_speak()


def test_a_job_sees_no_context_variable_of_another(
    gearman_worker: RunWorker, gearman_client: SimpleClient
) -> None:
    gearman_worker(Speaking)
    for function in ("speak", "speak_in_time", "speak_later") * 2:
        assert gearman_client.call(f"speaking_{function}") == "en", function
    assert gearman_client.speaking_speak_again() == ["en", "en", "en"]
    assert gearman_client.speaking_speak_in_hook() == "fr"
    assert gearman_client.speaking_stream() == ["en", "de"]
    assert gearman_client.speaking_speak() == "en"


def test_a_task_changes_no_context_variable_of_its_caller_in_eager_mode(
    gearman_eager: RunWorker,
) -> None:
    gearman_eager(Speaking)
    token = language.set("es")
    try:
        with SimpleClient() as client:
            assert client.speaking_speak() == "es"
        assert language.get() == "es"
    finally:
        language.reset(token)


class Large:
    """Stands for what takes much memory."""


kept: list[weakref.ref[Large]] = []


class Failing(BaseWorker):
    name = "failing"

    def fail(self) -> None:
        large = Large()
        kept.append(weakref.ref(large))
        try:
            raise ValueError("no")
        except ValueError as error:
            # A circle, as many programs have it.
            failure = error
            raise OSError("not at all") from failure

    def task_fail(self) -> None:
        self.fail()

    def task_exit(self) -> None:
        try:
            self.fail()
        except OSError as error:
            raise SystemExit from error

    @task(retries=1, backoff=0)
    def task_fail_twice(self) -> None:
        self.fail()

    def task_fail_many(self) -> None:
        failures = []
        for _ in range(3):
            try:
                self.fail()
            except OSError as error:
                failures.append(error)
        raise ExceptionGroup("all of them", failures)

    def task_fail_in_a_stream(self) -> Iterator[int]:
        large = Large()
        kept.append(weakref.ref(large))
        yield 1
        raise ValueError("no")

    async def task_fail_in_a_stream_later(self) -> AsyncIterator[int]:
        large = Large()
        kept.append(weakref.ref(large))
        yield 1
        raise ValueError("no")

    async def task_fail_in_tasks(self) -> None:
        async def fail() -> None:
            large = Large()
            kept.append(weakref.ref(large))
            await asyncio.sleep(0)
            raise ValueError("no")

        large = Large()
        kept.append(weakref.ref(large))
        await asyncio.gather(fail(), fail())

    async def task_fail_later(self) -> None:
        self.fail()

    async def task_exit_later(self) -> None:
        self.task_exit()


@pytest.fixture
def collects_nothing() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def keeping_log() -> Iterator[MemoryHandler]:
    """A handler that keeps the last records."""
    handler = MemoryHandler(1000, flushLevel=logging.CRITICAL + 1)
    logging.getLogger("gearmanny").addHandler(handler)
    yield handler
    logging.getLogger("gearmanny").removeHandler(handler)


@pytest.mark.parametrize(
    "function",
    [
        "fail",
        "exit",
        "fail_twice",
        "fail_later",
        "exit_later",
        "fail_many",
        "fail_in_a_stream",
        "fail_in_a_stream_later",
        "fail_in_tasks",
    ],
)
def test_a_failed_job_does_not_stay_in_memory(
    gearman_worker: RunWorker,
    gearman_client: SimpleClient,
    collects_nothing: None,
    keeping_log: MemoryHandler,
    function: str,
) -> None:
    gearman_worker(Failing)
    kept.clear()
    with pytest.raises(TaskError):
        gearman_client.call(f"failing_{function}")
    until(lambda: all(reference() is None for reference in kept), "nothing being kept")
    assert keeping_log.buffer


@contextlib.contextmanager
def failing_hook(job: GearmanJob) -> Iterator[None]:
    large = Large()
    kept.append(weakref.ref(large))
    yield
    raise ValueError("no")


def test_a_failed_hook_does_not_stay_in_memory(
    gearman_worker: RunWorker,
    gearman_client: SimpleClient,
    collects_nothing: None,
    keeping_log: MemoryHandler,
) -> None:
    gearman_worker(Endless, hooks=[failing_hook])
    kept.clear()
    assert gearman_client.endless_ready() == "ready"
    until(lambda: all(reference() is None for reference in kept), "nothing being kept")
    assert keeping_log.buffer


class Catching(BaseWorker):
    name = "catching"
    concurrency = 2
    caught: asyncio.Event
    go_on: asyncio.Event

    async def task_raise(self) -> None:
        await self.failure

    async def task_prepare(self) -> None:
        self.failure = asyncio.get_running_loop().create_future()
        self.go_on = asyncio.Event()

    async def task_catch(self) -> str:
        try:
            await self.failure
        except ValueError:
            await self.go_on.wait()
        return "went on"

    async def task_fail(self) -> None:
        self.failure.set_exception(ValueError("no"))

    async def task_release(self) -> None:
        self.go_on.set()


def test_a_coroutine_goes_on_that_caught_the_exception_of_a_failed_job(
    gearman_worker: RunWorker, gearman_server: Server
) -> None:
    gearman_worker(Catching, concurrency=3)
    with AsyncClient([gearman_server.host], timeout=PATIENCE) as client:
        client.catching_prepare().get_result()
        catching, failing = client.catching_catch(), client.catching_raise()
        client.catching_fail().get_result()
        with pytest.raises(TaskError, match="ValueError"):
            failing.get_result()
        client.catching_release().get_result()
        assert catching.get_result() == "went on"


MIB = 2**20


class Endless(BaseWorker):
    name = "endless"

    def task_numbers(self) -> Iterator[str]:
        while True:
            yield "x" * 1000

    async def task_numbers_later(self) -> AsyncIterator[str]:
        while True:
            yield "x" * 1000
            await asyncio.sleep(0)

    def task_parts(self, count: int, size: int) -> str:
        for _ in range(count):
            self.send_data("x" * size)
        return "done"

    def task_ready(self) -> str:
        return "ready"


@pytest.mark.parametrize("later", ["", "_later"])
def test_a_stream_whose_caller_has_left_takes_no_more_memory_than_a_result(
    gearman_worker: RunWorker,
    gearman_server: Server,
    gearman_client: SimpleClient,
    caplog: pytest.LogCaptureFixture,
    later: str,
) -> None:
    gearman_worker(Endless, max_packet=MIB)
    with SimpleClient([gearman_server.host], timeout=PATIENCE) as caller:
        assert next(iter(caller.stream(f"endless_numbers{later}"))) == "x" * 1000
    assert gearman_client.endless_ready() == "ready"
    until(lambda: f"the stream of endless_numbers{later}() is too long" in caplog.text, "its end")


def test_updates_that_nobody_reads_take_little_memory(
    gearman_worker: RunWorker, gearman_async_client: AsyncClient
) -> None:
    gearman_worker(Endless)
    work = gearman_async_client.endless_parts(count=40, size=MIB)
    assert work.get_result(timeout=PATIENCE) == "done"
    warning, *rest = work.updates()
    assert warning == Warning(
        f"{40 - len(rest)} updates of endless_parts() were dropped, because nobody read them"
    )
    assert rest == [Data("x" * MIB)] * 15


def test_a_stream_that_is_not_read_is_an_error_and_has_no_gap(
    gearman_worker: RunWorker, gearman_server: Server
) -> None:
    gearman_worker(Endless)
    asyncio.run(read_too_late(gearman_server))


async def read_too_late(gearman_server: Server) -> None:
    async with AioClient([gearman_server.host], timeout=PATIENCE, max_packet=MIB) as client:
        parts = client.stream("endless_parts", count=20, size=MIB // 8)
        assert await anext(parts) == "x" * (MIB // 8)
        assert await client.endless_ready() == "ready"  # the worker is through with the parts
        with pytest.raises(EncodingError, match=r"updates of endless_parts\(\) were dropped"):
            await anext(parts)
        assert await client.endless_ready() == "ready"
