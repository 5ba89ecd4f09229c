"""The differences between our job server and gearmand 1.1.20: a test for each row of the table in
`docs/embedded.md`, which shows both columns. Its docstring is what the row is about."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gearmanny.embedded import JobServer
from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.packets import PacketType as P
from tests.contract.wire import Wire
from tests.support.servers import PATIENCE, ROOT, Gearmand, find_program, until
from tests.unit.wire import request

AnyServer = Gearmand | JobServer
HasTrap = Callable[[str], bool]


@pytest.fixture
def own(is_gearmand: bool) -> Iterator[AnyServer]:
    """A job server for one test, which may leave it in any state."""
    with Gearmand() if is_gearmand else JobServer() as server:
        yield server


def test_every_row_of_the_table_has_a_test() -> None:
    text = (ROOT / "docs/embedded.md").read_text(encoding="utf-8")
    table = text.split("## Where it differs")[1].split("\n\n")[2]
    rows = [row.split("|")[1].strip() for row in table.splitlines()[2:]]
    functions = ast.parse(Path(__file__).read_text(encoding="utf-8")).body
    tested = [
        " ".join(ast.get_docstring(function).split())
        for function in functions
        if isinstance(function, ast.FunctionDef)
        and function.name.startswith("test_")
        and ast.get_docstring(function)
    ]
    assert rows == tested


def test_the_failure_of_who_did_not_ask_for_exceptions_has_its_handle(
    server: AnyServer, caller: Wire, worker: Wire, function: bytes, is_gearmand: bool
) -> None:
    """handle of the WORK_FAIL for an exception that was not asked for"""
    with Wire(server.port) as asking:
        assert asking.ask(P.OPTION_REQ, b"exceptions") == (P.OPTION_RES, [b"exceptions"])
        handle = asking.submit(P.SUBMIT_JOB, function, b"key", b"")
        assert caller.submit(P.SUBMIT_JOB, function, b"key", b"") == handle
        worker.tell(P.CAN_DO, function)
        worker.ask(P.GRAB_JOB)
        worker.tell(P.WORK_EXCEPTION, handle, b"boom")
        assert asking.receive() == (P.WORK_EXCEPTION, [handle, b"boom"])
        assert asking.has_nothing()
    assert caller.receive() == (P.WORK_FAIL, [handle, b""] if is_gearmand else [handle])
    assert caller.has_nothing()


def test_a_key_of_64_bytes_is_refused(
    caller: Wire, worker: Wire, function: bytes, is_gearmand: bool
) -> None:
    """unique key of 64 bytes"""
    worker.tell(P.CAN_DO, function)
    answer = caller.ask(P.SUBMIT_JOB_BG, function, b"k" * 64, b"data")
    if is_gearmand:
        assert answer[0] == P.JOB_CREATED
        assert worker.ask(P.GRAB_JOB_UNIQ)[1][2:] == [b"k" * 63, b"", b"data"]
    else:
        assert answer == (P.ERROR, [b"ARGUMENT_TOO_LARGE", b"Unique value too large"])


def test_no_function_of_a_worker_starves_another(
    caller: Wire, worker: Wire, function: bytes, has_trap: HasTrap
) -> None:
    """two functions of one worker"""
    for name in (b"first", b"second"):
        worker.tell(P.CAN_DO, function + name)
    for name, kind in [
        (b"second", P.SUBMIT_JOB_LOW_BG), (b"second", P.SUBMIT_JOB_BG),
        (b"first", P.SUBMIT_JOB_BG), (b"second", P.SUBMIT_JOB_BG), (b"first", P.SUBMIT_JOB_HIGH_BG),
    ]:  # fmt: skip
        caller.submit(kind, function + name, b"", b"")
    order = [worker.ask(P.GRAB_JOB)[1][1].removeprefix(function) for _ in range(5)]
    if has_trap("priority_per_function"):
        assert order == [b"second", b"second", b"second", b"first", b"first"]
    else:
        assert order == [b"first", b"second", b"first", b"second", b"second"]


def assigned_after_the_caller_left(
    server: AnyServer, worker: Wire, admin: Wire, function: bytes, *kinds: P
) -> bool:
    """Lets a caller submit a job in several ways, and leave. Returns whether it is still there."""
    with Wire(server.port) as leaving:
        leaving.tell(P.SET_CLIENT_ID, b"leaving " + function)
        for kind in kinds:
            leaving.submit(kind, function, b"key", b"")
    until(lambda: not admin.knows(b"leaving " + function), "the caller being gone")
    worker.tell(P.CAN_DO, function)
    return worker.ask(P.GRAB_JOB)[0] == P.JOB_ASSIGN


def test_a_background_job_survives_a_caller_who_joined_it(
    server: AnyServer, worker: Wire, admin: Wire, function: bytes, is_gearmand: bool
) -> None:
    """caller leaves who joined a background job"""
    kinds = P.SUBMIT_JOB_BG, P.SUBMIT_JOB
    survived = assigned_after_the_caller_left(server, worker, admin, function, *kinds)
    assert survived is not is_gearmand


def test_a_background_job_that_joined_one_of_a_caller_survives_that_caller(
    server: AnyServer, worker: Wire, admin: Wire, function: bytes, is_gearmand: bool
) -> None:
    """background job joins a caller's job"""
    kinds = P.SUBMIT_JOB, P.SUBMIT_JOB_BG
    survived = assigned_after_the_caller_left(server, worker, admin, function, *kinds)
    assert survived is not is_gearmand


