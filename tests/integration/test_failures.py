"""A bad job never kills a worker: its caller is told, and the next job is done."""

from __future__ import annotations

import json
import logging
import subprocess
from typing import Any

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import TaskError
from gearmanny.vocabulary.encoders import JSONDataEncoder
from gearmanny.vocabulary.gearman_api import DataEncoder
from gearmanny.worker import BaseWorker
from tests.support.servers import RunWorker, Server, find_program


class RawEncoder(DataEncoder):
    """Sends what it is given, to play a client that has gone wrong."""

    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        return encodable_object["payload"]

    @classmethod
    def decode(cls, decodable_string: bytes) -> Any:
        return JSONDataEncoder.decode(decodable_string)


class Fragile(BaseWorker):
    name = "fragile"

    def task_add(self, a, b):
        return a + b

    def task_raise(self):
        raise ValueError("boom", 7)

    def task_custom(self):
        class Oddity(Exception):
            def __str__(self) -> str:
                raise RuntimeError("not even a text")

        raise Oddity

    def task_result(self, kind):
        return {"set": {1}, "nan": float("nan"), "surrogate": "\ud800", "bytes": b"x"}[kind]

    def task_stop_iteration(self):
        raise StopIteration("not the end")

    def task_stream_fails(self):
        yield 1
        raise OSError("half way")


class Open(Fragile):
    name = "open"
    send_tracebacks = True


class Excepting(Fragile):
    name = "excepting"
    send_exceptions = True


@pytest.fixture(autouse=True)
def worker(gearman_worker: RunWorker) -> None:
    gearman_worker(Fragile)


def fails(client: SimpleClient, function: str, **kwargs: Any) -> TaskError:
    with pytest.raises(TaskError) as caught:
        client.call(function, **kwargs)
    assert client.fragile_add(a=1, b=1) == 2, "the worker did not go on"
    return caught.value


def test_an_exception_arrives_with_its_type_and_message(gearman_client: SimpleClient) -> None:
    error = fails(gearman_client, "fragile_raise")

    assert (error.function, error.type) == ("fragile_raise", "builtins.ValueError")
    assert (error.message, error.remote_args) == ("('boom', 7)", ["boom", 7])
    assert error.traceback is None
    assert str(error) == ("fragile_raise() failed on its worker: builtins.ValueError: ('boom', 7)")


def test_a_traceback_arrives_when_the_worker_allows_it(
    gearman_client: SimpleClient, gearman_worker: RunWorker
) -> None:
    gearman_worker(Open)
    error = fails(gearman_client, "open_raise")
    assert error.traceback is not None
    assert 'raise ValueError("boom", 7)' in error.traceback


def test_a_failure_may_travel_as_an_exception(
    gearman_client: SimpleClient, gearman_worker: RunWorker
) -> None:
    gearman_worker(Excepting)
    error = fails(gearman_client, "excepting_raise")
    assert (error.type, error.remote_args) == ("builtins.ValueError", ["boom", 7])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"a": 1}, "fragile_add() is missing required argument: 'b'. It takes a, b."),
        ({}, "fragile_add() is missing required arguments: 'a', 'b'. It takes a, b."),
        (
            {"a": 1, "b": 2, "c": 3},
            "fragile_add() got unexpected argument: 'c'. It takes a, b.",
        ),
    ],
)
def test_arguments_are_checked_before_the_task_runs(
    gearman_client: SimpleClient, arguments: dict[str, int], message: str
) -> None:
    error = fails(gearman_client, "fragile_add", **arguments)
    assert (error.type, error.message) == ("gearmanny.errors.InvalidArguments", message)


