"""Properties that hold for any bytes, and for any order of packets of a job server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gearmanny.errors import JobServerError, ProtocolError
from gearmanny.payload.sizes import Oversized
from gearmanny.protocol import client, worker
from gearmanny.protocol.admin import AdminConnection, parse_status, parse_worker
from gearmanny.protocol.client import ClientConnection
from gearmanny.protocol.incoming import Packet
from gearmanny.protocol.packets import PacketType, pack
from gearmanny.protocol.parser import PacketParser
from gearmanny.protocol.worker import WorkerConnection
from tests.unit.test_protocol_together import requests
from tests.unit.wire import OPTION_RES, response

T = PacketType
LIMIT = 64
"""Bytes: small, so that packets over it are as usual as others."""

# The same examples in every run: fuzz/ looks for new ones.
same_each_time = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)

FROM_SERVER = {
    T.NOOP: 0, T.JOB_CREATED: 1, T.NO_JOB: 0, T.WORK_STATUS: 3, T.WORK_COMPLETE: 2,
    T.WORK_FAIL: 1, T.ERROR: 2, T.WORK_EXCEPTION: 2, T.OPTION_RES: 1, T.WORK_DATA: 2,
    T.WORK_WARNING: 2, T.JOB_ASSIGN_UNIQ: 4, T.STATUS_RES: 5, T.STATUS_RES_UNIQUE: 6,
}  # fmt: skip
"""How many arguments each packet of a job server has."""

names = st.sampled_from([b"H:1", b"H:2", b"f", b"exceptions"])
payloads = st.binary(max_size=2 * LIMIT)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    type, count = draw(st.sampled_from(list(FROM_SERVER.items())))
    arguments = [draw(names) for _ in range(count)]
    return response(type, *arguments[:-1], draw(payloads) if count > 1 else b"".join(arguments))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A stream of packets with some bytes replaced, inserted or removed."""
    stream = bytearray(b"".join(draw(st.lists(packets(), max_size=6))))
    for at, length, data in draw(
        st.lists(st.tuples(st.integers(0, 400), st.integers(0, 8), st.binary(max_size=8)))
    ):
        stream[at : at + length] = data
    return bytes(stream)


streams = st.one_of(st.binary(max_size=200), damaged())
cuts = st.lists(st.integers(1, 60), min_size=1, max_size=8)


def pieces(stream: bytes, sizes: list[int]) -> Iterable[bytes]:
    at = 0
    while at < len(stream):
        for size in sizes:
            yield stream[at : at + size]
            at += size


def outcome(feed: Callable[[bytes], Iterable[object]], parts: Iterable[bytes]) -> list[object]:
    """The events that came out, and the error that ended them."""
    told: list[object] = []
    try:
        for part in parts:
            for item in feed(part):
                told.append(item)
    except ProtocolError as error:
        told.append(str(error))
    return told


@same_each_time
@given(streams, cuts)
def test_any_bytes_are_packets_or_a_protocol_error_however_they_are_cut(
    stream: bytes, sizes: list[int]
) -> None:
    whole = outcome(PacketParser(LIMIT).feed, [stream])
    assert outcome(PacketParser(LIMIT).feed, pieces(stream, sizes)) == whole


@same_each_time
@given(streams)
def test_no_payload_that_is_kept_is_over_the_limit(stream: bytes) -> None:
    for item in outcome(PacketParser(LIMIT).feed, [stream]):
        if isinstance(item, tuple):
            packet: Packet = item
            assert all(len(argument) <= LIMIT for argument in packet[1][-1:])


@same_each_time
@given(
    st.sampled_from([T.WORK_STATUS, T.WORK_COMPLETE, T.WORK_DATA, T.WORK_EXCEPTION]),
    st.data(),
)
def test_what_is_packed_can_be_parsed(type: PacketType, data: st.DataObject) -> None:
    without_nul = st.binary(max_size=20).map(lambda name: name.replace(b"\0", b""))
    arguments = [data.draw(without_nul) for _ in range(FROM_SERVER[type] - 1)]
    arguments.append(data.draw(st.binary(max_size=500)))
    packed = b"".join(pack(type, *arguments))
    assert list(PacketParser().feed(b"\0RES" + packed[4:])) == [(type, arguments)]


@same_each_time
@given(streams, st.integers(0, 4))
def test_a_client_takes_any_bytes_and_forgets_no_job(stream: bytes, jobs: int) -> None:
    connection = ClientConnection(LIMIT)
    for job in range(jobs):
        if job % 2:
            connection.ask_status(job, b"H:1")
        else:
            connection.submit(job, b"f", b"{}")
    ended = set()
    for item in outcome(connection.receive, [stream]):
        if isinstance(item, tuple):
            job, event = item
            assert job not in ended, "a job was told of after its end"
            if isinstance(event, FINAL):
                ended.add(job)
    left = connection.unanswered()
    assert sorted([*left, *ended], key=str) == list(range(jobs))


FINAL = (client.Completed, client.Failed, client.Excepted, client.Rejected, client.StatusReceived)


