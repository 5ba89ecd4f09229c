"""The bounds of the job server: the requests it refuses, and the connections it gives up."""

from __future__ import annotations

import pytest

from gearmanny.errors import ProtocolError
from gearmanny.protocol.packets import PacketType as P
from gearmanny.protocol.room import Refusal
from tests.unit.test_protocol_server import NOON, Machine, Recorded, created
from tests.unit.wire import request, response

FULL = b"The job server has no memory for more: it is full of jobs. Try again later"
JOB = 1000
"""Estimated memory of a job without a payload, in bytes."""


def test_jobs_are_refused_when_the_memory_for_them_is_taken() -> None:
    machine = Machine(max_memory=600 + 1 + 300 + 2 * JOB)
    worker = machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    for number in (1, 2):
        assert machine.ask(worker, P.SUBMIT_JOB_BG, b"f", b"", b"") == created(number)
    refusal = response(P.ERROR, b"QUEUE_ERROR", FULL)
    assert machine.ask(worker, P.SUBMIT_JOB_BG, b"f", b"", b"") == refusal
    assert machine.ask(worker, P.CAN_DO, b"g") == refusal
    assert machine.text("create function g") == (
        "ERR QUEUE_ERROR " + FULL.decode().replace(" ", "+") + "\r\n"
    )
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"")
    assert machine.ask(worker, P.SUBMIT_JOB_BG, b"f", b"", b"x") == refusal
    assert machine.ask(worker, P.SUBMIT_JOB_BG, b"f", b"", b"").startswith(created(6)[:8])


def test_all_memory_is_given_back() -> None:
    machine = Machine()
    room = machine.server.broker._room
    worker = machine.connect()
    for _ in range(2):
        machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(worker, P.SUBMIT_JOB, b"f", b"", b"data")
    machine.ask(worker, P.GRAB_JOB)
    assert room.taken == 600 + 1 + 300 + JOB + 4
    machine.ask(worker, P.WORK_FAIL, b"H:t:1")
    machine.ask(worker, P.CANT_DO, b"f")
    assert machine.text("drop function f") == "OK\r\n"
    assert room.taken == 0


def test_a_name_or_a_progress_that_is_too_long_is_refused() -> None:
    machine = Machine()
    worker, caller = machine.connect(), machine.connect()
    refusal = response(P.ERROR, b"ARGUMENT_TOO_LARGE", b"Function value too large")
    assert machine.ask(worker, P.CAN_DO, b"f" * 8193) == refusal
    machine.ask(worker, P.CAN_DO, b"f" * 8192)
    machine.ask(caller, P.SUBMIT_JOB, b"f" * 8192, b"", b"")
    machine.ask(worker, P.GRAB_JOB)
    refusal = response(P.ERROR, b"ARGUMENT_TOO_LARGE", b"Progress value too large")
    assert machine.ask(worker, P.WORK_STATUS, b"H:t:1", b"1" * 65, b"2") == refusal
    assert machine.ask(worker, P.WORK_STATUS, b"H:t:1", b"1" * 64, b"2") == b""
    assert caller.data_to_send() == response(P.WORK_STATUS, b"H:t:1", b"1" * 64, b"2")


def test_a_connection_may_not_offer_very_many_functions() -> None:
    machine = Machine()
    worker = machine.connect()
    for number in range(2000):
        machine.ask(worker, P.CAN_DO, b"%d" % number)
    assert machine.ask(worker, P.CAN_DO, b"1999") == b""
    refusal = response(P.ERROR, b"QUEUE_ERROR", b"Too many functions for one connection")
    assert machine.ask(worker, P.CAN_DO, b"2000") == refusal
    machine.ask(worker, P.CANT_DO, b"0")
    assert machine.ask(worker, P.CAN_DO, b"2000") == b""


def test_who_leaves_too_much_unread_is_given_up() -> None:
    machine = Machine(max_unread=1000)
    deaf, worker = machine.connect(), machine.connect()
    machine.ask(deaf, P.SUBMIT_JOB, b"f", b"", b"")
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.WORK_DATA, b"H:t:1", b"x" * 5000)
    assert not deaf.deaf  # one may be of any size
    machine.server.ready.clear()
    machine.ask(worker, P.WORK_DATA, b"H:t:1", b"one more")
    assert deaf.deaf
    assert deaf in machine.server.ready
    assert deaf.data_to_send() == b""
    assert machine.server.unread.total == 0
    machine.ask(deaf, P.SUBMIT_JOB_BG, b"g", b"", b"")  # nor is it heard
    assert "g" not in machine.text("status")
    machine.server.disconnect(deaf)
    assert deaf not in machine.server.ready


def test_what_is_read_in_time_adds_up_to_nothing() -> None:
    machine = Machine(max_unread=1000)
    reading = machine.connect()
    for size in (0, 10, 300_000, 5):
        machine.tell(reading, P.ECHO_REQ, b"x" * min(size, 9000))
        while reading.data_to_send():
            pass
        assert (reading.unread, machine.server.unread.total) == (0, 0)


def test_answers_to_text_that_nobody_reads_are_bounded_more_tightly() -> None:
    machine = Machine(max_unread=10_000)
    deaf = machine.connect()
    machine.text("create function " + "f" * 1000)
    machine.server.receive(deaf, b"status\n" * 100, NOON, NOON)
    assert deaf.deaf
    assert machine.server.unread.total == 0


def test_those_that_read_least_are_given_up_first() -> None:
    machine = Machine(max_memory=20_000)
    few, some, many = (machine.connect() for _ in range(3))
    for connection, size in ((few, 1), (some, 1000), (many, 4000)):
        machine.tell(connection, P.ECHO_REQ, b"x" * size)
    machine.server._max_memory = 4000
    machine.server.shed()
    assert [connection.deaf for connection in (few, some, many)] == [False, False, True]
    machine.server.shed()
    assert not some.deaf
    machine.server._max_memory = -1
    machine.server.shed()
    assert some.deaf
    assert few.deaf


