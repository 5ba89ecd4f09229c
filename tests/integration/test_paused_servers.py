"""Job servers that pause: a worker neither waits for them nor gives up what is done."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import TaskError
from gearmanny.testing import Gearmand
from gearmanny.worker import BaseWorker, task
from gearmanny.working import link, loop
from tests.support.servers import PATIENCE, until, working
from tests.support.tls import Authority
from tools.proxies import proxy

MUCH = 20_000_000
"""Bytes that no buffer of a kernel takes while a job server does not read."""


class Paused(BaseWorker):
    name = "paused"
    gate: threading.Event
    entered: threading.Event
    runs: int

    @classmethod
    def prepare(cls) -> None:
        cls.gate, cls.entered, cls.runs = threading.Event(), threading.Event(), 0

    def pass_gate(self) -> str:
        Paused.runs += 1
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        return "x" * MUCH

    def task_much(self) -> str:
        return self.pass_gate()

    def task_quick(self) -> str:
        return "quick"

    def task_reports(self) -> str:
        much = self.pass_gate()
        for _ in range(3):
            self.send_data(much)
        return "reported"

    @task(timeout=1)
    def task_limited(self) -> None:
        self.task_reports()


class PausedCoroutines(Paused):
    concurrency = 4

    async def task_much(self) -> str:  # type: ignore[override]
        return self.pass_gate()

    async def task_quick(self) -> str:  # type: ignore[override]
        return "quick"

    async def task_parts(self) -> AsyncIterator[str]:
        for _ in range(3):
            yield self.pass_gate()

    async def task_without_end(self) -> None:
        much = self.pass_gate()
        while True:
            self.send_data(much)


@pytest.fixture
def servers() -> Iterator[tuple[Gearmand, Gearmand]]:
    """Two job servers, and what the tasks need."""
    Paused.prepare()
    with Gearmand() as one, Gearmand() as other:
        yield one, other


@contextlib.contextmanager
def paused(server: Gearmand) -> Iterator[None]:
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server._process.pid, signal.SIGCONT)


@pytest.mark.parametrize("kind", [Paused, PausedCoroutines])
def test_the_others_are_served_and_the_answer_arrives_once(
    servers: tuple[Gearmand, Gearmand], kind: type[Paused], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_GIVE_UP", 1)  # far less than the job server pauses
    one, other = servers
    calls_one, calls_other = AsyncClient([one.host]), SimpleClient([other.host], timeout=PATIENCE)
    with calls_one, calls_other, working(kind([one.host, other.host])):
        until(lambda: calls_other.paused_quick() == "quick", "the worker")
        work = calls_one.paused_much()
        Paused.entered.wait(PATIENCE)
        with paused(one):
            Paused.gate.set()
            pauses = threading.Event()
            for _ in range(5):
                assert calls_other.paused_quick() == "quick"
                pauses.wait(0.4)
            assert not work.is_done()
        assert work.get_result(timeout=PATIENCE) == "x" * MUCH
        assert Paused.runs == 1
        assert calls_one.paused_quick().get_result(timeout=PATIENCE) == "quick"


def test_the_same_holds_over_tls(servers: tuple[Gearmand, Gearmand], authority: Authority) -> None:
    one, other = servers
    context, tls = authority.context("127.0.0.1"), {"ca": authority.file}
    with proxy(one.port, context) as front, proxy(other.port, context) as other_front:
        calls_one, calls_other = AsyncClient([one.host]), SimpleClient([other.host])
        worker = Paused([front.host, other_front.host], tls=tls)
        with calls_one, calls_other.using(timeout=PATIENCE) as quick, working(worker):
            work = calls_one.paused_much()
            Paused.entered.wait(PATIENCE)
            with paused(one):
                Paused.gate.set()
                assert quick.paused_quick() == "quick"
            assert work.get_result(timeout=PATIENCE) == "x" * MUCH


@pytest.mark.parametrize(("function", "kind"), [("reports", Paused), ("parts", PausedCoroutines)])
def test_a_task_that_reports_waits_for_it(
    servers: tuple[Gearmand, Gearmand], function: str, kind: type[Paused]
) -> None:
    one, other = servers
    calls_one, calls_other = AsyncClient([one.host]), SimpleClient([other.host], timeout=PATIENCE)
    with calls_one, calls_other, working(kind([one.host, other.host])):
        work = calls_one.submit(f"paused_{function}")
        Paused.entered.wait(PATIENCE)
        with paused(one):
            Paused.gate.set()
            if kind is PausedCoroutines:
                assert calls_other.paused_quick() == "quick"
        result = work.get_result(timeout=PATIENCE)
        assert result == ("reported" if kind is Paused else ["x" * MUCH] * 3)


def test_a_time_limit_holds_while_a_report_waits(servers: tuple[Gearmand, Gearmand]) -> None:
    one, other = servers
    calls_one, calls_other = AsyncClient([one.host]), SimpleClient([other.host], timeout=PATIENCE)
    with calls_one, calls_other, working(Paused([one.host, other.host])):
        work = calls_one.paused_limited()
        Paused.entered.wait(PATIENCE)
        with paused(one):
            Paused.gate.set()
            assert calls_other.paused_quick() == "quick"
        with pytest.raises(TaskError, match="TaskTimeLimitExceeded"):
            work.get_result(timeout=PATIENCE)


def test_a_report_does_not_wait_for_ever(
    servers: tuple[Gearmand, Gearmand], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_LONGEST_SILENCE", 1)
    one, other = servers
    calls_one, calls_other = AsyncClient([one.host]), SimpleClient([other.host], timeout=PATIENCE)
    with calls_one, calls_other, working(Paused([one.host, other.host])):
        work = calls_one.paused_reports()
        Paused.entered.wait(PATIENCE)
        with paused(one):
            Paused.gate.set()
            assert calls_other.paused_quick() == "quick"
        with pytest.raises(TaskError, match="it does not take what is sent"):
            work.get_result(timeout=PATIENCE)


def test_coroutines_that_report_without_end_are_told(servers: tuple[Gearmand, Gearmand]) -> None:
    one, other = servers
    calls_one, calls_other = AsyncClient([one.host]), SimpleClient([other.host], timeout=PATIENCE)
    worker = PausedCoroutines([one.host, other.host], max_packet=3 * MUCH)
    with calls_one, calls_other, working(worker):
        work = calls_one.paused_without_end()
        Paused.entered.wait(PATIENCE)
        with paused(one):
            Paused.gate.set()
            assert calls_other.paused_quick() == "quick"
        with pytest.raises(TaskError, match="it does not take what is sent"):
            work.get_result(timeout=PATIENCE)


def test_a_worker_that_stops_leaves_it_in_time(
    servers: tuple[Gearmand, Gearmand], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_LEAVE_TIMEOUT", 1)
    one, _ = servers
    worker = Paused([one.host])
    with AsyncClient([one.host]) as client, contextlib.ExitStack() as stack, working(worker):
        client.paused_much()
        Paused.entered.wait(PATIENCE)
        stack.enter_context(paused(one))
        Paused.gate.set()