@same_each_time
@given(streams, st.integers(1, 4))
def test_a_worker_takes_any_bytes_and_counts_right(stream: bytes, asked: int) -> None:
    connection = WorkerConnection(LIMIT)
    connection.offer([b"f", b"H:1"])
    connection.grab(asked)
    jobs = [
        item for item in outcome(connection.receive, [stream]) if isinstance(item, worker.Assigned)
    ]
    assert {job.handle for job in jobs} == connection.held
    assert len(jobs) == len(connection.held)
    assert 0 <= connection.asking <= asked - len(jobs)


@same_each_time
@given(st.binary(max_size=200), cuts)
def test_any_answer_to_a_command_is_rows_or_an_error_of_ours(
    answer: bytes, sizes: list[int]
) -> None:
    for read in (AdminConnection.receive_rows, AdminConnection.receive_line):
        connection = AdminConnection()
        try:
            for part in pieces(answer, sizes):
                read(connection, part)
        except JobServerError:
            pass


numbers = st.one_of(st.integers(-9, 2**33).map(str), st.text(max_size=3))
status_rows = st.lists(numbers, min_size=3, max_size=5).map("\t".join)


@same_each_time
@given(st.one_of(st.text(), status_rows))
def test_any_row_is_a_status_without_negative_counts_or_a_protocol_error(row: str) -> None:
    for parse in (parse_status, parse_worker):
        try:
            parsed = parse(row)
        except ProtocolError:
            continue
        assert all(number >= 0 for number in parsed if isinstance(number, int))


handles = st.sampled_from([b"H:%d" % number for number in range(4)])


