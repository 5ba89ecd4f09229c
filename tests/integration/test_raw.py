"""Bytes as they are: `RawWorker` and `RawClient`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gearmanny.client import AsyncClient, RawClient, SimpleClient, WorkResult
from gearmanny.errors import EncodingError, InvalidOption, InvalidTask, TaskError
from gearmanny.testing import eager
from gearmanny.vocabulary.encoders import RawDataEncoder
from gearmanny.worker import BaseWorker, RawWorker, task
from gearmanny.workrunner import WorkRunner
from tests.support.servers import RunWorker, Server


class Raw(BaseWorker):
    name = "raw"
    work_class = RawWorker

    def task_upper(self, data: bytes, times: int = 1) -> bytes:
        return data.upper() * times

    def task_stream(self, data: bytes) -> Iterator[bytes]:
        for byte in data:
            yield bytes([byte])

    @task(retries=1, backoff=0, timeout=20)
    def task_second_attempt(self, data: bytes) -> bytes:
        if self.job.attempt == 1:
            raise OSError("not yet")
        return data

    def task_returns(self, kind: bytes) -> Any:
        return {b"text": "text", b"none": None, b"buffer": bytearray(b"x")}[kind]


@pytest.fixture
def raw(gearman_server: Server, gearman_worker: RunWorker) -> Iterator[RawClient]:
    gearman_worker(Raw)
    with RawClient([gearman_server.host], timeout=20) as client:
        yield client


def test_a_task_is_given_the_payload(raw: RawClient) -> None:
    assert raw.call("raw_upper", b"abc\0") == b"ABC\0"
    assert raw.raw_upper(b"abc") == b"ABC"
    assert raw.raw_upper() == b""


def test_a_stream_comes_in_parts_and_is_whole_at_the_end(raw: RawClient) -> None:
    assert list(raw.stream("raw_stream", b"\0\xff")) == [b"\0", b"\xff"]
    assert raw.raw_stream(b"\0\xff") == b"\0\xff"
    assert raw.raw_stream(b"") == b""


def test_options_of_a_task_hold_for_payloads(raw: RawClient) -> None:
    assert raw.raw_second_attempt(b"abc") == b"abc"


@pytest.mark.parametrize("kind", [b"text", b"none", b"buffer"])
def test_a_task_that_returns_no_bytes_fails_alone(raw: RawClient, kind: bytes) -> None:
    with pytest.raises(TaskError, match="it must be bytes") as caught:
        raw.raw_returns(kind)

    assert caught.value.type == "gearmanny.errors.EncodingError"
    assert raw.raw_upper(b"goes on") == b"GOES ON"


def test_its_help_is_json(raw: RawClient, gearman_client: SimpleClient) -> None:
    entry = gearman_client.raw_help()["raw_upper"]

    assert entry["payload"] == "data"
    assert entry["returns"] == "bytes"
    assert raw.raw_help().startswith(b'{"raw_')


@pytest.mark.parametrize("payload", ["text", None, {"a": 1}, bytearray(b"x")])
def test_only_bytes_are_sent(raw: RawClient, payload: Any) -> None:
    with pytest.raises(EncodingError, match="it must be bytes"):
        raw.raw_upper(payload)
    with pytest.raises(EncodingError):
        raw.stream("raw_upper", payload)


def test_keywords_and_many_payloads_are_no_call(raw: RawClient) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'data'"):
        raw.raw_upper(data=b"abc")
    with pytest.raises(TypeError):
        raw.raw_upper(b"abc", b"def")


def test_many_payloads_are_answered_in_order_each_alone(raw: RawClient) -> None:
    payloads: list[Any] = [b"a", "b", b"c"]

    first, second, third = raw.map("raw_upper", payloads, return_exceptions=True)

    assert (first, third) == (b"A", b"C")
    assert isinstance(second, EncodingError)


def test_a_submitted_payload_is_waited_for_later(raw: RawClient) -> None:
    work = raw.submit("raw_stream", b"ab")

    assert [update.value for update in work.updates(timeout=20)] == [b"a", b"b"]
    assert work.get_result() == b"ab"


def test_options_of_a_client_hold_for_payloads(raw: RawClient) -> None:
    work = raw.using(background=True).call("raw_upper", b"abc")

    assert isinstance(work, WorkResult)
    assert work.get_result() is None


@pytest.mark.parametrize("copied", [copy.copy, lambda client: pickle.loads(pickle.dumps(client))])
def test_a_copy_sends_bytes_too(raw: RawClient, copied: Callable[[RawClient], RawClient]) -> None:
    with copied(raw) as client:
        assert client.raw_upper(b"abc") == b"ABC"


def test_keywords_do_not_travel_as_bytes(gearman_server: Server) -> None:
    with (
        AsyncClient([gearman_server.host], data_encoder=RawDataEncoder) as client,
        pytest.raises(EncodingError, match="it must be bytes"),
    ):
        client.raw_upper(data=b"abc")


class Nothing(BaseWorker):
    name = "nothing"
    work_class = RawWorker

    def task_ping(self) -> bytes:
        return b"pong"


class Two(BaseWorker):
    name = "two"

    def task_add(self, a, b):
        return a + b


def test_payloads_need_no_job_server_in_eager_mode() -> None:
    with eager([Raw]):
        client = RawClient()
        assert client.raw_upper(b"abc") == b"ABC"
        assert list(client.stream("raw_stream", b"\0\xff")) == [b"\0", b"\xff"]


def test_tasks_with_a_payload_are_not_called_with_keywords(raw: RawClient) -> None:
    with pytest.raises(InvalidOption, match=r"tasks of Raw take a payload.*RawClient"):
        Raw.using(raw)


def test_a_task_takes_exactly_one_payload() -> None:
    with pytest.raises(InvalidTask, match=r"Nothing\.task_ping takes 0 arguments.*exactly one"):
        Nothing()
    with pytest.raises(InvalidTask, match=r"Nothing\.task_ping"):
        WorkRunner([Nothing]).start()
    with pytest.raises(InvalidTask, match=r"Two\.task_add takes 2 arguments"):
        Two(gearman_worker=RawWorker())