def test_a_job_that_is_cancelled_while_it_runs_is_answered_once(
    caller: Wire, worker: Wire, admin: Wire, function: bytes, is_gearmand: bool
) -> None:
    """job is cancelled while it runs"""
    worker.tell(P.CAN_DO, function)
    handle = caller.submit(P.SUBMIT_JOB, function, b"key", b"")
    worker.ask(P.GRAB_JOB)
    assert admin.line(f"cancel job {handle.decode()}") == "OK"
    assert caller.receive()[0] == P.WORK_FAIL
    worker.tell(P.WORK_COMPLETE, handle, b"late")
    if is_gearmand:
        assert caller.receive() == (P.WORK_COMPLETE, [handle, b"late"])
    assert caller.has_nothing()


def test_a_job_that_is_equal_to_a_cancelled_one_is_done(
    caller: Wire, worker: Wire, admin: Wire, function: bytes, is_gearmand: bool
) -> None:
    """equal job after that"""
    worker.tell(P.CAN_DO, function)
    cancelled = admin.submit(P.SUBMIT_JOB_BG, function, b"key", b"")
    worker.ask(P.GRAB_JOB)
    assert admin.line(f"cancel job {cancelled.decode()}") == "OK"
    handle = caller.submit(P.SUBMIT_JOB, function, b"key", b"")
    worker.tell(P.CANT_DO, function)
    worker.tell(P.CAN_DO, function)
    answer, (assigned, *_) = worker.ask(P.GRAB_JOB)
    if is_gearmand:
        assert (answer, handle) == (P.NO_JOB, cancelled)
        assert caller.has_nothing()
    else:
        assert (answer, assigned) == (P.JOB_ASSIGN, handle)
        assert handle != cancelled


def test_a_sleeping_worker_is_called_when_a_scheduled_job_is_due(
    caller: Wire, worker: Wire, function: bytes, has_trap: HasTrap
) -> None:
    """scheduled job falls due"""
    worker.tell(P.CAN_DO, function)
    worker.tell(P.PRE_SLEEP)
    due = int(time.time()) + 1
    caller.submit(P.SUBMIT_JOB_EPOCH, function, b"", b"%d" % due, b"")
    if has_trap("scheduled_jobs_wake_nobody"):  # it calls at once, in vain, and then not any more
        assert worker.receive() == (P.NOOP, [b""])
        assert worker.ask(P.GRAB_JOB)[0] == P.NO_JOB
        worker.tell(P.PRE_SLEEP)
        until(lambda: time.time() > due + 0.5, "the time of the job")
        assert worker.has_nothing()
    else:
        assert worker.receive() == (P.NOOP, [b""])
        assert time.time() >= due
    assert worker.ask(P.GRAB_JOB)[0] == P.JOB_ASSIGN


def test_scheduled_jobs_neither_hide_others_nor_call_workers(
    caller: Wire, worker: Wire, function: bytes, has_trap: HasTrap
) -> None:
    """scheduled jobs that wait"""
    worker.tell(P.CAN_DO, function)
    caller.submit(P.SUBMIT_JOB_EPOCH, function, b"", b"%d" % (time.time() + 3600), b"")
    caller.submit(P.SUBMIT_JOB_LOW_BG, function, b"", b"")
    if has_trap("scheduled_jobs_spin"):
        assert worker.ask(P.GRAB_JOB)[0] == P.NO_JOB
        assert worker.ask(P.PRE_SLEEP)[0] == P.NOOP
    else:
        assert worker.ask(P.GRAB_JOB)[0] == P.JOB_ASSIGN
        worker.tell(P.PRE_SLEEP)
        assert worker.has_nothing()


def test_a_function_that_is_offered_twice_counts_once(
    worker: Wire, admin: Wire, function: bytes, is_gearmand: bool
) -> None:
    """the same function offered twice"""
    for _ in range(2):
        worker.tell(P.CAN_DO, function)
    assert admin.row("status", function) == [0, 0, 2 if is_gearmand else 1]


