"""A worker whose job servers come, go, and talk nonsense."""

from __future__ import annotations

import logging
import socket
import time

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import JobServerLost
from gearmanny.net.hosts import parse_host
from gearmanny.net.polling import Waker
from gearmanny.working import loop
from gearmanny.working.connector import Connector
from tests.support.servers import PATIENCE, Gearmand, Server, answering, until, workers_of, working
from tests.support.workers import Called, Gate

GRAB_JOB = b"\0REQ\0\0\0\x1e\0\0\0\0"
PRE_SLEEP = b"\0REQ\0\0\0\x04\0\0\0\0"
REFUSAL = b"\0RES\0\0\0\x13\0\0\0\x0aE\x1b[2J\nC\0no"
NO_JOB = b"\0RES\0\0\0\x0a\0\0\0\0"


def read_until(connection: socket.socket, end: bytes) -> None:
    connection.settimeout(PATIENCE)
    received = b""
    while not received.endswith(end):
        more = connection.recv(65536)
        assert more, "the connection has ended"
        received += more


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.action
        for record in caplog.records
        if record.name == "gearmanny.worker" and record.levelno >= logging.WARNING
    ]


def test_a_worker_waits_for_a_server_that_is_not_up_yet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Gearmand()
    try:
        with working(Called([server.host])):
            until(lambda: actions(caplog) == ["server_away"], "the warning")
            server.start()
            with SimpleClient([server.host], timeout=PATIENCE) as client:
                assert client.called_echo(value=1) == 1
            until(lambda: actions(caplog) == ["server_away", "server_back"], "the all-clear")
        assert f"{server.host} is away (connection refused); trying" in caplog.text
    finally:
        server.stop()


def test_a_worker_registers_again_after_a_restart(
    gearman_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        working(Called([gearman_server.host])),
        SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
    ):
        assert client.called_echo(value=1) == 1
        gearman_server.kill()
        until(lambda: actions(caplog) == ["server_away"], "the warning")
        gearman_server.start()
        assert client.called_echo(value=2) == 2
        assert workers_of(gearman_server, "called_echo") == 1
        until(lambda: actions(caplog) == ["server_away", "server_back"], "the all-clear")


def test_a_server_that_is_down_does_not_keep_a_worker_from_the_others() -> None:
    down = Gearmand()
    with Gearmand() as one, Gearmand() as two, working(Called([down.host, one.host, two.host])):
        for server in (one, two, one):
            with SimpleClient([server.host], timeout=PATIENCE) as client:
                assert client.called_echo(value=server.host) == server.host


def test_a_server_that_never_answers_does_not_keep_a_worker_from_the_others(
    gearman_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long is a server waited for that has answered before.
    monkeypatch.setattr(loop, "_ASK_AGAIN", 3600.0)
    monkeypatch.setattr(loop, "_GIVE_UP", 3600.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = "127.0.0.1:%d" % silent.getsockname()[1]
        with (
            working(Called([host, gearman_server.host])),
            SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
        ):
            connection, _ = silent.accept()
            with connection:
                read_until(connection, GRAB_JOB)
                assert client.called_echo(value=1) == 1


def test_a_worker_goes_to_sleep_when_a_refusal_and_no_job_arrive_together() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        working(Called(["127.0.0.1:%d" % server.getsockname()[1]])),
    ):
        connection, _ = server.accept()
        with connection:
            read_until(connection, GRAB_JOB)
            connection.sendall(REFUSAL + NO_JOB)
            read_until(connection, PRE_SLEEP)


def test_a_server_that_answers_and_breaks_off_is_asked_less_and_less_often() -> None:
    host, waker = parse_host("localhost:4730"), Waker()
    connector = Connector([host], waker)
    for _ in range(9):
        connector.lost(host, JobServerLost(str(host), "closed by the job server"))
        connector.works(host)
    (due,) = connector.due()
    assert due - time.monotonic() > 1
    waker.close()


def test_refusals_without_end_are_logged_in_part_and_escaped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = "127.0.0.1:%d" % server.getsockname()[1]
        with working(Called([host])):
            connection, _ = server.accept()
            with connection:
                read_until(connection, GRAB_JOB)
                connection.sendall(REFUSAL * 1000 + NO_JOB)
                read_until(connection, PRE_SLEEP)
    lines = [r.getMessage() for r in caplog.records if getattr(r, "action", "") == "server_refused"]
    assert 10 <= len(lines) < 100
    assert lines[0] == f"the job server {host} refused: E\\x1b[2J\\nC (no)"


def test_a_job_whose_server_went_is_dropped_and_the_worker_goes_on(
    gearman_server: Server, closed_gate: Gate
) -> None:
    worker = Called([gearman_server.host])
    with working(worker), AsyncClient([gearman_server.host]) as client:
        work = client.called_held()
        closed_gate.wait_for_entry()
        gearman_server.kill()
        with pytest.raises(JobServerLost):
            work.get_result(timeout=PATIENCE)
        gearman_server.start()
        closed_gate.opened.set()
        assert client.called_echo(value=1).get_result(timeout=PATIENCE) == 1


def test_a_busy_worker_leaves_jobs_of_other_servers_to_other_workers(closed_gate: Gate) -> None:
    with Gearmand() as one, Gearmand() as two:
        hosts = [one.host, two.host]
        busy, free = Called(hosts), Called(hosts)
        with (
            AsyncClient([one.host]) as first,
            AsyncClient([two.host]) as second,
            working(busy),
        ):
            held = first.called_held(value="late")
            closed_gate.wait_for_entry()
            with working(free):
                works = [second.called_echo(value=n) for n in range(5)]
                assert [work.get_result(timeout=PATIENCE) for work in works] == [*range(5)]
            closed_gate.opened.set()
            assert held.get_result(timeout=PATIENCE) == "late"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0RES\0\0\0\x0b\xff\xff\xff\xff",
        b"\0RES\0\0\0\x1f\0\0\0\x0fH:x:1\0never\0\0{}",
        b"\0RES\0\0\0\x08\0\0\0\x05H:x:1",
        b"",
    ],
    ids=["http", "4 GB", "function never offered", "packet for clients", "closed at once"],
)
def test_a_worker_survives_whatever_a_server_sends(
    gearman_server: Server, unique_name: str, nonsense: bytes
) -> None:
    class Worker(Called):
        name = unique_name

    with (
        answering(nonsense) as (stranger, visits),
        working(Worker([stranger, gearman_server.host])),
        SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
    ):
        until(lambda: len(visits) >= 3, "the worker coming back")
        assert client.call(f"{unique_name}_echo", value=1) == 1
