"""A worker whose job servers come, go, and talk nonsense."""

from __future__ import annotations

import logging

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import JobServerLost
from tests.support.servers import PATIENCE, Gearmand, Server, answering, until, workers_of, working
from tests.support.workers import Called, Gate


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