@pytest.mark.parametrize(
    ("payload", "type", "message"),
    [
        (b"\xff\xfe", "EncodingError", "JSONDataEncoder cannot decode a payload of 2 bytes"),
        (b"", "EncodingError", "cannot decode a payload of 0 bytes"),
        (b"{'a': 1}", "EncodingError", "cannot decode"),
        (b'{"a": NaN, "b": 1}', "EncodingError", "NaN is not JSON"),
        (b"[" * 100_000, "EncodingError", "cannot decode"),
        (b"[1, 2]", "InvalidArguments", "as one object of keywords, not as list"),
        (b"5", "InvalidArguments", "not as int"),
        (b"null", "InvalidArguments", "not as NoneType"),
    ],
)
def test_a_payload_that_is_no_object_is_told_to_its_sender(
    gearman_server: Server, gearman_client: SimpleClient, payload: bytes, type: str, message: str
) -> None:
    with (
        SimpleClient([gearman_server.host], timeout=20, data_encoder=RawEncoder) as raw,
        pytest.raises(TaskError) as caught,
    ):
        raw.fragile_add(payload=payload)
    assert caught.value.type == f"gearmanny.errors.{type}"
    assert message in caught.value.message
    assert gearman_client.fragile_add(a=1, b=1) == 2


@pytest.mark.parametrize("kind", ["set", "nan", "surrogate", "bytes"])
def test_a_result_that_cannot_be_encoded_is_a_failure(
    gearman_client: SimpleClient, kind: str
) -> None:
    error = fails(gearman_client, "fragile_result", kind=kind)
    assert error.type == "gearmanny.errors.EncodingError"
    assert "JSONDataEncoder cannot encode" in error.message


@pytest.mark.parametrize(
    ("function", "type"),
    [
        ("fragile_custom", "Fragile.task_custom.<locals>.Oddity"),
        ("fragile_stop_iteration", "builtins.StopIteration"),
        ("fragile_stream_fails", "builtins.OSError"),
    ],
)
def test_any_exception_is_told(gearman_client: SimpleClient, function: str, type: str) -> None:
    error = fails(gearman_client, function)
    assert error.type is not None
    assert error.type.endswith(type)


def test_the_worker_logs_a_failure_with_its_traceback(
    gearman_client: SimpleClient, caplog: pytest.LogCaptureFixture
) -> None:
    fails(gearman_client, "fragile_raise")
    fails(gearman_client, "fragile_add")

    bug, misuse = [record for record in caplog.records if record.action == "job_failed"]
    assert (bug.levelno, bug.function) == (logging.ERROR, "fragile_raise")
    assert bug.exc_info
    assert (misuse.levelno, misuse.exc_info) == (logging.WARNING, None)


def test_a_failure_is_one_json_object_for_other_languages(gearman_server: Server) -> None:
    """The `gearman` command stands for every client in C: it must neither hang nor guess."""
    command = [find_program("gearman", "gearman-tools"), "-h", "127.0.0.1"]
    command += ["-p", str(gearman_server.port), "-f", "fragile_raise", "-t", "10000"]
    done = subprocess.run([*command, "{}"], capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode != 0
    told = json.loads(done.stderr[done.stderr.index("{") : done.stderr.rindex("}") + 1])
    assert told == {
        "gearmanny_error": {
            "type": "builtins.ValueError",
            "message": "('boom', 7)",
            "args": ["boom", 7],
            "traceback": None,
        }
    }


def test_a_worker_that_only_says_that_it_failed_is_understood(
    gearman_server: Server, gearman_client: SimpleClient
) -> None:
    command = [find_program("gearman", "gearman-tools"), "-h", "127.0.0.1"]
    command += ["-p", str(gearman_server.port), "-w", "-f", "no_luck", "-c", "1", "--", "false"]
    worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        with pytest.raises(TaskError, match="its worker gave no reason"):
            gearman_client.no_luck()
    finally:
        worker.kill()
        worker.wait()


def test_updates_end_where_the_task_failed(gearman_async_client: AsyncClient) -> None:
    work = gearman_async_client.fragile_stream_fails()

    assert [update.value for update in work.updates(timeout=10)] == [1]
    with pytest.raises(TaskError, match="half way"):
        work.get_result()
