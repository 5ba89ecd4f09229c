"""Jobs: what is submitted is assigned, and what is answered arrives."""

from __future__ import annotations

import time

import pytest

from gearmanny.embedded import JobServer
from gearmanny.protocol.packets import PacketType as P
from tests.contract.wire import Wire
from tests.support.servers import Gearmand, until

KINDS = [
    P.SUBMIT_JOB, P.SUBMIT_JOB_BG, P.SUBMIT_JOB_HIGH, P.SUBMIT_JOB_HIGH_BG,
    P.SUBMIT_JOB_LOW, P.SUBMIT_JOB_LOW_BG,
]  # fmt: skip
FOREGROUND = [P.SUBMIT_JOB, P.SUBMIT_JOB_HIGH, P.SUBMIT_JOB_LOW]


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_of_every_kind_reaches_a_worker_and_its_answer_who_waits(
    caller: Wire, worker: Wire, function: bytes, kind: P
) -> None:
    worker.tell(P.CAN_DO, function)
    handle = caller.submit(kind, function, b"key", b"a\0b")
    assert worker.ask(P.GRAB_JOB_UNIQ) == (
        P.JOB_ASSIGN_UNIQ,
        [handle, function, b"key", b"a", b"b"],
    )
    worker.tell(P.WORK_COMPLETE, handle, b"done")
    if kind in FOREGROUND:
        assert caller.receive() == (P.WORK_COMPLETE, [handle, b"done"])
    assert caller.has_nothing()
    assert worker.ask(P.GRAB_JOB) == (P.NO_JOB, [b""])


@pytest.mark.parametrize(
    ("grab", "assigned"),
    [
        (P.GRAB_JOB, (P.JOB_ASSIGN, [b"handle", b"function", b"data"])),
        (P.GRAB_JOB_UNIQ, (P.JOB_ASSIGN_UNIQ, [b"handle", b"function", b"key", b"data"])),
        (P.GRAB_JOB_ALL, (P.JOB_ASSIGN_UNIQ, [b"handle", b"function", b"key", b"data"])),
    ],
)
def test_every_way_to_ask_for_a_job(
    caller: Wire, worker: Wire, function: bytes, grab: P, assigned: tuple[P, list[bytes]]
) -> None:
    worker.tell(P.CAN_DO, function)
    handle = caller.submit(P.SUBMIT_JOB_BG, function, b"key", b"data")
    names = {b"handle": handle, b"function": function}
    type_, arguments = assigned
    assert worker.ask(grab) == (type_, [names.get(name, name) for name in arguments])


def test_updates_come_before_the_answer_and_in_order(
    caller: Wire, worker: Wire, function: bytes
) -> None:
    worker.tell(P.CAN_DO, function)
    handle = caller.submit(P.SUBMIT_JOB, function, b"", b"")
    worker.ask(P.GRAB_JOB)
    updates: list[tuple[P, tuple[bytes, ...]]] = [
        (P.WORK_STATUS, (handle, b"1", b"2")),
        (P.WORK_DATA, (handle, b"part")),
        (P.WORK_WARNING, (handle, b"careful")),
        (P.WORK_COMPLETE, (handle, b"whole")),
    ]
    worker.send(*updates)
    assert [caller.receive() for _ in updates] == [(type_, list(a)) for type_, a in updates]


def test_a_failure_reaches_the_caller(caller: Wire, worker: Wire, function: bytes) -> None:
    worker.tell(P.CAN_DO, function)
    handle = caller.submit(P.SUBMIT_JOB, function, b"", b"")
    worker.ask(P.GRAB_JOB)
    worker.tell(P.WORK_FAIL, handle)
    assert caller.receive() == (P.WORK_FAIL, [handle])


def test_an_answer_to_a_job_that_is_not_held_is_an_error(
    caller: Wire, worker: Wire, function: bytes
) -> None:
    handle = caller.submit(P.SUBMIT_JOB, function, b"", b"")

    def refused(type: P, handle: bytes) -> bool:
        answer, (code, *_) = worker.ask(type, handle, b"")
        return (answer, code) == (P.ERROR, b"JOB_NOT_FOUND")

    assert refused(P.WORK_COMPLETE, handle)
    assert refused(P.WORK_COMPLETE, b"H:nobody:1")
    worker.tell(P.CAN_DO, function)
    worker.ask(P.GRAB_JOB)
    worker.tell(P.WORK_COMPLETE, handle, b"")
    assert refused(P.WORK_EXCEPTION, handle)


def test_high_comes_before_normal_before_low_and_equals_in_order(
    caller: Wire, worker: Wire, function: bytes
) -> None:
    for kind, data in zip(
        [P.SUBMIT_JOB_LOW_BG, P.SUBMIT_JOB_BG, P.SUBMIT_JOB_HIGH_BG] * 2, b"lnhLNH", strict=True
    ):
        caller.submit(kind, function, b"", bytes([data]))
    worker.tell(P.CAN_DO, function)
    assert b"".join(worker.ask(P.GRAB_JOB)[1][2] for _ in range(6)) == b"hHnNlL"


