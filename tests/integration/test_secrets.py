"""Secrets stay out of logs and texts: arguments, results, and the passwords of URIs."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import EncodingError, InvalidOption, JobServerLost, TaskError, TaskTimeout
from gearmanny.helpers.cache_mongodb import cacheBuilder
from gearmanny.net.hosts import parse_host
from gearmanny.vocabulary.encoders import JSONDataEncoder
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, Server, free_port, mongodb, until, working
from tests.support.workers import Gate

SECRET = "hunter2-" + "marker"


class Keeper(BaseWorker):
    """Is told a secret, and fails in every way without telling it itself."""

    name = "keeper"
    cached: Callable[..., Any]

    def setUp(self) -> None:
        self.gate = Gate()

    def task_echo(self, secret: str) -> str:
        return secret

    def task_raise(self, secret: str) -> None:
        raise RuntimeError("something else")

    def task_unencodable(self, secret: str) -> Any:
        return {secret: {secret}, "surrogate": "\ud800" + secret}

    def task_stream(self, secret: str) -> Any:
        yield secret
        raise RuntimeError("half way")

    def task_wait(self, secret: str) -> str:
        self.gate.pass_through()
        return secret

    def task_cached(self, secret: str) -> Any:
        return type(self).cached(secret)


def texts(record: logging.LogRecord) -> Iterator[str]:
    """Everything that a handler could write of a record."""
    yield record.getMessage()
    for value in vars(record).values():
        yield repr(value)
    if record.exc_info and record.exc_info[1]:
        yield "".join(traceback.format_exception(record.exc_info[1]))


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], set[str]]]:
    """The actions that were logged at INFO and above; fails when one record holds the secret."""
    with caplog.at_level(logging.INFO):
        yield lambda: {getattr(record, "action", "") for record in caplog.records}
        for record in caplog.records:
            for text in texts(record):
                assert SECRET not in text, f"{record.name} tells it: {text}"


@pytest.fixture
def keeper(gearman_server: Server) -> Iterator[Keeper]:
    keeper = Keeper([gearman_server.host])
    with working(keeper):
        yield keeper


@pytest.mark.usefixtures("keeper")
def test_neither_a_call_nor_any_way_to_fail_logs_what_was_sent(
    gearman_client: SimpleClient, logged: Callable[[], set[str]]
) -> None:
    assert gearman_client.keeper_echo(secret=SECRET) == SECRET
    failures = [
        ("raise", {"secret": SECRET}),
        ("unencodable", {"secret": SECRET}),
        ("stream", {"secret": SECRET}),
        ("echo", {"secret": SECRET, "other": SECRET}),
        ("echo", {"other": SECRET}),
    ]
    for task, arguments in failures:
        with pytest.raises(TaskError) as caught:
            gearman_client.call(f"keeper_{task}", **arguments)
        assert SECRET not in str(caught.value)
    assert {"job_answered", "job_failed"} <= logged()


@pytest.mark.usefixtures("keeper")
@pytest.mark.parametrize(
    "payload",
    [
        f'{{"secret": "{SECRET}"'.encode(),
        f'{{"secret": "{SECRET}", "secret": "{SECRET}"}}'.encode(),
        f'["{SECRET}"]'.encode(),
        SECRET.encode() + b"\xff",
        b'{"secret": "' + SECRET.encode() + b'\\ud800"}',
    ],
    ids=["cut off", "same key twice", "no object", "not UTF-8", "surrogate"],
)
def test_a_payload_that_cannot_be_read_is_not_quoted(
    gearman_server: Server, logged: Callable[[], set[str]], payload: bytes
) -> None:
    class Raw(JSONDataEncoder):
        @classmethod
        def encode(cls, encodable_object: Any) -> bytes:
            return payload

    with (
        SimpleClient([gearman_server.host], timeout=PATIENCE, data_encoder=Raw) as raw,
        pytest.raises(TaskError) as caught,
    ):
        raw.keeper_echo()
    assert SECRET not in str(caught.value)
    assert "job_failed" in logged()


def test_what_the_client_refuses_is_not_quoted(gearman_client: SimpleClient) -> None:
    for value in ({SECRET}, SECRET + "\ud800", SECRET.encode(), {SECRET: float("nan")}):
        with pytest.raises(EncodingError) as caught:
            gearman_client.keeper_echo(secret=value)
        assert SECRET not in str(caught.value)


def test_a_timeout_and_a_lost_server_tell_nothing(
    gearman_server: Server, keeper: Keeper, logged: Callable[[], set[str]]
) -> None:
    with AsyncClient([gearman_server.host]) as client:
        work = client.keeper_wait(secret=SECRET)
        keeper.gate.wait_for_entry()
        with pytest.raises(TaskTimeout) as late:
            work.get_result(timeout=0.01)
        gearman_server.kill()
        with pytest.raises(JobServerLost) as lost:
            work.get_result(timeout=PATIENCE)
        keeper.gate.opened.set()
        until(lambda: "server_away" in logged(), "the warning")
    assert SECRET not in f"{late.value!r} {late.value} {lost.value!r} {lost.value} {work!r}"


@pytest.mark.usefixtures("caches_on")
@pytest.mark.parametrize("away", [True, False], ids=["nobody there", "wrong password"])
def test_a_cache_that_cannot_be_used_tells_no_password(
    gearman_server: Server, logged: Callable[[], set[str]], away: bool
) -> None:
    nobody = contextlib.nullcontext(f"mongodb://127.0.0.1:{free_port()}/")
    with nobody if away else mongodb(own=True) as uri:
        address = uri.removeprefix("mongodb://").rstrip("/")
        host = f"mongodb://me:{SECRET}@{address}/?serverSelectionTimeoutMS=300"

        class Caching(Keeper):
            name = "caching"

        def compute(value: str) -> str:
            return value + "!"

        cachewrap = cacheBuilder(host=host, DEBUG=1)
        Caching.cached = staticmethod(cachewrap("kept")(compute))  # type: ignore[assignment]
        with (
            working(Caching([gearman_server.host])),
            SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
        ):
            assert client.caching_cached(secret=SECRET) == SECRET + "!"
    assert "cache_away" in logged()


def test_an_answer_that_cannot_be_stored_is_not_quoted(
    mongodb_uri: str, unique_name: str, logged: Callable[[], set[str]]
) -> None:
    cachewrap = cacheBuilder(
        host=mongodb_uri, dbname="secrets", collection=unique_name, DEBUG=1, timeout=20
    )
    answer = [SECRET, {SECRET: base64.b64encode(os.urandom(13_000_000)).decode() * 2}]
    assert cachewrap("kept")(lambda secret: answer)(SECRET) == answer
    assert "cache_unstorable" in logged()


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://me:{SECRET}@host:port/",
        f"mongodb://me:a/{SECRET}@host/",
        f"mongodb://me:{SECRET}/b@host/",
        f"mongodb://me:{SECRET}@b@host/",
        f"mongodb://me:{SECRET}?@host/",
        f"mongodb://me:{SECRET}@",
        f"http://me:{SECRET}@host/",
        f"mongodb+srv://me:{SECRET}@host:1/",
    ],
)
def test_a_uri_that_cannot_be_is_told_without_its_password(uri: str) -> None:
    with pytest.raises(InvalidOption, match="The URI of MongoDB cannot be used") as caught:
        cacheBuilder(host=uri)("kept")(len)("abc")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_host_that_looks_like_a_uri_is_not_quoted() -> None:
    with pytest.raises(InvalidOption, match="without user and password") as caught:
        parse_host(f"gearman://me:{SECRET}@host:4730")
    assert SECRET not in str(caught.value)
