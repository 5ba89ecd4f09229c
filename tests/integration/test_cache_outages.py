"""MongoDB refuses, is silent, slow, read-only or restarted: the answer of a task always comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymongo
import pymongo.errors
import pytest

from gearmanny.errors import InvalidOption
from gearmanny.helpers.cache_mongodb import MongoCache, cached_by
from gearmanny.helpers.storage import Storage
from tests.support.servers import PATIENCE, free_port, mongodb, until
from tools.proxies import Proxy, proxy


class Costly:
    """A cached function, plain or `async def`, and how often it ran."""

    def __init__(self, is_async: bool, host: str, **options: Any) -> None:
        self.cache = MongoCache(host, dbname="cachetests", **options)
        self.runs = 0

        def costly(n: int) -> dict[str, int]:
            self.runs += 1
            return {"n": n}

        async def acostly(n: int) -> dict[str, int]:
            return costly(n)

        self._loop = asyncio.Runner() if is_async else None
        cachewrap = cached_by(lambda: self.cache)
        self._call: Callable[[int], Any] = cachewrap("costly")(acostly if is_async else costly)

    def __call__(self, n: int) -> None:
        answer = self._call(n)
        if self._loop is not None:
            answer = self._loop.run(answer)
        assert answer == {"n": n}

    def is_hit(self, n: int) -> bool:
        runs = self.runs
        self(n)
        return self.runs == runs

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()


@pytest.fixture
def make(request: pytest.FixtureRequest, unique_name: str) -> Iterator[Callable[..., Costly]]:
    with contextlib.ExitStack() as stack:

        def make(host: str, **options: Any) -> Costly:
            kind = getattr(request, "param", "function") == "async def"
            costly = Costly(kind, host, collection=unique_name, **options)
            stack.callback(costly.close)
            return costly

        yield make


both = pytest.mark.parametrize("make", ["function", "async def"], indirect=True)


@pytest.fixture
def network(mongodb_uri: str) -> Iterator[Proxy]:
    with proxy(int(mongodb_uri.rpartition(":")[2].rstrip("/"))) as made:
        yield made


def through(network: Proxy) -> str:
    return f"mongodb://{network.host}/?directConnection=true"


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(each, "action", each.message) for each in caplog.records]


def many_calls_wait_once(costly: Costly) -> None:
    """Each of 100 calls that waits takes 2 s: if all do, the test takes forever."""
    started = time.monotonic()
    for n in range(100):
        costly(n)
    assert costly.runs == 100
    assert time.monotonic() - started < PATIENCE


@both
def test_nobody_listens(make: Callable[..., Costly], caplog: pytest.LogCaptureFixture) -> None:
    many_calls_wait_once(make(f"mongodb://127.0.0.1:{free_port()}/", timeout=2))
    assert actions(caplog) == ["cache_away"]


@both
def test_nobody_answers(make: Callable[..., Costly], caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        many_calls_wait_once(make(f"mongodb://127.0.0.1:{port}/", timeout=2))
    assert actions(caplog) == ["cache_away"]


@both
def test_names_are_not_resolved(
    make: Callable[..., Costly], unique_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    costly = make(f"mongodb+srv://{unique_name}.gearmanny.invalid/", timeout=2)
    many_calls_wait_once(costly)
    assert actions(caplog) == ["cache_away"]


@both
def test_it_becomes_silent_while_it_is_used(
    make: Callable[..., Costly], network: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    costly = make(through(network), timeout=2)
    costly(-1)
    assert costly.is_hit(-1)
    costly.runs = 0
    network.delay = 1000.0
    many_calls_wait_once(costly)
    until(lambda: "cache_away" in actions(caplog), "the warning")
    network.delay = 0.0
    network.drop()
    until(lambda: costly.is_hit(-1), "the cache being used again")
    assert actions(caplog) == ["cache_away", "cache_back"]


@both
def test_one_slow_answer_switches_nothing_off(
    make: Callable[..., Costly], network: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    costly = make(through(network), timeout=1)
    costly(1)
    network.delay_next = (b"find", 3.0)  # and not the probe that follows
    assert not costly.is_hit(1)
    until(lambda: costly.cache.storage().server.breaker.is_closed, "the probe")
    assert costly.is_hit(1)
    assert actions(caplog) == []


@both
def test_it_goes_away_and_comes_back(
    make: Callable[..., Costly], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with mongodb(own=True, port=port) as uri:
        costly = make(uri)
        costly(1)
        assert costly.is_hit(1)
    for _ in range(20):
        assert not costly.is_hit(1)
    with mongodb(own=True, port=port):
        until(lambda: costly.is_hit(1), "the cache being used again")
    assert actions(caplog) == ["cache_away", "cache_back"]


@both
def test_connections_that_are_reset_cost_nothing(
    make: Callable[..., Costly], network: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    costly = make(through(network), timeout=10)
    costly(1)
    for _ in range(5):
        network.drop()
        assert costly.is_hit(1)
    assert actions(caplog) == []


@both
def test_a_server_that_refuses_to_store_is_read(
    make: Callable[..., Costly], caplog: pytest.LogCaptureFixture
) -> None:
    with mongodb("--enable-test-commands", own=True) as uri, pymongo.MongoClient(uri) as client:
        costly = make(uri)
        costly(1)
        fail = {"failCommands": ["update", "findAndModify"], "errorCode": 13}
        client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=fail)
        for _ in range(5):
            assert costly.is_hit(1)
            assert not costly.is_hit(2)
        assert actions(caplog) == ["cache_read_only"]
        client.admin.command("configureFailPoint", "failCommand", mode="off")
        until(lambda: costly.is_hit(2), "an answer being stored again")


@both
def test_errors_of_the_server_are_no_failures_of_tasks(
    make: Callable[..., Costly], caplog: pytest.LogCaptureFixture
) -> None:
    with mongodb("--enable-test-commands", own=True) as uri, pymongo.MongoClient(uri) as client:
        costly = make(uri)
        for code in (1, 96, 112, 211, 10107, 11600, 50):
            for commands in (["find"], ["update"], ["findAndModify"]):
                fail = {"failCommands": commands, "errorCode": code}
                client.admin.command(
                    "configureFailPoint", "failCommand", mode={"times": 3}, data=fail
                )
                costly(code)
                client.admin.command("configureFailPoint", "failCommand", mode="off")


def test_caches_on_one_server_learn_of_its_absence_from_each_other(
    make: Callable[..., Costly], caplog: pytest.LogCaptureFixture
) -> None:
    host = f"127.0.0.1:{free_port()}"
    make(f"mongodb://{host}/", timeout=0.5)(1)
    other = make(f"mongodb://me:secret@{host}/other?appName=x", timeout=1000)
    other(1)  # which would wait for all that time
    assert actions(caplog) == ["cache_away"]


def test_threads_that_call_in_the_same_moment_wait_together(
    make: Callable[..., Costly], caplog: pytest.LogCaptureFixture
) -> None:
    costly = make(f"mongodb://127.0.0.1:{free_port()}/", timeout=1)
    threads = [threading.Thread(target=costly, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert actions(caplog) == ["cache_away"]


def test_a_long_absence_costs_one_client(make: Callable[..., Costly]) -> None:
    costly = make(f"mongodb://127.0.0.1:{free_port()}/", timeout=0.2)
    costly(0)
    threads = threading.active_count()
    breaker = costly.cache.storage().server.breaker
    for n in range(3):
        until(lambda: breaker.probe_is_due(time.monotonic()), "the time of a probe")
        costly(n)
    until(lambda: threading.active_count() <= threads, "the probe having ended")


@pytest.mark.parametrize(
    ("query", "timeout", "limit"),
    [
        ("", None, 1.0),
        ("", 3, 3.0),
        ("timeoutMS=5000", None, 5.0),
        ("timeoutMS=5000", 3, 3.0),
        ("timeoutMS=200", 3, 0.2),
        ("socketTimeoutMS=300", None, 0.3),
        ("socketTimeoutMS=300&timeoutMS=5000", None, 0.3),
        ("socketTimeoutMS=5000", None, 1.0),
    ],
)
def test_timeouts_of_the_uri_hold(query: str, timeout: float | None, limit: float) -> None:
    storage = Storage(f"mongodb://localhost/?{query}", "db", "collection", timeout)
    assert storage.limit == limit


def test_a_client_of_ones_own_is_used(mongodb_uri: str, make: Callable[..., Costly]) -> None:
    with pymongo.MongoClient(mongodb_uri) as client:
        costly = make(client)
        costly(1)
        assert costly.is_hit(1)
        assert costly.cache.storage().client is client
    costly(2)  # although it is closed now


@pytest.mark.parametrize("make", ["async def"], indirect=True)
def test_coroutines_use_it_too(mongodb_uri: str, make: Callable[..., Costly]) -> None:
    with pymongo.MongoClient(mongodb_uri) as client:
        costly = make(client)
        costly(1)
        assert costly.is_hit(1)


@pytest.mark.parametrize("port", ["99999", "abc"])
def test_a_port_that_is_invalid_is_told(make: Callable[..., Costly], port: str) -> None:
    with pytest.raises(InvalidOption, match="The URI of MongoDB cannot be used"):
        make(f"mongodb://localhost:{port}/")(1)


def test_of_a_uri_that_is_invalid_everything_but_user_and_password_is_told(
    make: Callable[..., Costly],
) -> None:
    with pytest.raises(InvalidOption) as caught:
        make("mongodb://me:a@localhost:99999/")(1)
    assert str(caught.value) == (
        "The URI of MongoDB cannot be used: Port must be an integer between 0 and 65535"
    )
    with pytest.raises(InvalidOption, match=r"user and password must be escaped") as caught:
        make("mongodb://me:hunter2%@localhost/")(1)
    assert "hunter2" not in str(caught.value)


@pytest.mark.skipif(
    "replicaSet=" not in os.environ.get("GEARMANNY_TEST_MONGODB", ""),
    reason="GEARMANNY_TEST_MONGODB names no replica set",
)
@both
def test_a_primary_that_steps_down_fails_no_task(
    mongodb_uri: str, make: Callable[..., Costly]
) -> None:
    costly = make(mongodb_uri)
    costly(1)
    with (
        pymongo.MongoClient(mongodb_uri) as client,
        contextlib.suppress(pymongo.errors.AutoReconnect),
    ):
        client.admin.command("replSetStepDown", 10, force=True)
    for n in range(200):
        costly(n)
    until(lambda: costly.is_hit(1), "the cache being used again")


@pytest.fixture(autouse=True)
def every_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gearmanny.cache")