def test_several_jobs_may_be_asked_for_at_once_and_answered_in_any_order(
    caller: Wire, worker: Wire, function: bytes
) -> None:
    worker.tell(P.CAN_DO, function)
    handles = [caller.submit(P.SUBMIT_JOB, function, b"", b"") for _ in range(2)]
    worker.send(*[(P.GRAB_JOB_UNIQ, ())] * 3)
    assert [worker.receive()[1][0] for _ in handles] == handles
    assert worker.receive() == (P.NO_JOB, [b""])
    for handle in reversed(handles):
        worker.tell(P.WORK_COMPLETE, handle, b"")
        assert caller.receive() == (P.WORK_COMPLETE, [handle, b""])


def test_a_sleeping_worker_is_called_once(caller: Wire, worker: Wire, function: bytes) -> None:
    worker.tell(P.CAN_DO, function)
    worker.tell(P.PRE_SLEEP)
    for _ in range(2):
        caller.submit(P.SUBMIT_JOB_BG, function, b"", b"")
    assert worker.receive() == (P.NOOP, [b""])
    assert worker.has_nothing()


def test_a_worker_that_goes_to_sleep_beside_waiting_jobs_is_called_at_once(
    caller: Wire, worker: Wire, function: bytes
) -> None:
    caller.submit(P.SUBMIT_JOB_BG, function, b"", b"")
    worker.tell(P.CAN_DO, function)
    assert worker.ask(P.PRE_SLEEP) == (P.NOOP, [b""])


def test_a_worker_that_leaves_gives_its_jobs_to_others(
    server: Gearmand | JobServer, caller: Wire, worker: Wire, admin: Wire, function: bytes
) -> None:
    worker.tell(P.CAN_DO, function)
    worker.tell(P.PRE_SLEEP)
    with Wire(server.port) as leaving:
        leaving.tell(P.CAN_DO, function)
        handle = caller.submit(P.SUBMIT_JOB, function, b"", b"again")
        assert leaving.ask(P.GRAB_JOB)[1][0] == handle
        assert worker.receive() == (P.NOOP, [b""])
        assert worker.ask(P.GRAB_JOB) == (P.NO_JOB, [b""])
        worker.tell(P.PRE_SLEEP)
        later = caller.submit(P.SUBMIT_JOB, function, b"", b"later")
        assert worker.receive() == (P.NOOP, [b""])
    until(lambda: admin.row("status", function) == [2, 0, 1], "the job being given back")
    assert f"{handle.decode()}\t1\t0\t0" in admin.rows("show jobs")
    # At the end of the queue, so that a job that kills its worker does not hold up the others.
    assert [worker.ask(P.GRAB_JOB)[1][0] for _ in range(2)] == [later, handle]
    worker.tell(P.WORK_COMPLETE, handle, b"")
    assert caller.receive() == (P.WORK_COMPLETE, [handle, b""])


@pytest.mark.parametrize("withdrawal", [P.CANT_DO, P.RESET_ABILITIES])
def test_a_worker_that_withdraws_a_function_gives_its_jobs_back(
    caller: Wire, worker: Wire, admin: Wire, function: bytes, withdrawal: P
) -> None:
    worker.tell(P.CAN_DO, function)
    handle = caller.submit(P.SUBMIT_JOB, function, b"", b"")
    worker.ask(P.GRAB_JOB)
    worker.tell(withdrawal, *([function] if withdrawal == P.CANT_DO else []))
    assert admin.row("status", function) == [1, 0, 0]
    assert worker.ask(P.WORK_COMPLETE, handle, b"")[0] == P.ERROR
    assert worker.ask(P.GRAB_JOB) == (P.NO_JOB, [b""])


def test_a_job_is_dropped_with_its_caller_and_a_background_job_is_not(
    server: Gearmand | JobServer, worker: Wire, admin: Wire, function: bytes
) -> None:
    with Wire(server.port) as leaving:
        leaving.tell(P.SET_CLIENT_ID, b"leaving " + function)
        leaving.submit(P.SUBMIT_JOB, function, b"", b"foreground")
        leaving.submit(P.SUBMIT_JOB_BG, function, b"", b"background")
    until(lambda: not admin.knows(b"leaving " + function), "the caller being gone")
    worker.tell(P.CAN_DO, function)
    assert worker.ask(P.GRAB_JOB)[1][2] == b"background"
    assert worker.ask(P.GRAB_JOB) == (P.NO_JOB, [b""])


def test_a_scheduled_job_waits_for_its_time(
    caller: Wire, worker: Wire, admin: Wire, function: bytes
) -> None:
    worker.tell(P.CAN_DO, function)
    # A second ago: the clock of gearmand is that of its last turn.
    in_an_hour, now = (b"%d" % (time.time() + seconds) for seconds in (3600, -1))
    caller.submit(P.SUBMIT_JOB_EPOCH, function, b"later", in_an_hour, b"later")
    in_an_hour += b".5 is cut off"
    caller.submit(P.SUBMIT_JOB_EPOCH, function, b"even later", in_an_hour, b"even later")
    for due, data in ((now, b"now"), (b"1", b"past"), (b"soon", b"no number")):
        caller.submit(P.SUBMIT_JOB_EPOCH, function, data, due, data)
    assert {worker.ask(P.GRAB_JOB)[1][2] for _ in range(3)} == {b"now", b"past", b"no number"}
    assert worker.ask(P.GRAB_JOB) == (P.NO_JOB, [b""])
    assert admin.row("status", function) == [5, 3, 1]