class ClientAgainstServer(RuleBasedStateMachine):
    """A client, and a job server that sends whatever it may: also late, twice, and of strangers."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = ClientConnection(LIMIT)
        list(self.connection.receive(OPTION_RES))
        self.connection.data_to_send()
        self.submitted = 0
        self.unanswered: deque[tuple[int, bool | None]] = deque()
        """Jobs and whether they are background ones; None for a question."""
        self.handle_of: dict[int, bytes] = {}
        self.waiting: set[int] = set()
        """Jobs that may still be told of."""

    @rule(background=st.booleans(), payload=payloads)
    def submit(self, background: bool, payload: bytes) -> None:
        job, self.submitted = self.submitted, self.submitted + 1
        self.connection.submit(job, b"f", payload, b"u%d" % job, background=background)
        ((type, body),) = requests(self.connection.data_to_send())
        assert type is (T.SUBMIT_JOB_BG if background else T.SUBMIT_JOB)
        assert body.split(b"\0", 2) == [b"f", b"u%d" % job, payload]
        self.unanswered.append((job, background))
        self.waiting.add(job)

    @rule(handle=handles, by_unique=st.booleans())
    def ask(self, handle: bytes, by_unique: bool) -> None:
        question, self.submitted = self.submitted, self.submitted + 1
        if by_unique:
            self.connection.ask_status_of_unique(question, handle)
        else:
            self.connection.ask_status(question, handle)
        ((type, body),) = requests(self.connection.data_to_send())
        assert type is (T.GET_STATUS_UNIQUE if by_unique else T.GET_STATUS)
        assert body == handle
        self.unanswered.append((question, None))
        self.waiting.add(question)

    @precondition(lambda self: self.unanswered and self.unanswered[0][1] is None)
    @rule(handle=handles, known=st.booleans())
    def answer(self, handle: bytes, known: bool) -> None:
        question, _ = self.unanswered.popleft()
        assert self.tell(T.STATUS_RES, handle, b"%d" % known, b"0", b"1", b"2") == [
            (question, client.StatusReceived(known, False, b"1", b"2"))
        ]
        self.waiting.discard(question)

    @precondition(lambda self: self.unanswered and self.unanswered[0][1] is not None)
    @rule(handle=handles)
    def create(self, handle: bytes) -> None:
        job, background = self.unanswered.popleft()
        assert self.tell(T.JOB_CREATED, handle) == [(job, client.Created(handle))]
        if background:
            self.waiting.discard(job)
        else:
            self.handle_of[job] = handle

    @precondition(lambda self: self.unanswered)
    @rule()
    def reject(self) -> None:
        job, _ = self.unanswered.popleft()
        assert self.tell(T.ERROR, b"QUEUE_ERROR", b"full") == [
            (job, client.Rejected(b"QUEUE_ERROR", b"full"))
        ]
        self.waiting.discard(job)

    @rule(
        type=st.sampled_from([T.WORK_DATA, T.WORK_WARNING, T.WORK_STATUS]),
        handle=handles,
        payload=payloads,
    )
    def update(self, type: PacketType, handle: bytes, payload: bytes) -> None:
        extra = (b"1", b"2") if type is T.WORK_STATUS else (payload,)
        self.check_told(handle, self.tell(type, handle, *extra), payload)

    @rule(
        type=st.sampled_from([T.WORK_COMPLETE, T.WORK_EXCEPTION, T.WORK_FAIL]),
        handle=handles,
        payload=payloads,
    )
    def end(self, type: PacketType, handle: bytes, payload: bytes) -> None:
        told = (
            self.tell(type, handle + b"\0")
            if type is T.WORK_FAIL
            else self.tell(type, handle, payload)
        )
        self.check_told(handle, told, payload)
        for job, event in told:
            assert isinstance(event, FINAL)
            self.waiting.discard(job)

    def tell(self, type: PacketType, *arguments: bytes) -> list[tuple[int, client.Event]]:
        return [*self.connection.receive(response(type, *arguments))]  # type: ignore[list-item]

    def check_told(
        self, handle: bytes, told: list[tuple[int, client.Event]], payload: bytes
    ) -> None:
        owners = {job for job in self.waiting if self.handle_of.get(job) == handle}
        assert len(told) == bool(owners), "one copy is for one submission"
        for job, event in told:
            assert job in owners, "the answer of another's"
            data = getattr(event, "data", payload)
            fits = len(handle) + 1 + len(payload) <= LIMIT
            if isinstance(data, Oversized):
                assert not fits
                assert data.length == len(payload)
            elif "data" in event._fields:
                assert fits
                assert data == payload

    def teardown(self) -> None:
        assert set(self.connection.unanswered()) == self.waiting


class WorkerAgainstServer(RuleBasedStateMachine):
    """A worker that answers what it likes, and a job server that sends whatever it may."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = WorkerConnection(LIMIT)
        self.connection.offer([b"f"])
        self.connection.data_to_send()
        self.asking = 0
        self.held: set[bytes] = set()
        self.assigned = 0

    @rule(jobs=st.integers(1, 3))
    def grab(self, jobs: int) -> None:
        awake = self.connection.awake
        self.connection.grab(jobs)
        sent = self.sent()
        assert sent.count(T.GRAB_JOB_UNIQ) == (jobs if awake else 0)
        self.asking += sent.count(T.GRAB_JOB_UNIQ)

    @rule()
    def wake(self) -> None:
        self.connection.wake()

    @rule(functions=st.sets(st.sampled_from([b"f", b"g"])))
    def offer(self, functions: set[bytes]) -> None:
        self.connection.offer(functions)
        assert T.CANT_DO not in self.sent() or not (self.held or self.asking)

    @precondition(lambda self: self.asking)
    @rule(payload=payloads)
    def assign(self, payload: bytes) -> None:
        offered = self.connection._functions | self.connection._withdrawn
        if not offered:
            return
        self.assigned += 1
        handle, function = b"H:%d" % self.assigned, min(offered)
        ((told),) = self.connection.receive(
            response(T.JOB_ASSIGN_UNIQ, handle, function, b"", payload)
        )
        assert isinstance(told, worker.Assigned)
        assert told[:2] == (handle, function)
        fits = len(handle) + len(function) + 3 + len(payload) <= LIMIT
        assert told.data == (payload if fits else b"")
        assert isinstance(told.data, Oversized) is not fits
        self.asking -= 1
        self.held.add(handle)
        assert self.connection.empty_calls == 0

    @precondition(lambda self: self.asking)
    @rule()
    def no_job(self) -> None:
        assert list(self.connection.receive(response(T.NO_JOB))) == []
        self.asking -= 1

    @rule()
    def call(self) -> None:
        assert list(self.connection.receive(response(T.NOOP))) == []

    @rule()
    def refuse(self) -> None:
        assert list(self.connection.receive(response(T.ERROR, b"JOB_NOT_FOUND", b""))) == [
            worker.Refused(b"JOB_NOT_FOUND", b"")
        ]

    @rule(number=st.integers(0, 5), how=st.sampled_from(["complete", "fail", "raise"]))
    def answer(self, number: int, how: str) -> None:
        handle = b"H:%d" % (self.assigned - number)
        self.sent()
        if how == "complete":
            self.connection.complete(handle, b"1")
        elif how == "fail":
            self.connection.fail(handle)
        else:
            self.connection.raise_(handle, b"e")
        answers = self.sent() & {T.WORK_COMPLETE, T.WORK_FAIL, T.WORK_EXCEPTION}
        assert len(answers) == (handle in self.held), "answered twice, or what is not ours"
        self.held.discard(handle)

    @invariant()
    def counts_are_right(self) -> None:
        assert self.connection.asking == self.asking
        assert self.connection.held == self.held
        assert self.connection.empty_calls >= 0

    def sent(self) -> Sent:
        return Sent(type for type, _ in requests(self.connection.data_to_send()))


class Sent(list[PacketType]):
    def __and__(self, types: set[PacketType]) -> list[PacketType]:
        return [type for type in self if type in types]


@pytest.mark.parametrize("machine", [ClientAgainstServer, WorkerAgainstServer])
def test_no_order_of_packets_mixes_jobs_up(machine: type[RuleBasedStateMachine]) -> None:
    machine.TestCase.settings = settings(same_each_time, stateful_step_count=40)
    machine.TestCase().runTest()
