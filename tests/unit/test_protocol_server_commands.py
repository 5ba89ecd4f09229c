"""The job server without sockets: what clients, workers and administrators ask it."""

from __future__ import annotations

import pytest

from gearmanny.protocol.outgoing import take_next
from gearmanny.protocol.packets import PacketType as P
from tests.unit.test_protocol_server import NO_JOB, Machine, created
from tests.unit.wire import response

WRONG = "ERR INVALID_ARGUMENTS The+arguments+of+{}+are+not+right\r\n"


def test_a_status_is_told_by_handle_and_by_key() -> None:
    machine = Machine()
    caller, worker = machine.connect(), machine.connect()
    for _ in range(2):
        machine.ask(caller, P.SUBMIT_JOB, b"f", b"key", b"")
    machine.ask(worker, P.CAN_DO, b"f")
    queued = response(P.STATUS_RES, b"H:t:1", b"1", b"0", b"0", b"0")
    assert machine.ask(worker, P.GET_STATUS, b"H:t:1") == queued
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.WORK_STATUS, b"H:t:1", b"1", b"2")
    by_key = response(P.STATUS_RES_UNIQUE, b"key", b"1", b"1", b"1", b"2", b"2")
    assert machine.ask(worker, P.GET_STATUS_UNIQUE, b"key") == by_key
    machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"")
    unknown = response(P.STATUS_RES_UNIQUE, b"key", b"0", b"0", b"0", b"0", b"0")
    assert machine.ask(worker, P.GET_STATUS_UNIQUE, b"key") == unknown


def test_a_key_finds_its_jobs_in_all_functions_one_after_another() -> None:
    machine = Machine()
    caller = machine.connect()
    for function in (b"f", b"g"):
        machine.ask(caller, P.SUBMIT_JOB_BG, function, b"key", b"")
    queue = machine.server.broker.queue
    for handle in (b"H:t:1", b"H:t:2"):
        job = queue.find_unique(b"key")
        assert job is not None
        assert job.handle == handle
        assert machine.text(f"cancel job {handle.decode()}") == "OK\r\n"
    assert queue.find_unique(b"key") is None
    assert queue._uniques == {}
    machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"-", b"data")
    assert queue.find_unique(b"-") is None


def test_failures_reach_each_caller_as_it_asked() -> None:
    machine = Machine()
    asking, plain, worker = machine.connect(), machine.connect(), machine.connect()
    granted = response(P.OPTION_RES, b"exceptions")
    assert machine.ask(asking, P.OPTION_REQ, b"exceptions") == granted
    unknown = b"Server does not recognize given option"
    assert machine.ask(plain, P.OPTION_REQ, b"x") == response(P.ERROR, b"UNKNOWN_OPTION", unknown)
    for caller in (asking, plain, plain):
        machine.ask(caller, P.SUBMIT_JOB, b"f", b"key", b"")
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.WORK_EXCEPTION, b"H:t:1", b"boom")
    assert asking.data_to_send() == response(P.WORK_EXCEPTION, b"H:t:1", b"boom")
    assert plain.data_to_send() == response(P.WORK_FAIL, b"H:t:1") * 2


def test_a_long_key_and_a_full_queue_are_refused() -> None:
    machine = Machine()
    caller = machine.connect()
    too_large = response(P.ERROR, b"ARGUMENT_TOO_LARGE", b"Unique value too large")
    assert machine.ask(caller, P.SUBMIT_JOB, b"f", b"k" * 64, b"") == too_large
    assert machine.text("create function f") == "OK\r\n"
    assert machine.text("maxqueue f 1") == "OK\r\n"
    assert machine.ask(caller, P.SUBMIT_JOB, b"f", b"", b"") == created(1)
    full = response(P.ERROR, b"QUEUE_ERROR", b"Job queue is full")
    assert machine.ask(caller, P.SUBMIT_JOB, b"f", b"", b"") == full
    assert machine.text("maxqueue f") == "OK\r\n"
    assert machine.ask(caller, P.SUBMIT_JOB, b"f", b"", b"") == created(2)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("cancel job", WRONG.format("cancel+job")),
        ("cancel job none", "ERR UNKNOWN_JOB\r\n"),
        ("create function a b", WRONG.format("create+function")),
        ("drop function", WRONG.format("drop+function")),
        ("drop function none", "ERR function not found\r\n"),
        ("maxqueue", WRONG.format("maxqueue")),
        ("maxqueue none 5", "OK\r\n"),
        ("prioritystatus", ".\n"),
        ("show jobs", ".\n"),
        ("show unique jobs", ".\n"),
        ("verbose", "OK ERROR\n"),
        ("getpid", "OK 7\n"),
        ("VERSION", "OK t\n"),
        ("", "ERR UNKNOWN_COMMAND Unknown+server+command+\r\n"),
        ("shutdown", "ERR UNKNOWN_COMMAND Unknown+server+command+shutdown\r\n"),
    ],
)
def test_commands(command: str, answer: str) -> None:
    assert Machine().text(command) == answer


def test_commands_list_jobs() -> None:
    machine = Machine()
    caller = machine.connect()
    machine.ask(caller, P.SUBMIT_JOB_HIGH, b"f", b"one", b"")
    machine.ask(caller, P.SUBMIT_JOB_LOW_BG, b"f", b"two", b"")
    assert machine.text("prioritystatus") == "f\t1\t0\t1\t0\n.\n"
    assert machine.text("show jobs") == "H:t:1\t0\t0\t0\nH:t:2\t0\t0\t1\n.\n"
    assert machine.text("show unique jobs") == "one\ntwo\n.\n"
    assert machine.text("cancel job H:t:2") == "OK\r\n"
    assert machine.text("drop function f") == "OK\r\n"
    assert machine.text("status") == ".\n"
    assert caller.data_to_send().endswith(response(P.WORK_FAIL, b"H:t:1"))


def test_a_function_that_somebody_offers_is_not_dropped() -> None:
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    answer = "ERR there are still connected workers or executing clients\r\n"
    assert machine.text("drop function f") == answer
    machine.ask(worker, P.CANT_DO, b"none")
    assert machine.ask(worker, P.GRAB_JOB) == NO_JOB


def test_large_and_many_pieces_are_sent_in_their_order() -> None:
    queued: list[bytes | memoryview] = [b"head", b"x" * 300_000, *([b"y"] * 5000)]
    expected = b"".join(queued)
    taken = []
    while data := take_next(queued):
        assert len(data) <= 256 * 1024
        taken.append(bytes(data))
    assert b"".join(taken) == expected
