"""The recipients of jobs and answers: joined, withdrawn and cancelled jobs."""

from __future__ import annotations

from gearmanny.protocol.packets import PacketType as P
from tests.unit.test_protocol_server import NO_JOB, NOOP, Machine, created
from tests.unit.wire import response


def test_each_submission_of_a_joined_job_gets_its_own_answer() -> None:
    machine = Machine()
    worker, one, other = (machine.connect() for _ in range(3))
    machine.ask(worker, P.CAN_DO, b"f")
    assert machine.ask(one, P.SUBMIT_JOB, b"f", b"key", b"") == created(1)
    assert machine.ask(one, P.SUBMIT_JOB, b"f", b"key", b"") == created(1)
    assert machine.ask(other, P.SUBMIT_JOB, b"f", b"key", b"") == created(1)
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"5")
    done = response(P.WORK_COMPLETE, b"H:t:1", b"5")
    assert (one.data_to_send(), other.data_to_send()) == (done * 2, done)


def test_a_caller_that_leaves_does_not_take_along_a_job_that_others_wait_for() -> None:
    machine = Machine()
    worker, one, other = (machine.connect() for _ in range(3))
    machine.ask(one, P.SUBMIT_JOB, b"f", b"key", b"")
    machine.ask(other, P.SUBMIT_JOB, b"f", b"key", b"")
    machine.server.disconnect(one)
    machine.ask(worker, P.CAN_DO, b"f")
    assert machine.ask(worker, P.GRAB_JOB) == response(P.JOB_ASSIGN, b"H:t:1", b"f", b"")


def test_withdrawing_a_function_gives_its_jobs_to_other_workers() -> None:
    machine = Machine()
    one, other = machine.connect(), machine.connect()
    for worker in (one, other):
        machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(one, P.SUBMIT_JOB_BG, b"f", b"", b"data")
    assert machine.ask(one, P.GRAB_JOB) == response(P.JOB_ASSIGN, b"H:t:1", b"f", b"data")
    assert machine.ask(other, P.PRE_SLEEP) == b""
    machine.ask(one, P.CANT_DO, b"f")
    assert other.data_to_send() == NOOP
    assert machine.ask(one, P.GRAB_JOB) == NO_JOB
    assert machine.ask(other, P.GRAB_JOB) == response(P.JOB_ASSIGN, b"H:t:1", b"f", b"data")


def test_withdrawing_one_function_leaves_the_jobs_of_others() -> None:
    machine = Machine()
    worker = machine.connect()
    for name in (b"f", b"g"):
        machine.ask(worker, P.CAN_DO, name)
    machine.ask(worker, P.SUBMIT_JOB_BG, b"g", b"", b"")
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.CANT_DO, b"f")
    assert machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"") == b""
    assert machine.status(b"g") == [0, 0, 1]


def test_withdrawing_a_function_that_only_others_offer_changes_nothing() -> None:
    machine = Machine()
    one, other = machine.connect(), machine.connect()
    machine.ask(one, P.CAN_DO, b"f")
    assert machine.ask(other, P.CANT_DO, b"f") == b""
    assert machine.status(b"f") == [0, 0, 1]


def test_resetting_abilities_withdraws_everything() -> None:
    machine = Machine()
    worker = machine.connect()
    for name in (b"f", b"g"):
        machine.ask(worker, P.CAN_DO, name)
    machine.ask(worker, P.RESET_ABILITIES)
    assert machine.status(b"f") == machine.status(b"g") == [0, 0, 0]


def test_a_running_job_that_is_cancelled_fails_once_and_its_answer_is_ignored() -> None:
    machine = Machine()
    worker, caller = machine.connect(), machine.connect()
    machine.ask(worker, P.CAN_DO, b"f")
    machine.ask(caller, P.SUBMIT_JOB, b"f", b"key", b"")
    machine.ask(worker, P.GRAB_JOB)
    assert machine.text("cancel job H:t:1") == "OK\r\n"
    assert caller.data_to_send() == response(P.WORK_FAIL, b"H:t:1")
    assert machine.ask(caller, P.SUBMIT_JOB, b"f", b"key", b"") == created(2)
    machine.ask(worker, P.WORK_COMPLETE, b"H:t:1", b"late")
    assert caller.data_to_send() == b""


def test_an_exception_goes_only_to_callers_that_asked_for_exceptions() -> None:
    machine = Machine()
    worker, plain, informed = (machine.connect() for _ in range(3))
    machine.ask(worker, P.CAN_DO, b"f")
    answer = machine.ask(informed, P.OPTION_REQ, b"exceptions")
    assert answer == response(P.OPTION_RES, b"exceptions")
    for caller in (plain, informed):
        machine.ask(caller, P.SUBMIT_JOB, b"f", b"key", b"")
    machine.ask(worker, P.GRAB_JOB)
    machine.ask(worker, P.WORK_EXCEPTION, b"H:t:1", b"why")
    assert plain.data_to_send() == response(P.WORK_FAIL, b"H:t:1")
    assert informed.data_to_send() == response(P.WORK_EXCEPTION, b"H:t:1", b"why")


def test_an_unknown_option_is_refused() -> None:
    machine = Machine()
    assert b"UNKNOWN_OPTION" in machine.ask(machine.connect(), P.OPTION_REQ, b"wings")
