"""Text commands, ERRORs, and what is not the protocol."""

from __future__ import annotations

import pytest

from gearmanny.protocol.packets import PacketType as P
from tests.contract.wire import Wire


def test_status_and_prioritystatus_count_jobs_and_workers(
    caller: Wire, worker: Wire, admin: Wire, function: bytes
) -> None:
    for kind in [P.SUBMIT_JOB_HIGH_BG, P.SUBMIT_JOB_LOW_BG, P.SUBMIT_JOB_BG, P.SUBMIT_JOB_BG]:
        caller.submit(kind, function, b"", b"")
    worker.tell(P.CAN_DO, function)
    assert admin.row("status", function) == [4, 0, 1]
    assert admin.row("prioritystatus", function) == [1, 2, 1, 1]
    worker.ask(P.GRAB_JOB)
    assert admin.row("status", function) == [4, 1, 1]
    assert admin.row("prioritystatus", function) == [0, 2, 1, 1]


def test_workers_lists_connections_with_their_names_and_functions(
    worker: Wire, admin: Wire, function: bytes
) -> None:
    worker.tell(P.SET_CLIENT_ID, function + b" with spaces")
    worker.tell(P.CAN_DO, function)
    name = function.decode()
    rows = [row.split(" ", 1)[1] for row in admin.rows("workers")]
    assert f"127.0.0.1 {name} with spaces : {name}" in rows
    assert "127.0.0.1 - :" in rows


def test_show_jobs_lists_handles_retries_and_kinds(
    caller: Wire, admin: Wire, function: bytes
) -> None:
    foreground = caller.submit(P.SUBMIT_JOB, function, function + b"1", b"").decode()
    background = caller.submit(P.SUBMIT_JOB_BG, function, function + b"2", b"").decode()
    assert {f"{foreground}\t0\t0\t0", f"{background}\t0\t0\t1"} <= set(admin.rows("show jobs"))
    keys = {f"{function.decode()}{number}" for number in (1, 2)}
    assert keys <= set(admin.rows("show unique jobs"))


def test_cancel_job_takes_a_job_out_of_the_queue(
    caller: Wire, worker: Wire, admin: Wire, function: bytes
) -> None:
    handle = caller.submit(P.SUBMIT_JOB, function, b"", b"")
    assert admin.line(f"cancel job {handle.decode()}") == "OK"
    type_, (told, *_) = caller.receive()
    assert (type_, told) == (P.WORK_FAIL, handle)
    worker.tell(P.CAN_DO, function)
    assert worker.ask(P.GRAB_JOB) == (P.NO_JOB, [b""])
    assert admin.line("cancel job H:nobody:1") == "ERR UNKNOWN_JOB"


def test_maxqueue_limits_the_jobs_of_a_function(caller: Wire, admin: Wire, function: bytes) -> None:
    name = function.decode()
    admin.line(f"create function {name}")
    full = (P.ERROR, [b"QUEUE_ERROR", b"Job queue is full"])
    assert admin.line(f"maxqueue {name} 1") == "OK"
    handle = caller.submit(P.SUBMIT_JOB_BG, function, b"key", b"")
    assert caller.ask(P.SUBMIT_JOB_BG, function, b"", b"") == full
    assert caller.submit(P.SUBMIT_JOB_BG, function, b"key", b"") == handle
    assert admin.line(f"maxqueue {name} 1 2 3") == "OK"
    assert caller.ask(P.SUBMIT_JOB_HIGH_BG, function, b"", b"") == full
    caller.submit(P.SUBMIT_JOB_BG, function, b"", b"")
    caller.submit(P.SUBMIT_JOB_LOW_BG, function, b"", b"")
    assert caller.ask(P.SUBMIT_JOB_LOW_BG, function, b"", b"") == full
    assert admin.line(f"maxqueue {name}") == "OK"
    caller.submit(P.SUBMIT_JOB_HIGH_BG, function, b"", b"")
    assert admin.line(f"maxqueue {name} -1 1 -1") == "OK"
    caller.submit(P.SUBMIT_JOB_HIGH_BG, function, b"", b"")
    assert caller.ask(P.SUBMIT_JOB_BG, function, b"", b"") == full


def test_functions_come_and_go(worker: Wire, admin: Wire, function: bytes) -> None:
    name = function.decode()
    assert admin.line(f"create function {name}") == "OK"
    assert admin.row("status", function) == [0, 0, 0]
    worker.tell(P.CAN_DO, function)
    assert admin.line(f"drop function {name}").startswith("ERR there are still connected workers")
    worker.tell(P.CANT_DO, function)
    assert admin.line(f"drop function {name}") == "OK"
    assert admin.row("status", function) == []
    assert admin.line(f"drop function {name}") == "ERR function not found"


def test_the_server_tells_of_itself(admin: Wire) -> None:
    assert admin.line("version").startswith("OK ")
    assert int(admin.line("getpid").removeprefix("OK ")) > 1
    assert admin.line("verbose") == "OK ERROR"


@pytest.mark.parametrize("command", ["nonsense", "shutdown", "", "show", "cancel"])
def test_an_unknown_command_is_refused(admin: Wire, command: str) -> None:
    assert admin.line(command).startswith("ERR UNKNOWN_COMMAND ")


@pytest.mark.parametrize("command", ["maxqueue", "create function", "drop function"])
def test_a_command_without_its_arguments_is_refused(admin: Wire, command: str) -> None:
    assert admin.line(command).startswith("ERR INVALID_ARGUMENTS ")


def test_text_and_packets_may_be_mixed(caller: Wire, function: bytes) -> None:
    assert caller.line("version").startswith("OK ")
    assert caller.ask(P.ECHO_REQ, b"a\0b") == (P.ECHO_RES, [b"a", b"b"])
    caller.send_bytes(b"versi")
    assert caller.line("on").startswith("OK ")
    assert caller.ask(P.ECHO_REQ, b"") == (P.ECHO_RES, [b""])


@pytest.mark.parametrize("type_", [P.ALL_YOURS, P.SUBMIT_JOB_SCHED])
def test_what_no_server_does_is_an_error_and_the_connection_lives(caller: Wire, type_: P) -> None:
    assert caller.ask(type_, *[b""] * 8) == (P.ERROR, [b"INVALID_COMMAND", b"Command not expected"])
    assert caller.has_nothing()


def test_an_unknown_option_is_refused(caller: Wire) -> None:
    code, text = b"UNKNOWN_OPTION", b"Server does not recognize given option"
    assert caller.ask(P.OPTION_REQ, b"nonsense") == (P.ERROR, [code, text])


@pytest.mark.parametrize(
    "data",
    [
        b"\0REQ\0\0\0\x63\0\0\0\0",
        b"\0XYZ\0\0\0\x10\0\0\0\0",
    ],
    ids=["type", "magic"],
)
def test_what_is_not_the_protocol_ends_the_connection_and_no_other(
    caller: Wire, admin: Wire, data: bytes
) -> None:
    caller.send_bytes(data)
    assert caller.is_closed()
    assert admin.has_nothing()
