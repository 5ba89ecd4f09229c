"""Unique keys: equal jobs are one job."""

from __future__ import annotations

from gearmanny.embedded import JobServer
from gearmanny.protocol.packets import PacketType as P
from tests.contract.wire import Wire
from tests.support.servers import Gearmand


def test_jobs_with_one_key_are_one_job_while_it_waits_and_while_it_runs(
    server: Gearmand | JobServer, caller: Wire, worker: Wire, function: bytes
) -> None:
    handle = caller.submit(P.SUBMIT_JOB, function, b"key", b"first")
    worker.tell(P.CAN_DO, function)
    with Wire(server.port) as other:
        assert other.submit(P.SUBMIT_JOB_HIGH, function, b"key", b"second") == handle
        assert worker.ask(P.GRAB_JOB)[1][2] == b"first"
        assert caller.submit(P.SUBMIT_JOB, function, b"key", b"third") == handle
        worker.tell(P.WORK_DATA, handle, b"part")
        worker.tell(P.WORK_COMPLETE, handle, b"done")
        answers = [(P.WORK_DATA, [handle, b"part"]), (P.WORK_COMPLETE, [handle, b"done"])]
        assert [other.receive() for _ in range(2)] == answers
    # Who submitted twice is told everything twice.
    assert sorted(caller.receive() for _ in range(4)) == sorted(answers * 2)
    assert worker.ask(P.GRAB_JOB) == (P.NO_JOB, [b""])
    assert caller.submit(P.SUBMIT_JOB, function, b"key", b"fourth") != handle


def test_the_key_is_one_of_its_function(caller: Wire, function: bytes) -> None:
    handle = caller.submit(P.SUBMIT_JOB_BG, function, b"key", b"")
    assert caller.submit(P.SUBMIT_JOB_BG, function + b"2", b"key", b"") != handle


def test_without_a_key_no_job_joins_another(caller: Wire, function: bytes) -> None:
    handles = {caller.submit(P.SUBMIT_JOB_BG, function, b"", b"equal") for _ in range(3)}
    assert len(handles) == 3


def test_the_key_dash_stands_for_the_data(caller: Wire, function: bytes) -> None:
    handle = caller.submit(P.SUBMIT_JOB_BG, function, b"-", b"data")
    assert caller.submit(P.SUBMIT_JOB_BG, function, b"-", b"data") == handle
    assert caller.submit(P.SUBMIT_JOB_BG, function, b"-", b"other") != handle
    empty = caller.submit(P.SUBMIT_JOB_BG, function, b"-", b"")
    assert caller.submit(P.SUBMIT_JOB_BG, function, b"-", b"") != empty


def test_a_key_has_at_most_63_bytes(caller: Wire, worker: Wire, function: bytes) -> None:
    caller.submit(P.SUBMIT_JOB_BG, function, b"k" * 63, b"data")
    worker.tell(P.CAN_DO, function)
    assert worker.ask(P.GRAB_JOB_UNIQ)[1][2:] == [b"k" * 63, b"data"]
    too_large = (P.ERROR, [b"ARGUMENT_TOO_LARGE", b"Unique value too large"])
    assert caller.ask(P.SUBMIT_JOB_BG, function, b"k" * 65, b"data") == too_large


def test_the_status_of_a_job_by_handle_and_by_key(
    caller: Wire, worker: Wire, admin: Wire, function: bytes
) -> None:
    key = b"key of " + function
    handle = caller.submit(P.SUBMIT_JOB, function, key, b"")

    def status(*expected: bytes) -> None:
        assert admin.ask(P.GET_STATUS, handle) == (P.STATUS_RES, [handle, *expected])
        assert admin.ask(P.GET_STATUS_UNIQUE, key) == (
            P.STATUS_RES_UNIQUE,
            [key, *expected, expected[0]],
        )

    status(b"1", b"0", b"0", b"0")
    worker.tell(P.CAN_DO, function)
    worker.ask(P.GRAB_JOB)
    worker.tell(P.WORK_STATUS, handle, b"3", b"10")
    status(b"1", b"1", b"3", b"10")
    worker.tell(P.WORK_COMPLETE, handle, b"")
    status(b"0", b"0", b"0", b"0")
