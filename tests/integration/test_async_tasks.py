"""`async def` tasks: many at a time in one process, with all that is promised of the others."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from gearmanny.admin import JobServer
from gearmanny.client import Data, Progress, SimpleClient
from gearmanny.eager.joined import Eager
from gearmanny.errors import InvalidOption, TaskError
from gearmanny.testing import eager
from gearmanny.vocabulary.gearman_api import GearmanJob
from gearmanny.worker import BaseWorker, task
from tests.support.servers import PATIENCE, RunWorker, Server, until, working

user = contextvars.ContextVar("user", default="nobody")


@contextlib.contextmanager
def as_the_argument_says(job: GearmanJob) -> Iterator[None]:
    token = user.set(str(job.data.get("text", "nobody")))
    try:
        yield
    finally:
        user.reset(token)


class Napper(BaseWorker):
    name = "napper"
    concurrency = 100
    hooks = (as_the_argument_says,)

    def setUp(self) -> None:
        self.together = 0
        self.most_together = 0
        self.plain = 0
        self.attempts = 0
        self.left: list[str] = []
        self.began = threading.Event()
        self.gate = threading.Event()

    async def task_nap(self, text: str, seconds: float = 1.0) -> list[str]:
        handle = self.job.handle
        await asyncio.sleep(seconds)
        assert self.job.handle == handle
        return [text, handle, user.get()]

    async def task_rows(self, rows: int) -> AsyncIterator[int]:
        for row in range(rows):
            self.progress(row, rows)
            yield row

    async def task_wait(self) -> str:
        self.began.set()
        try:
            while not self.gate.is_set():
                await asyncio.sleep(0.01)
        finally:
            self.left.append("waited")
        return "waited"

    def task_plain(self) -> int:
        self.plain += 1
        self.most_together = max(self.most_together, self.plain)
        time.sleep(0.01)
        self.plain -= 1
        return self.most_together

    @task(timeout=0.2)
    async def task_slow(self) -> None:
        try:
            await asyncio.sleep(PATIENCE * 2)
        except asyncio.CancelledError:
            self.left.append("cancelled")
            raise

    @task(retries=2, backoff=0)
    async def task_third_time(self, values: list[int]) -> list[int]:
        self.attempts += 1
        values.append(self.attempts)
        if self.attempts < 3:
            raise OSError("not yet")
        return [*values, self.job.attempt]

    async def task_fail(self, kind: str) -> object:
        if kind == "value":
            raise ValueError("not so")
        if kind == "cancelled":
            raise asyncio.CancelledError
        return object()

    async def task_exit(self) -> None:
        raise SystemExit(3)

    async def task_exit_inside(self) -> None:
        async def leave() -> None:
            sys.exit(3)

        await asyncio.create_task(leave())

    async def task_stop_the_loop(self) -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return "stopped"

    async def task_interrupt(self) -> None:
        raise KeyboardInterrupt

    async def task_interrupt_inside(self) -> None:
        async def leave() -> None:
            raise KeyboardInterrupt

        await asyncio.create_task(leave())


@pytest.fixture
def worker(gearman_worker: RunWorker) -> Iterator[Napper]:
    worker: Napper = gearman_worker(Napper)
    yield worker
    worker.gate.set()


@pytest.mark.usefixtures("worker")
class TestManyAtATime:
    def test_200_naps_of_a_second_take_no_200_seconds(self, gearman_client: SimpleClient) -> None:
        texts = [f"nap {number}" for number in range(200)]
        answers = list(gearman_client.map("napper_nap", ({"text": text} for text in texts)))
        assert [text for text, _, _ in answers] == texts
        assert len({handle for _, handle, _ in answers}) == 200, "each knows its own job"
        assert [told for _, _, told in answers] == texts, "each has its own context"

    def test_no_more_at_a_time_than_was_said(
        self, gearman_worker: RunWorker, gearman_client: SimpleClient
    ) -> None:
        class Counter(BaseWorker):
            name = "counter"
            running = most = 0

            async def task_count(self) -> int:
                self.running += 1
                self.most = max(self.most, self.running)
                await asyncio.sleep(0.02)
                self.running -= 1
                return self.most

        gearman_worker(Counter, concurrency=3)
        assert max(gearman_client.map("counter_count", [{}] * 20)) == 3

    def test_a_plain_task_does_not_wait_for_them(
        self, worker: Napper, gearman_client: SimpleClient
    ) -> None:
        waiting = gearman_client.submit("napper_wait")
        assert worker.began.wait(PATIENCE)
        assert max(gearman_client.map("napper_plain", [{}] * 20)) == 1, "one plain task at a time"
        assert not waiting.is_done()
        worker.gate.set()
        assert waiting.get_result(PATIENCE) == "waited"

    def test_what_it_yields_is_streamed(self, gearman_client: SimpleClient) -> None:
        updates: list[object] = []
        assert gearman_client.using(on_update=updates.append).napper_rows(rows=2) == [0, 1]
        assert updates == [Progress(0, 2), Data(0), Progress(1, 2), Data(1)]
        assert list(gearman_client.stream("napper_rows", rows=3)) == [0, 1, 2]


class TestFailures:
    @pytest.mark.parametrize(
        ("kind", "type"),
        [
            ("value", "builtins.ValueError"),
            ("cancelled", "asyncio.exceptions.CancelledError"),
            ("result", "gearmanny.errors.EncodingError"),
        ],
    )
    @pytest.mark.usefixtures("worker")
    def test_reach_the_caller(self, gearman_client: SimpleClient, kind: str, type: str) -> None:
        with pytest.raises(TaskError) as failure:
            gearman_client.napper_fail(kind=kind)
        assert failure.value.type == type
        assert gearman_client.napper_nap(text="on", seconds=0)[0] == "on"

    @pytest.mark.usefixtures("worker")
    def test_wrong_arguments_are_told(self, gearman_client: SimpleClient) -> None:
        with pytest.raises(TaskError, match="unexpected argument: 'nap'"):
            gearman_client.napper_nap(text="on", nap=1)

    def test_a_time_limit_cancels_the_coroutine(
        self, worker: Napper, gearman_client: SimpleClient
    ) -> None:
        with pytest.raises(TaskError, match=r"exceeded its time limit of 0\.2 s"):
            gearman_client.napper_slow()
        assert worker.left == ["cancelled"]

    @pytest.mark.usefixtures("worker")
    def test_another_attempt_has_the_arguments_of_the_first(
        self, gearman_client: SimpleClient
    ) -> None:
        assert gearman_client.napper_third_time(values=[]) == [3, 3]


class TestStopping:
    def test_those_that_run_are_finished(
        self, gearman_server: Server, gearman_client: SimpleClient
    ) -> None:
        worker = Napper([gearman_server.host])
        result = gearman_client.submit("napper_wait")
        with working(worker):
            assert worker.began.wait(PATIENCE)
            worker.stop()
            worker.gate.set()
        assert result.get_result(PATIENCE) == "waited"

    @pytest.mark.parametrize("function", ["napper_interrupt", "napper_interrupt_inside"])
    def test_an_interrupt_cancels_them_and_gives_their_jobs_back(
        self, gearman_server: Server, gearman_client: SimpleClient, function: str
    ) -> None:
        worker = Napper([gearman_server.host])
        result = gearman_client.submit("napper_wait")
        interrupted: list[object] = []

        def start() -> None:
            with pytest.raises(KeyboardInterrupt) as caught:
                worker.start()
            interrupted.append(caught.type)

        thread = threading.Thread(target=start)
        thread.start()
        assert worker.began.wait(PATIENCE)
        gearman_client.using(background=True).call(function)
        thread.join(PATIENCE)
        assert interrupted == [KeyboardInterrupt]
        assert worker.left == ["waited"], "it was cancelled, not forgotten"
        assert not result.is_done()
        until(
            lambda: all(row.running == 0 for row in JobServer(gearman_server.host).status()),
            "the jobs going back",
        )


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("function", ["napper_exit", "napper_exit_inside"])
def test_exits_are_failures_of_their_jobs(gearman_client: SimpleClient, function: str) -> None:
    waiting = gearman_client.submit("napper_nap", text="beside", seconds=0.2)
    for _ in range(2):
        with pytest.raises(TaskError) as failed:
            gearman_client.call(function)
        assert failed.value.type == "builtins.SystemExit"
    assert waiting.get_result(PATIENCE)[0] == "beside"
    assert gearman_client.napper_nap(text="on", seconds=0)[0] == "on"


@pytest.mark.usefixtures("worker")
def test_a_coroutine_that_stops_its_event_loop_stops_nothing(gearman_client: SimpleClient) -> None:
    assert gearman_client.napper_stop_the_loop() == "stopped"
    assert gearman_client.napper_nap(text="on", seconds=0)[0] == "on"


def test_eager_calls_wait_for_coroutines() -> None:
    with eager([Napper]) as calls:
        assert isinstance(calls, Eager)
        assert SimpleClient().napper_nap(text="on", seconds=0)[0] == "on"
        assert list(SimpleClient().stream("napper_rows", rows=2)) == [0, 1]


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, "many", 10**9])
def test_a_concurrency_that_cannot_be_is_refused(concurrency: int) -> None:
    with pytest.raises(InvalidOption, match="concurrency must be a whole number from 1 to 1"):
        Napper(["127.0.0.1:1"], concurrency=concurrency)


def test_the_event_loop_ends_with_the_worker(
    gearman_server: Server, gearman_client: SimpleClient
) -> None:
    with working(Napper([gearman_server.host])):
        gearman_client.napper_nap(text="on", seconds=0)
    assert "gearmanny event loop" not in {thread.name for thread in threading.enumerate()}
