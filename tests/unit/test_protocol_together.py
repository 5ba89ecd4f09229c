"""A client and a worker that talk through a job server of a few lines, in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import pytest

from gearmanny.protocol.client import (
    ClientConnection,
    Completed,
    Created,
    Event,
    Excepted,
    Failed,
    Progressed,
    Warned,
)
from gearmanny.protocol.packets import PacketType
from gearmanny.protocol.worker import Assigned, WorkerConnection
from tests.unit.wire import OPTION_RES, response

T = PacketType
FORWARDED = {T.WORK_STATUS, T.WORK_DATA, T.WORK_WARNING, T.WORK_COMPLETE, T.WORK_EXCEPTION}


def requests(data: bytes) -> list[tuple[PacketType, bytes]]:
    """Cuts what a client or worker sent into types and bodies."""
    found = []
    while data:
        assert data[:4] == b"\0REQ"
        length = int.from_bytes(data[8:12], "big")
        found.append((PacketType(int.from_bytes(data[4:8], "big")), data[12 : 12 + length]))
        data = data[12 + length :]
    return found


class JobServer:
    """One queue between one client and one worker."""

    def __init__(self) -> None:
        self.client = ClientConnection()
        self.worker = WorkerConnection()
        self.queue: deque[bytes] = deque()
        self.created = 0
        self.asleep = False
        self.events: list[tuple[Hashable, Event]] = []
        self.worker.offer([b"f"])

    def run(self) -> None:
        """Carries bytes, and lets the worker work, until nobody has anything to say."""
        while (asked := self.client.data_to_send()) or (done := self.worker.data_to_send()):
            for type, body in requests(asked or done):
                self.answer(type, body)

    def answer(self, type: PacketType, body: bytes) -> None:
        if type is T.OPTION_REQ:
            self.to_client(OPTION_RES)
        elif type is T.SUBMIT_JOB:
            function, unique, data = body.split(b"\0", 2)
            self.created += 1
            handle = b"H:memory:%d" % self.created
            self.queue.append(b"\0".join((handle, function, unique, data)))
            self.to_client(response(T.JOB_CREATED, handle))
            if self.asleep:
                self.asleep = False
                self.to_worker(response(T.NOOP))
        elif type is T.GRAB_JOB_UNIQ and self.queue:
            self.to_worker(response(T.JOB_ASSIGN_UNIQ, self.queue.popleft()))
        elif type is T.GRAB_JOB_UNIQ:
            self.to_worker(response(T.NO_JOB))
        elif type is T.PRE_SLEEP:
            self.asleep = True
        elif type is T.WORK_FAIL:
            self.to_client(response(type, body + b"\0"))
        elif type in FORWARDED:
            self.to_client(response(type, body))
        else:
            assert (type, body) == (T.CAN_DO, b"f")

    def to_client(self, data: bytes) -> None:
        self.events += self.client.receive(data)

    def to_worker(self, data: bytes) -> None:
        for event in self.worker.receive(data):
            assert isinstance(event, Assigned)
            self.work(event.handle, event.data)
        self.worker.grab()

    def work(self, handle: bytes, data: bytes) -> None:
        """The task: does what its payload says."""
        if data == b"fail":
            self.worker.send_warning(handle, b"why")
            self.worker.fail(handle)
        elif data == b"raise":
            self.worker.raise_(handle, b"why")
        else:
            self.worker.send_status(handle, b"1", b"2")
            self.worker.complete(handle, data[::-1])


@pytest.fixture
def server() -> JobServer:
    return JobServer()


def test_a_call_comes_back_with_its_result(server: JobServer) -> None:
    server.client.submit("job", b"f", b"a\0b")
    server.worker.grab()
    server.run()
    assert server.events == [
        ("job", Created(b"H:memory:1")),
        ("job", Progressed(b"1", b"2")),
        ("job", Completed(b"b\0a")),
    ]
    assert not server.worker.awake
    assert server.client.unanswered() == []


def test_a_sleeping_worker_is_called_for_the_next_job(server: JobServer) -> None:
    server.worker.grab()
    server.run()
    assert not server.worker.awake
    server.client.submit("job", b"f", b"ab")
    server.run()
    assert server.events[-1] == ("job", Completed(b"ba"))
    assert not server.worker.awake


def test_failures_come_back_to_who_called_and_the_worker_goes_on(server: JobServer) -> None:
    for number, payload in enumerate((b"fail", b"ab", b"raise", b"cd")):
        server.client.submit(number, b"f", payload)
    server.worker.grab()
    server.run()
    outcomes = [
        (job, event) for job, event in server.events if not isinstance(event, (Created, Progressed))
    ]
    assert outcomes == [
        (0, Warned(b"why")),
        (0, Failed()),
        (1, Completed(b"ba")),
        (2, Excepted(b"why")),
        (3, Completed(b"dc")),
    ]
