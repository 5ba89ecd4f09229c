"""A client as an object: what its names are, and how it is waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from gearmanny.blocking import walker
from gearmanny.calling import waiting
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.worker import BaseWorker
from tests.support.clients import MakeClient
from tests.support.servers import PATIENCE, RunWorker, Server


class Plain(BaseWorker):
    name = "plain"

    @staticmethod
    def task_echo(self: Any, function: Any) -> Any:  # noqa: PLW0211  that is the point
        return [self, function]

    def task_any(self, **others: Any) -> Any:
        return others


def test_arguments_may_be_named_as_those_of_the_client(
    make: MakeClient, gearman_worker: RunWorker, gearman_server: Server
) -> None:
    gearman_worker(Plain)
    client = make(gearman_server.host, timeout=PATIENCE)
    arguments = {"self": 1, "function": 2}
    assert client.plain_echo(self=1, function=2) == [1, 2]
    assert client.call("plain_echo", **arguments) == [1, 2]
    assert list(client.map("plain_echo", [arguments])) == [[1, 2]]
    assert client.plain_any(function=1, client=2, args=3) == {"function": 1, "client": 2, "args": 3}


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Any:
    """Returns the actions that clients have logged; what is reported once is, again."""
    monkeypatch.setattr(walker.blocked_loops, "reported", False)
    caplog.set_level(logging.WARNING, "gearmanny.client")

    def actions() -> list[str]:
        return [record.action for record in caplog.records if record.name == "gearmanny.client"]  # type: ignore[attr-defined]

    return actions


def test_a_blocked_event_loop_is_reported_once(
    gearman_client: SimpleClient, gearman_worker: RunWorker, reported: Any
) -> None:
    gearman_worker(Plain)

    async def main() -> None:
        for _ in range(2):
            gearman_client.plain_any()

    gearman_client.plain_any()
    assert reported() == []
    asyncio.run(main())
    assert reported() == ["event_loop_blocked"]


@pytest.fixture
def worker_comes_late(gearman_worker: RunWorker, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Starts the worker as soon as it is missed."""
    monkeypatch.setattr(waiting, "UNSERVED", 0.05)

    class Late(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logger.removeHandler(self)
            gearman_worker(Plain)

    logger = logging.getLogger("gearmanny.client")
    late = Late()
    logger.addHandler(late)
    yield
    logger.removeHandler(late)


@pytest.mark.parametrize("way", ["wait", "as_completed"])
def test_so_are_several_calls_once_for_each_function(
    gearman_server: Server, worker_comes_late: None, reported: Any, way: str
) -> None:
    with AsyncClient([gearman_server.host]) as client:
        works = [client.plain_any(a=i) for i in range(3)]
        if way == "wait":
            assert client.wait(works) == (set(works), set())
        else:
            assert set(client.as_completed(works)) == set(works)
        assert sorted(work.get_result()["a"] for work in works) == [0, 1, 2]
    assert reported() == ["nobody_offers"]


def test_a_call_without_a_timeout_that_nobody_serves_is_reported(
    make: MakeClient,
    gearman_server: Server,
    worker_comes_late: None,
    reported: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = make(gearman_server.host)
    assert client.submit("plain_any", a=1).get_result(None) == {"a": 1}
    assert reported() == ["nobody_offers"]
    assert f"no worker offers it on {gearman_server.host}" in caplog.text
