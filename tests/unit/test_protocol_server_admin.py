"""The text commands of the job server: one line in, the rows or the refusal out."""

from __future__ import annotations

import pytest

from gearmanny.protocol.packets import PacketType as P
from tests.unit.test_protocol_server import NOON, Machine, created


def busy_machine() -> Machine:
    """A job server with a worker that runs one job, and jobs of every priority that wait."""
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.SET_CLIENT_ID, b"worker-1")
    machine.ask(worker, P.CAN_DO, b"f")
    for type_, unique in (
        (P.SUBMIT_JOB_HIGH_BG, b"runs"),
        (P.SUBMIT_JOB_HIGH_BG, b"high"),
        (P.SUBMIT_JOB, b"normal"),
        (P.SUBMIT_JOB_LOW_BG, b"low"),
    ):
        machine.ask(worker, type_, b"f", unique, b"")
    machine.ask(worker, P.GRAB_JOB)
    return machine


def test_status_counts_jobs_and_workers_of_each_function() -> None:
    assert busy_machine().text("status") == "f\t4\t1\t1\n.\n"


def test_the_status_of_priorities_counts_the_jobs_that_wait() -> None:
    assert busy_machine().text("prioritystatus") == "f\t1\t1\t1\t1\n.\n"


def test_workers_lists_every_connection_and_what_it_offers() -> None:
    machine = busy_machine()
    asked_from = "1 127.0.0.1 - :\n"
    assert machine.text("workers") == f"1 127.0.0.1 worker-1 : f\n{asked_from}.\n"


def test_jobs_are_listed_with_retries_and_whether_anybody_wants_them() -> None:
    machine = busy_machine()
    assert machine.text("show jobs") == (
        "H:t:1\t0\t0\t1\nH:t:2\t0\t0\t1\nH:t:3\t0\t0\t0\nH:t:4\t0\t0\t1\n.\n"
    )


def test_jobs_are_listed_by_their_unique_keys() -> None:
    assert busy_machine().text("show unique jobs") == "runs\nhigh\nnormal\nlow\n.\n"


def test_a_job_that_is_not_there_cannot_be_cancelled() -> None:
    assert Machine().text("cancel job H:t:1") == "ERR UNKNOWN_JOB\r\n"


def test_a_function_can_be_created_before_anybody_offers_it() -> None:
    machine = Machine()
    assert machine.text("create function f") == "OK\r\n"
    assert machine.status(b"f") == [0, 0, 0]


@pytest.mark.parametrize("command", ["cancel job", "create function", "drop function"])
@pytest.mark.parametrize("arguments", ["", " a b"])
def test_a_command_for_one_thing_takes_one_argument(command: str, arguments: str) -> None:
    answer = Machine().text(command + arguments)
    words = command.replace(" ", "+")
    assert answer == f"ERR INVALID_ARGUMENTS The+arguments+of+{words}+are+not+right\r\n"


def test_an_unknown_function_cannot_be_dropped() -> None:
    assert Machine().text("drop function f") == "ERR function not found\r\n"


def test_a_function_in_use_cannot_be_dropped() -> None:
    machine = busy_machine()
    assert machine.text("drop function f").startswith("ERR there are still connected workers")
    assert machine.status(b"f") == [4, 1, 1]


@pytest.mark.parametrize("command", ["", "shutdown", "show", "STATUSES"])
def test_an_unknown_command_is_refused_by_its_name(command: str) -> None:
    assert Machine().text(command) == (f"ERR UNKNOWN_COMMAND Unknown+server+command+{command}\r\n")


@pytest.mark.parametrize(
    ("command", "answer"),
    [("version", "OK t\n"), ("VERSION", "OK t\n"), ("getpid", "OK 7\n"), ("verbose", "OK ERROR\n")],
)
def test_the_server_says_what_it_is(command: str, answer: str) -> None:
    assert Machine().text(command) == answer


def test_a_limit_of_each_priority_refuses_the_jobs_above_it() -> None:
    machine = Machine()
    caller = machine.connect()
    machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"first", b"")
    assert machine.text("maxqueue f 2 1 1") == "OK\r\n"
    assert b"QUEUE_ERROR\0Job queue is full" in machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"", b"")
    assert machine.ask(caller, P.SUBMIT_JOB_HIGH_BG, b"f", b"", b"") == created(2)
    assert b"QUEUE_ERROR" in machine.ask(caller, P.SUBMIT_JOB_HIGH_BG, b"f", b"", b"")


def test_a_limit_is_for_all_priorities_and_is_lifted_without_a_number() -> None:
    machine = Machine()
    caller = machine.connect()
    machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"first", b"")
    assert machine.text("maxqueue f 1") == "OK\r\n"
    for type_ in (P.SUBMIT_JOB_BG, P.SUBMIT_JOB_HIGH_BG, P.SUBMIT_JOB_LOW_BG):
        assert b"QUEUE_ERROR" in machine.ask(caller, type_, b"f", b"", b"")
    later = b"%d" % (NOON + 1)
    assert b"QUEUE_ERROR" in machine.ask(caller, P.SUBMIT_JOB_EPOCH, b"f", b"", later, b"")
    assert machine.text("maxqueue f") == "OK\r\n"
    assert machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"", b"") == created(2)


def test_a_full_queue_still_lets_equal_jobs_join() -> None:
    machine = Machine()
    caller = machine.connect()
    machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"key", b"")
    machine.text("maxqueue f 1")
    assert machine.ask(caller, P.SUBMIT_JOB_BG, b"f", b"key", b"") == created(1)


def test_a_limit_of_an_unknown_function_makes_no_function() -> None:
    machine = Machine()
    assert machine.text("maxqueue f 1") == "OK\r\n"
    assert machine.text("status") == ".\n"


def test_a_name_that_is_not_utf_8_is_listed_as_it_was_sent() -> None:
    machine = Machine()
    asking = machine.connect()
    machine.ask(asking, P.CAN_DO, b"f\xff")
    machine.server.receive(asking, b"status\n", NOON, NOON)
    assert asking.data_to_send() == b"f\xff\t0\t0\t1\n.\n"