def test_a_sleeping_worker_is_called_for_the_jobs_of_a_new_function(
    caller: Wire, worker: Wire, function: bytes, is_gearmand: bool
) -> None:
    """function offered while asleep"""
    caller.submit(P.SUBMIT_JOB_BG, function, b"", b"")
    worker.tell(P.PRE_SLEEP)
    worker.send((P.CAN_DO, (function,)))
    if is_gearmand:
        assert worker.has_nothing()
    else:
        assert worker.receive() == (P.NOOP, [b""])


def test_a_job_that_takes_longer_than_its_worker_said_fails(
    own: AnyServer, function: bytes, is_gearmand: bool
) -> None:
    """CAN_DO_TIMEOUT"""
    with Wire(own.port) as caller, Wire(own.port) as worker, Wire(own.port) as admin:
        worker.tell(P.CAN_DO_TIMEOUT, function, b"1000")
        handle = caller.submit(P.SUBMIT_JOB, function, b"", b"")
        assert worker.ask(P.GRAB_JOB)[0] == P.JOB_ASSIGN
        until(lambda: admin.row("status", function)[1] == 0, "the job being taken away")
        assert worker.ask(P.WORK_COMPLETE, handle, b"late")[1][0] == b"JOB_NOT_FOUND"
        if is_gearmand:
            assert caller.has_nothing()
            assert worker.ask(P.GRAB_JOB)[1][0] == handle
        else:
            assert caller.receive() == (P.WORK_FAIL, [handle])
            assert worker.ask(P.GRAB_JOB)[0] == P.NO_JOB


def test_the_status_of_a_long_handle_is_told(caller: Wire, is_gearmand: bool) -> None:
    """status of a handle of 64 bytes or more"""
    handle = b"H:" + b"x" * 62
    caller.send((P.GET_STATUS, (handle,)))
    if is_gearmand:
        assert caller.is_silent() or caller.is_closed()
    else:
        assert caller.receive() == (P.STATUS_RES, [handle, b"0", b"0", b"0", b"0"])


def test_progress_is_told_as_the_worker_sent_it(
    caller: Wire, worker: Wire, function: bytes, is_gearmand: bool
) -> None:
    """progress in STATUS_RES"""
    worker.tell(P.CAN_DO, function)
    handle = caller.submit(P.SUBMIT_JOB_BG, function, b"", b"")
    worker.ask(P.GRAB_JOB)
    worker.tell(P.WORK_STATUS, handle, b"0.5", b"1.5")
    progress = [b"0", b"1"] if is_gearmand else [b"0.5", b"1.5"]
    assert caller.ask(P.GET_STATUS, handle)[1][3:] == progress


def test_no_handle_names_jobs_of_two_runs(is_gearmand: bool, function: bytes) -> None:
    """handle of an earlier run"""
    handles = []
    for _ in range(2):
        with Gearmand() if is_gearmand else JobServer() as run, Wire(run.port) as caller:
            handles.append(caller.submit(P.SUBMIT_JOB_BG, function, b"", b""))
    assert (handles[0] == handles[1]) is is_gearmand


def test_who_does_not_speak_the_protocol_is_told_so(caller: Wire, is_gearmand: bool) -> None:
    """bytes that are not the protocol"""
    caller.send_bytes(b"\0REQ\0\0\0\x63\0\0\0\0")
    told = caller.received_until_closed()
    if is_gearmand:
        assert told == b""
    else:
        assert b"a client or worker does not send packets of type 99" in told


def test_a_request_of_http_is_not_obeyed(
    own: AnyServer, function: bytes, is_gearmand: bool
) -> None:
    """HTTP request with packets in its body"""
    body = b"\r\n" + request(P.SUBMIT_JOB_BG, function, b"", b"from a web page")
    head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n" % len(body)
    with Wire(own.port) as browser, Wire(own.port) as admin:
        browser.send_bytes(head + b"\r\n" + body)
        if is_gearmand:
            until(lambda: admin.row("status", function) == [1, 0, 0], "the job being there")
        else:
            assert b"an HTTP request" in browser.received_until_closed()
            assert admin.row("status", function) == []


def test_a_line_break_in_a_name_does_not_break_rows(
    own: AnyServer, function: bytes, is_gearmand: bool
) -> None:
    """names with line breaks and other control characters, in answers to text commands"""
    name = function + b"\n\x1b[2J"
    with Wire(own.port) as worker, Wire(own.port) as admin:
        worker.tell(P.CAN_DO, name)
        rows = admin.rows("status")
    if is_gearmand:
        assert rows == [function.decode(), "\x1b[2J\t0\t0\t1"]
    else:
        assert rows == [f"{function.decode()}\\x0a\\x1b[2J\t0\t0\t1"]


