"""Packets of strangers: too long, malformed, about unknown jobs. They harm only their senders."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import EncodingError, InvalidOption, JobServerError, TaskError
from gearmanny.vocabulary.encoders import JSONDataEncoder
from gearmanny.vocabulary.gearman_api import DataEncoder
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tests.support.servers import PATIENCE, Gearmand, Server, until, workers_of, working
from tests.support.workers import Called, Gate

SMALL = 20_000
"""Bytes: a `max_packet` that a test can exceed in no time."""


class Small(BaseWorker):
    name = "small"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, max_packet=SMALL, **options)
        self.seen = 0

    def task_length(self, text: str) -> int:
        self.seen += 1
        return len(text)

    def task_grow(self, size: int) -> str:
        return "x" * size

    def task_raise(self, size: int) -> None:
        raise ValueError("x" * size)

    def task_stream(self, size: int) -> Any:
        yield "x" * size
        yield "y"


class Large(Small):
    """The same with the usual limit, under another name."""

    name = "large"

    def __init__(self, *args: Any) -> None:
        BaseWorker.__init__(self, *args)
        self.seen = 0

    def task_update(self, size: int) -> str:
        self.send_job_data("x" * size)
        return "short"


@pytest.fixture(scope="module")
def server() -> Iterator[Gearmand]:
    with Gearmand() as server, working(Small([server.host]), Large([server.host])):
        yield server


@pytest.fixture
def client(server: Gearmand) -> Iterator[SimpleClient]:
    with SimpleClient([server.host], timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def small_client(server: Gearmand) -> Iterator[SimpleClient]:
    with SimpleClient([server.host], timeout=PATIENCE, max_packet=SMALL) as client:
        yield client


def packet(type: int, *arguments: bytes) -> bytes:
    body = b"\0".join(arguments)
    return b"\0REQ" + struct.pack(">II", type, len(body)) + body


class TestTooLarge:
    # Of so much that gearmand still sends it when the worker knows that it is too much, too.
    @pytest.mark.parametrize("size", [1_000_000, 60_000_000])
    def test_a_job_over_the_workers_limit_is_answered_once_and_the_connection_holds(
        self, server: Gearmand, client: SimpleClient, caplog: pytest.LogCaptureFixture, size: int
    ) -> None:
        with pytest.raises(TaskError) as caught:
            client.small_length(text="x" * size)
        assert caught.value.type == "gearmanny.errors.EncodingError"
        assert f"{size + 11} bytes exceed max_packet, which is 20000 bytes" in caught.value.message
        assert client.small_length(text="abc") == 3
        actions = [record.action for record in caplog.records if hasattr(record, "action")]
        assert actions.count("job_failed") == 1
        assert "server_away" not in actions

    def test_an_answer_over_the_clients_limit_ends_its_call_alone(
        self, small_client: SimpleClient
    ) -> None:
        with pytest.raises(EncodingError, match="100002 bytes exceed max_packet"):
            small_client.large_grow(size=100_000)
        results = list(
            small_client.map(
                "large_grow",
                [{"size": 3}, {"size": 100_000}, {"size": 4}],
                return_exceptions=True,
            )
        )
        assert (results[0], results[2]) == ("xxx", "xxxx")
        assert isinstance(results[1], EncodingError)

    def test_an_update_over_the_limit_is_told_and_the_result_still_comes(
        self, server: Gearmand
    ) -> None:
        with AsyncClient([server.host], max_packet=SMALL) as client:
            work = client.large_update(size=100_000)
            with pytest.raises(EncodingError, match="exceed max_packet"):
                list(work.updates(timeout=PATIENCE))
            assert work.get_result(timeout=PATIENCE) == "short"

    def test_a_result_over_the_workers_limit_is_not_sent(self, client: SimpleClient) -> None:
        with pytest.raises(TaskError, match="its 100002 bytes exceed 15904"):
            client.small_grow(size=100_000)
        with pytest.raises(TaskError, match="its 100002 bytes exceed 15904"):
            client.small_stream(size=100_000)

    def test_a_failure_over_the_limit_is_told_in_short(
        self, client: SimpleClient, small_client: SimpleClient
    ) -> None:
        with pytest.raises(TaskError, match="The failure cannot be sent"):
            client.small_raise(size=100_000)
        with pytest.raises(TaskError, match=r"the reason was discarded: its .* exceed max_packet"):
            small_client.large_raise(size=100_000)

    def test_arguments_over_the_limit_are_not_sent(
        self, server: Gearmand, small_client: SimpleClient
    ) -> None:
        with pytest.raises(EncodingError, match="its 100011 bytes exceed 15904"):
            small_client.large_length(text="x" * 100_000)
        assert small_client.large_length(text="abc") == 3

    def test_a_client_does_not_reserve_what_a_header_announces(self) -> None:
        """A job server of a few lines announces an answer of 4 GB, and sends its beginning."""

        def serve(listener: socket.socket) -> None:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while b"\0REQ\0\0\0\x07" not in received:
                    received += connection.recv(10_000)
                connection.sendall(b"\0RES" + struct.pack(">II", 27, 10) + b"exceptions")
                connection.sendall(b"\0RES" + struct.pack(">II", 8, 3) + b"H:1")
                connection.sendall(b"\0RES" + struct.pack(">II", 13, 2**32 - 1) + b"H:1\0")
                with contextlib.suppress(OSError):  # the client has heard enough, and left
                    for _ in range(1_000):
                        connection.sendall(bytes(1_000_000))

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            host = "127.0.0.1:%d" % listener.getsockname()[1]
            with (
                SimpleClient([host], timeout=PATIENCE) as client,
                pytest.raises(EncodingError, match="4294967291 bytes exceed max_packet"),
            ):
                client.anything()
            thread.join()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 200_000, f"{grown} KiB more"


@pytest.mark.parametrize("limit", [0, -1, 8191, 2**32, 1e6, True, "1M", None], ids=repr)
def test_a_limit_that_cannot_be_is_told_at_once(limit: Any) -> None:
    for make in (
        lambda: SimpleClient(max_packet=limit),
        lambda: BaseWorkerNamed(max_packet=limit),
        lambda: WorkRunner([BaseWorkerNamed], max_packet=limit),
    ):
        with pytest.raises(InvalidOption, match="max_packet must be a whole number of bytes"):
            make()


class BaseWorkerNamed(BaseWorker):
    name = "named"


class RawEncoder(DataEncoder):
    """Sends what it is given."""

    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        return encodable_object["payload"]

    @classmethod
    def decode(cls, decodable_string: bytes) -> Any:
        return JSONDataEncoder.decode(decodable_string)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b'{"text": "a", "text": "b"}', "a duplicate key"),
        (b'\xef\xbb\xbf{"text": "a"}', "cannot decode"),
        (b'{"text": "\\ud800"}', "surrogates"),
        (b'{"text": ' + b"9" * 10_000 + b"}", "Exceeds the limit"),
        (b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "cannot decode"),
        (b'{"text": "\xff"}', "cannot decode"),
    ],
    ids=["duplicate key", "BOM", "surrogate", "huge integer", "deep", "not UTF-8"],
)
def test_json_that_is_none_is_told_to_its_sender(
    server: Gearmand, client: SimpleClient, payload: bytes, message: str
) -> None:
    with (
        SimpleClient([server.host], timeout=PATIENCE, data_encoder=RawEncoder) as raw,
        pytest.raises(TaskError) as caught,
    ):
        raw.large_length(payload=payload)
    assert caught.value.type == "gearmanny.errors.EncodingError"
    assert message in caught.value.message
    assert client.large_length(text="abc") == 3


def test_a_million_wrong_arguments_are_told_in_short(client: SimpleClient) -> None:
    with pytest.raises(TaskError, match="and 991 more") as caught:
        client.large_length(**{f"{number}{'x' * 500}": 1 for number in range(1_001)}, text="")
    assert len(caught.value.message) < 2_000


@pytest.mark.parametrize("function", ["a\0b", "f" * 513, "a b", ""], ids=ascii)
def test_a_name_that_no_function_can_have_is_a_value_error(
    client: SimpleClient, function: str
) -> None:
    with pytest.raises(ValueError, match="The name"):
        client.call(function)
    assert client.large_length(text="abc") == 3


def test_a_refused_submission_ends_alone(gearman_server: Server) -> None:
    with socket.create_connection(("127.0.0.1", gearman_server.port)) as admin:
        admin.sendall(b"create function full\r\n")
        admin.recv(100)
        admin.sendall(b"maxqueue full 1\r\n")
        admin.recv(100)
    with AsyncClient([gearman_server.host]) as client:
        first, refused = client.full(), client.full()
        other = client.large_length(text="abc")
        with pytest.raises(JobServerError, match="QUEUE_ERROR"):
            refused.get_result(timeout=PATIENCE)
        with working(Large([gearman_server.host])):
            assert other.get_result(timeout=PATIENCE) == 3
        assert not first.is_done()


def test_an_answer_that_comes_too_late_is_refused_and_the_worker_goes_on(
    gearman_server: Server, closed_gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Called([gearman_server.host])
    with working(worker), AsyncClient([gearman_server.host]) as client:
        until(lambda: workers_of(gearman_server, "called_pass"))
        (handler,) = worker.gearman_worker.handler_to_connection_map
        work = client.called_pass()
        closed_gate.wait_for_entry()
        # CANT_DO behind the machine's back: gearmand gives the job to somebody else.
        handler.link._connection._socket.sendall(packet(2, b"called_pass"))
        until(lambda: not workers_of(gearman_server, "called_pass"))
        closed_gate.opened.set()
        assert client.called_echo(value=2).get_result(timeout=PATIENCE) == 2
        refused = [r for r in caplog.records if getattr(r, "action", "") == "server_refused"]
        assert len(refused) == 1
        assert "JOB_NOT_FOUND" in refused[0].getMessage()
        assert not work.is_done()


def test_a_server_that_calls_without_end_does_not_make_a_worker_spin(
    gearman_server: Server,
) -> None:
    """gearmand 1.1.20 does, while a job that is scheduled for later hides one of low priority."""

    with socket.create_connection(("127.0.0.1", gearman_server.port)) as sender:
        later = b"%d" % (time.time() + 3600)
        sender.sendall(packet(36, b"large_length", b"later", later, b'{"text":""}'))
        sender.recv(100)
        sender.sendall(packet(34, b"large_length", b"hidden", b'{"text":""}'))
        sender.recv(100)
    worker = Large([gearman_server.host])
    with (
        working(worker),
        SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
    ):
        until(lambda: worker.gearman_worker.handler_to_connection_map)
        (handler,) = worker.gearman_worker.handler_to_connection_map
        until(lambda: handler.link.machine.empty_calls > 20, "calls in vain")
        calls, begun = handler.link.machine.empty_calls, time.monotonic()
        until(lambda: handler.link.machine.empty_calls > calls + 5, "more calls in vain")
        # Undamped, six calls take some milliseconds; noise can only make them slower.
        assert time.monotonic() - begun > 0.3
        assert client.large_grow(size=3) == "xxx"
        assert handler.link.machine.empty_calls < 20, "a job did not end the patience"
