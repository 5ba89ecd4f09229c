"""Which job is next, which jobs are equal, and what is known of one."""

from __future__ import annotations

import pytest

from gearmanny.protocol.packets import PacketType as P
from tests.unit.test_protocol_server import NO_JOB, Machine, created
from tests.unit.wire import response


def test_the_highest_priority_is_served_first_and_then_the_oldest_job() -> None:
    machine = Machine()
    worker = machine.connect()
    for name in (b"f", b"g"):
        machine.ask(worker, P.CAN_DO, name)
    for type_, name, data in (
        (P.SUBMIT_JOB_LOW_BG, b"f", b"5"),
        (P.SUBMIT_JOB_BG, b"g", b"3"),
        (P.SUBMIT_JOB_BG, b"f", b"4"),
        (P.SUBMIT_JOB_HIGH_BG, b"g", b"1"),
        (P.SUBMIT_JOB_HIGH_BG, b"f", b"2"),
    ):
        machine.ask(worker, type_, name, b"", data)
    grabbed = [machine.ask(worker, P.GRAB_JOB) for _ in range(5)]
    assert [answer.rpartition(b"\0")[2] for answer in grabbed] == [b"1", b"2", b"3", b"4", b"5"]
    assert machine.ask(worker, P.GRAB_JOB) == NO_JOB


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ((b"f", b"key", b"a"), (b"f", b"key", b"b"), True),
        ((b"f", b"key", b"a"), (b"g", b"key", b"a"), False),
        ((b"f", b"", b"a"), (b"f", b"", b"a"), False),
        ((b"f", b"-", b"a"), (b"f", b"-", b"a"), True),
        ((b"f", b"-", b"a"), (b"f", b"-", b"b"), False),
        ((b"f", b"-", b""), (b"f", b"-", b""), False),
    ],
)
def test_equal_jobs_join(first: tuple[bytes, ...], second: tuple[bytes, ...], joined: bool) -> None:
    machine = Machine()
    caller = machine.connect()
    machine.ask(caller, P.SUBMIT_JOB_BG, *first)
    assert machine.ask(caller, P.SUBMIT_JOB_BG, *second) == created(1 if joined else 2)


def test_a_job_that_is_done_is_joined_no_more() -> None:
    machine = Machine()
    worker = machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(worker, P.SUBMIT_JOB_BG, b"f", b"key", b"")
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"")
    assert machine.ask(worker, P.SUBMIT_JOB_BG, b"f", b"key", b"") == created(2)


def test_a_unique_key_that_is_too_long_is_refused_and_makes_no_job() -> None:
    machine = Machine()
    answer = machine.ask(machine.connect(), P.SUBMIT_JOB_BG, b"f", b"u" * 64, b"")
    assert b"ARGUMENT_TOO_LARGE\0Unique value too large" in answer
    assert machine.text("show jobs") == ".\n"


def test_the_state_of_a_job_is_known_by_its_unique_key() -> None:
    machine = Machine()
    worker, one, other = (machine.connect() for _ in range(3))
    machine.ask(worker, P.CAN_DO, b"f")
    for caller in (one, other):
        machine.ask(caller, P.SUBMIT_JOB, b"f", b"key", b"")
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.WORK_STATUS, b"H:t:1", b"3", b"10")
    asking = machine.connect()
    assert machine.ask(asking, P.GET_STATUS_UNIQUE, b"key") == response(
        P.STATUS_RES_UNIQUE, b"key", b"1", b"1", b"3", b"10", b"2"
    )


@pytest.mark.parametrize(
    ("question", "answer"),
    [(P.GET_STATUS, P.STATUS_RES), (P.GET_STATUS_UNIQUE, P.STATUS_RES_UNIQUE)],
)
def test_nothing_is_known_of_a_job_that_is_not_there(question: P, answer: P) -> None:
    machine = Machine()
    _, *known = machine.ask(machine.connect(), question, b"x")[12:].split(b"\0")
    assert set(known) == {b"0"}
    assert machine.ask(machine.connect(), question, b"x")[4:8] == answer.to_bytes(4, "big")