def test_payloads_that_arrive_are_bounded_together() -> None:
    machine = Machine(max_memory=9000)
    first, second = machine.connect(), machine.connect()
    job = request(P.SUBMIT_JOB_BG, b"f", b"", b"x" * 7000)
    assert not machine.server.is_within_payload(first)
    machine.server.receive(first, job[:6000], NOON, NOON)
    assert machine.server.is_within_payload(first)
    machine.server.receive(second, job[:6000], NOON, NOON)
    machine.server.receive(second, job[6000:], NOON, NOON)
    assert b"ARGUMENT_TOO_LARGE" in second.data_to_send()
    machine.server.receive(first, job[6000:], NOON, NOON)
    assert first.data_to_send() == created(1)
    # What has no payload ends its connection.
    echo = request(P.ECHO_REQ, b"x" * 9000)
    machine.server.receive(first, job[:6000], NOON, NOON)
    with pytest.raises(ProtocolError, match="not enough memory for a packet of 9012 bytes"):
        machine.server.receive(second, echo[:6000], NOON, NOON)
    for connection in (first, second):
        machine.server.disconnect(connection)
    assert machine.server._begun == 0


@pytest.mark.parametrize(
    "line", [b"POST / HTTP/1.1\r\n", b"GET /x?y HTTP/1.0\n", b"PRI * HTTP/2.0\r\n"]
)
def test_a_request_of_http_ends_its_connection(line: bytes) -> None:
    machine = Machine()
    browser = machine.connect()
    with pytest.raises(ProtocolError, match="an HTTP request"):
        machine.server.receive(browser, line + request(P.SUBMIT_JOB_BG, b"f", b"", b""), NOON, NOON)
    assert machine.text("status") == ".\n"


def test_a_function_may_be_called_as_http_is() -> None:
    assert Machine().text("create function HTTP/1.1") == "OK\r\n"


def test_rows_escape_what_would_break_them() -> None:
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.SET_CLIENT_ID, b"a\r\n.\n")
    machine.ask(worker, P.CAN_DO, b"tab\there \xc2\x85")
    assert machine.text("status") == "tab\\x09here \\x85\t0\t0\t1\n.\n"
    assert "1 127.0.0.1 a\\x0d\\x0a.\\x0a : tab\\x09here \\x85\n" in machine.text("workers")


def test_a_clock_on_the_wall_that_is_set_ends_no_job() -> None:
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.CAN_DO_TIMEOUT, b"f", b"1000")
    machine.ask(worker, P.SUBMIT_JOB, b"f", b"", b"")
    machine.ask(worker, P.GRAB_JOB)
    machine.server.pass_time(NOON + 3600, NOON + 0.5)
    assert worker.data_to_send() == b""
    machine.server.pass_time(NOON - 3600, NOON + 1)
    assert worker.data_to_send() == response(P.WORK_FAIL, b"H:t:1")


class Full(Recorded):
    """A journal on a full disk."""

    def keep(self, function: bytes, unique: bytes, data: bytes, priority: int, due: float) -> int:
        raise Refusal(b"QUEUE_ERROR", b"full")


def test_a_job_that_cannot_be_kept_is_refused() -> None:
    machine = Machine(Full())
    caller = machine.connect()
    refusal = response(P.ERROR, b"QUEUE_ERROR", b"full")
    assert machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"key", b"") == refusal
    assert machine.status(b"f") == [0, 0, 0]
    # One that somebody waits for goes on without being kept.
    assert machine.ask(caller, P.SUBMIT_JOB, b"f", b"key", b"") == created(2)
    assert machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"key", b"") == refusal
    assert machine.status(b"f") == [1, 0, 0]


def test_a_failed_commit_concerns_only_the_jobs_that_it_lost() -> None:
    journal = Recorded()
    machine = Machine(journal)
    one, other = machine.connect(), machine.connect()
    machine.ask(one, P.SUBMIT_JOB_BG, b"f", b"key", b"")
    machine.server.broker.unconfirmed.clear()  # committed
    machine.ask(one, P.SUBMIT_JOB_BG, b"f", b"key", b"")  # joins it
    machine.ask(other, P.SUBMIT_JOB_BG, b"f", b"", b"")
    assert machine.server.broker.lose_rows({2}) == [other]
    machine.ask(one, P.CAN_DO, b"f")
    machine.ask(one, P.GRAB_JOB)
    machine.ask(one, P.WORK_COMPLETE, b"H:t:1", b"")
    assert list(journal.kept) == [2]  # the first is still in the journal until it is done


def test_who_was_told_of_a_job_that_was_not_committed_is_named() -> None:
    journal = Recorded()
    machine = Machine(journal)
    told, other = machine.connect(), machine.connect()
    machine.ask(other, P.SUBMIT_JOB_BG, b"f", b"", b"")
    machine.server.broker.unconfirmed.clear()  # that one was
    machine.ask(told, P.SUBMIT_JOB_BG, b"f", b"", b"")
    machine.ask(other, P.SUBMIT_JOB, b"f", b"", b"")
    assert machine.server.broker.lose_rows({2}) == [told]
    assert machine.server.broker.lose_rows({2}) == []
    machine.ask(other, P.CAN_DO, b"f")
    for number in (1, 2):
        machine.ask(other, P.GRAB_JOB)
        machine.ask(other, P.WORK_COMPLETE, b"H:t:%d" % number, b"")
    assert list(journal.kept) == [2]  # nothing is to be forgotten that is not there