def test_a_payload_over_the_limit_is_refused_before_it_is_sent(
    own: AnyServer, function: bytes, is_gearmand: bool
) -> None:
    """payloads over 256 MB"""
    assert MAX_PACKET == 256 * 1024 * 1024
    header = b"\0REQ" + P.SUBMIT_JOB_BG.to_bytes(4, "big") + (MAX_PACKET + 1).to_bytes(4, "big")
    with Wire(own.port) as caller, Wire(own.port) as admin:
        caller.send_bytes(header + function + b"\0key\0the first bytes of very many")
        if is_gearmand:
            assert caller.is_silent()
        else:
            assert caller.receive()[1][0] == b"ARGUMENT_TOO_LARGE"
        assert admin.has_nothing()


def test_who_sends_to_a_client_that_does_not_read_does_not_wait(
    own: AnyServer, function: bytes, is_gearmand: bool
) -> None:
    """client that does not read its answers"""
    part, parts = b"x" * 5_000_000, 60
    with Wire(own.port) as caller, Wire(own.port) as worker:
        worker.tell(P.CAN_DO, function)
        handle = caller.submit(P.SUBMIT_JOB, function, b"", b"")
        worker.ask(P.GRAB_JOB)
        for _ in range(parts):
            worker.send((P.WORK_DATA, (handle, part)))
        worker.tell(P.WORK_COMPLETE, handle, b"")
        if is_gearmand:
            for _ in range(parts):
                assert caller.receive() == (P.WORK_DATA, [handle, part])
            assert caller.receive()[0] == P.WORK_COMPLETE
        else:
            assert len(caller.received_until_closed()) < parts * len(part)


def test_dropping_a_function_fails_the_jobs_that_wait_for_it(
    own: AnyServer, function: bytes, is_gearmand: bool
) -> None:
    """`drop function` with jobs that wait"""
    with Wire(own.port) as caller, Wire(own.port) as admin:
        handle = caller.submit(P.SUBMIT_JOB, function, b"", b"")
        assert admin.line(f"drop function {function.decode()}") == "OK"
        assert admin.row("status", function) == []
        if is_gearmand:
            assert caller.has_nothing()
            assert admin.ask(P.GET_STATUS, handle)[1][1] == b"1"
        else:
            assert caller.receive() == (P.WORK_FAIL, [handle])
            assert admin.ask(P.GET_STATUS, handle)[1][1] == b"0"


def test_a_limit_of_jobs_that_is_no_number_is_refused(
    admin: Wire, function: bytes, is_gearmand: bool
) -> None:
    """`maxqueue` with limits that are no numbers, or not one or three"""
    name = function.decode()
    admin.line(f"create function {name}")
    for limits in ("many", "5x", "1 2"):
        answer = admin.line(f"maxqueue {name} {limits}")
        assert answer.startswith("OK" if is_gearmand else "ERR INVALID_ARGUMENTS ")


def test_a_stored_job_needs_no_key(is_gearmand: bool, function: bytes, tmp_path: Path) -> None:
    """background jobs without a unique key in a store"""
    store = tmp_path / "jobs.db"

    def run() -> AbstractContextManager[AnyServer]:
        options = ("--queue-type=libsqlite3", f"--libsqlite3-db={store}")
        return Gearmand(*options) if is_gearmand else JobServer(store=store)

    with run() as server, Wire(server.port) as caller:
        for data in (b"one", b"two"):
            caller.submit(P.SUBMIT_JOB_BG, function, b"", data)
    with run() as server, Wire(server.port) as admin:
        assert admin.row("status", function) == [1 if is_gearmand else 2, 0, 0]


@pytest.mark.parametrize("option", ["--job-retries", "--round-robin", "--worker-wakeup", "--ssl"])
def test_options_of_gearmand_are_not_taken_in_silence(is_gearmand: bool, option: str) -> None:
    """`--job-retries`, `--round-robin`, `--worker-wakeup`, TLS, other queues"""
    if is_gearmand:
        program = find_program("gearmand", "gearman-job-server")
        command = [program, "--help"]
    else:
        command = [sys.executable, "-m", "gearmanny", "server", option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if is_gearmand:
        assert option in done.stdout
    else:
        assert done.returncode == 2
        assert "unrecognized arguments" in done.stderr


def test_a_job_with_a_reducer_is_refused(
    own: AnyServer, function: bytes, is_gearmand: bool
) -> None:
    """reducers (SUBMIT_REDUCE_JOB)"""
    with Wire(own.port) as caller:
        job = (function, b"", b"reducer", b"", b"data")
        answer, arguments = caller.ask(P.SUBMIT_REDUCE_JOB, *job)
        if is_gearmand:
            assert answer == P.JOB_CREATED
        else:
            assert (answer, arguments[0]) == (P.ERROR, b"INVALID_COMMAND")
