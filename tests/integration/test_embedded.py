"""A job server in this process: its life, its neighbours, and what it keeps in a file."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from gearmanny.admin import JobServer as Admin
from gearmanny.client import SimpleClient
from gearmanny.embedded import JobServer
from gearmanny.errors import GearmanException, InvalidOption, JobServerUnavailable
from gearmanny.protocol.packets import PacketType as P
from gearmanny.worker import BaseWorker
from tests.contract.wire import Wire
from tests.support.servers import PATIENCE, free_port, until, working


class Adder(BaseWorker):
    name = "adder"

    def task_add(self, a: int, b: int) -> int:
        return a + b


def test_nothing_is_left_when_it_is_stopped() -> None:
    threads = set(threading.enumerate())
    with JobServer() as server, Wire(server.port) as idle:
        idle.tell(P.CAN_DO, b"f")
        server.stop()
        assert idle.is_closed()
    assert set(threading.enumerate()) <= threads
    with pytest.raises(JobServerUnavailable):
        Admin(server.host).version()


def test_no_file_is_left_open_by_many_starts(tmp_path: Path) -> None:
    servers = [JobServer(), JobServer(store=tmp_path / "jobs.db")]
    opened = []
    for _ in range(30):
        for server in servers:
            with server, Wire(server.port) as caller:
                caller.submit(P.SUBMIT_JOB_BG, b"f", b"", b"")
        opened.append(len(os.listdir("/proc/self/fd")))
    assert opened[-1] <= opened[0]


def test_it_keeps_its_port_over_a_restart_and_forgets_its_jobs() -> None:
    server = JobServer()
    with server, Wire(server.port) as caller:
        port = server.port
        handle = caller.submit(P.SUBMIT_JOB_BG, b"f", b"", b"")
    with server, Wire(port) as caller:
        assert server.host == f"127.0.0.1:{port}"
        assert caller.ask(P.GET_STATUS, handle)[1][1:] == [b"0"] * 4
        # A handle of before never names a job of now.
        assert caller.submit(P.SUBMIT_JOB_BG, b"f", b"", b"") != handle


def test_clients_and_workers_come_back_after_a_restart() -> None:
    server = JobServer()
    with (
        server,
        working(Adder([server.host])),
        SimpleClient([server.host], timeout=PATIENCE) as client,
    ):
        assert client.adder_add(a=1, b=2) == 3
        server.stop()
        server.start()
        assert client.using(idempotent=True).adder_add(a=1, b=2) == 3


def test_who_comes_while_it_stops_is_told() -> None:
    for _ in range(30):
        with JobServer() as server:
            visitor = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        with visitor, contextlib.suppress(ConnectionResetError):
            assert visitor.recv(1) == b"", "the connection was left open"


def test_a_port_that_is_taken_is_an_early_error() -> None:
    with JobServer() as server:
        with pytest.raises(InvalidOption, match=f"Port {server.port} of 127.0.0.1 is in use"):
            JobServer(server.port).start()
        with pytest.raises(GearmanException, match="already running"):
            server.start()
        assert Admin(server.host).version()


@pytest.mark.parametrize("address", [None, "", 5, "a\0b", "x" * 64])
def test_an_address_that_cannot_be_is_an_early_error(address: object) -> None:
    with pytest.raises(InvalidOption, match="such as"):
        JobServer(address=address).start()  # type: ignore[arg-type]


@pytest.mark.parametrize("store", ["", 5, b"jobs.db", "a\0b"])
def test_a_store_that_cannot_be_is_an_early_error(store: object) -> None:
    with pytest.raises(InvalidOption, match="store"):
        JobServer(store=store).start()  # type: ignore[arg-type]


def test_a_store_is_a_file_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = JobServer(store=":memory:")
    for expected in ([], ["kept"]):
        with server, Wire(server.port) as caller:
            assert caller.rows("show unique jobs") == expected
            caller.submit(P.SUBMIT_JOB_BG, b"f", b"kept", b"")


@pytest.mark.parametrize("port", [-1, 65536, "4730", True, None])
def test_a_port_that_cannot_be_is_an_early_error(port: object) -> None:
    with pytest.raises(InvalidOption, match="port must be a whole number from 0 to 65535, not"):
        JobServer(port)  # type: ignore[arg-type]


def test_the_port_is_not_told_before_it_is_known() -> None:
    with pytest.raises(GearmanException, match=r"no port yet. Call start\(\) first"):
        JobServer().host  # noqa: B018


def test_an_address_that_is_not_ours_is_an_early_error() -> None:
    with pytest.raises(InvalidOption, match=r"Cannot listen on 192\.0\.2\.1:"):
        JobServer(address="192.0.2.1").start()


def test_it_runs_in_a_loop_that_is_there_already() -> None:
    server = JobServer()

    async def main() -> str:
        listening = asyncio.Event()
        serving = asyncio.create_task(server.serve(listening=listening.set))
        await listening.wait()
        version = await asyncio.to_thread(Admin(server.host).version)
        server.stop()
        await serving
        return version

    assert asyncio.run(main()).startswith("gearmanny-")


def test_it_ends_when_the_task_that_serves_is_cancelled() -> None:
    server = JobServer()

    async def main() -> None:
        listening = asyncio.Event()
        serving = asyncio.create_task(server.serve(listening=listening.set))
        await listening.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(main())
    with JobServer(server.port):
        pass


def test_a_task_that_is_cancelled_twice_gives_the_store_back(tmp_path: Path) -> None:
    server = JobServer(store=tmp_path / "jobs.db")

    async def main() -> None:
        listening = asyncio.Event()
        serving = asyncio.create_task(server.serve(listening=listening.set))
        await listening.wait()
        with await asyncio.to_thread(Wire, server.port) as connected:
            assert await asyncio.to_thread(connected.has_nothing)
            serving.cancel()
            await asyncio.sleep(0)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            with JobServer(store=tmp_path / "jobs.db"):
                pass

    asyncio.run(main())
    with server:
        pass


def test_nothing_is_left_of_a_start_that_is_interrupted(tmp_path: Path) -> None:
    server = JobServer(store=tmp_path / "jobs.db")
    with server:
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.db")) as database, database:
        database.executemany(  # enough of them for the start to take its time
            "INSERT INTO jobs (function, unique_key, data, priority, due) VALUES (?, ?, ?, 1, 0)",
            [(b"f", b"%d" % number, b"") for number in range(30_000)],
        )
    threads = set(threading.enumerate())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            server.start()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    until(lambda: set(threading.enumerate()) <= threads, "its thread having ended")
    with server:
        assert Admin(server.host).status()[0].total == 30_000


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_keeps_neither_the_port_nor_the_connections() -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    with JobServer() as server, Wire(server.port) as connected:
        assert connected.has_nothing()
        child = context.Process(target=theirs.recv)
        child.start()
        try:
            server.stop()
            assert connected.is_closed()
            with JobServer(server.port):
                pass
        finally:
            ours.send("end")
            child.join(PATIENCE)
            ours.close()
            theirs.close()


def test_who_only_happens_to_send_at_the_same_time_does_not_wait() -> None:
    server = JobServer()

    async def main() -> None:
        listening = asyncio.Event()
        serving = asyncio.create_task(server.serve(listening=listening.set))
        await listening.wait()
        do = asyncio.to_thread
        caller, worker, other = [await do(Wire, server.port) for _ in range(3)]
        await do(worker.tell, P.CAN_DO, b"f")
        handle = await do(caller.submit, P.SUBMIT_JOB, b"f", b"", b"")
        await do(worker.ask, P.GRAB_JOB)
        await do(worker.tell, P.WORK_DATA, handle, b"x" * 32_000_000)
        # Now the caller is full. While we are here, the server reads nothing.
        worker.send((P.WORK_DATA, (handle, b"more")))
        other.send((P.ECHO_REQ, (b"same turn",)))
        try:
            assert await do(other.receive) == (P.ECHO_RES, [b"same turn"])
            assert await do(other.has_nothing)
        finally:
            for wire in (caller, worker, other):
                wire.close()
            server.stop()
            await serving

    asyncio.run(main())


def test_small_answers_leave_at_once() -> None:
    with JobServer() as server, Wire(server.port) as wire:
        assert wire.has_nothing()
        accepted = next(iter(server._running._peers.values()))  # type: ignore[union-attr]
        sock = accepted.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_very_many_jobs_may_be_submitted_before_the_first_answer_is_read() -> None:
    jobs = 50_000
    with JobServer() as server, Wire(server.port) as caller:
        caller.send(*[(P.SUBMIT_JOB_BG, (b"f", b"", b""))] * jobs)
        assert len({caller.receive()[1][0] for _ in range(jobs)}) == jobs


def test_a_job_that_runs_out_of_its_time_fails() -> None:
    with JobServer() as server, Wire(server.port) as caller, Wire(server.port) as worker:
        worker.tell(P.CAN_DO_TIMEOUT, b"f", b"50")
        handle = caller.submit(P.SUBMIT_JOB, b"f", b"", b"")
        worker.ask(P.GRAB_JOB)
        assert caller.receive() == (P.WORK_FAIL, [handle])


def test_stored_jobs_survive_a_restart_until_they_are_done(tmp_path: Path) -> None:
    server = JobServer(store=tmp_path / "jobs.db")
    soon = int(time.time()) + 2
    with server, Wire(server.port) as caller, Wire(server.port) as worker:
        done = caller.submit(P.SUBMIT_JOB_HIGH_BG, b"f", b"done", b"")
        caller.submit(P.SUBMIT_JOB_BG, b"f", b"held", b"a\0b")
        caller.submit(P.SUBMIT_JOB_EPOCH, b"f", b"later", b"%d" % soon, b"c")
        caller.submit(P.SUBMIT_JOB, b"f", b"foreground", b"")
        worker.tell(P.CAN_DO, b"f")
        assert [worker.ask(P.GRAB_JOB_UNIQ)[1][2] for _ in range(2)] == [b"done", b"held"]
        worker.tell(P.WORK_COMPLETE, done, b"")
    with server, Wire(server.port) as worker:
        worker.tell(P.CAN_DO, b"f")
        assert worker.ask(P.GRAB_JOB_UNIQ)[1][1:] == [b"f", b"held", b"a", b"b"]
        worker.tell(P.PRE_SLEEP)
        assert worker.receive() == (P.NOOP, [b""])
        assert time.time() >= soon
        assert worker.ask(P.GRAB_JOB_UNIQ)[1][1:] == [b"f", b"later", b"c"]


def test_background_calls_of_our_clients_are_done_after_a_restart(tmp_path: Path) -> None:
    server = JobServer(store=tmp_path / "jobs.db")
    with server, SimpleClient([server.host], timeout=PATIENCE) as client:
        list(client.using(background=True).map("adder_add", [{"a": 1, "b": 2}] * 20))
    with server, working(Adder([server.host])):
        until(lambda: [row.total for row in Admin(server.host).status()] == [0, 0], "all done")
    with server:
        assert Admin(server.host).status() == []


def test_a_store_belongs_to_one_server(tmp_path: Path) -> None:
    store = tmp_path / "jobs.db"
    with (
        JobServer(store=store),
        pytest.raises(InvalidOption, match="another job server is using it"),
    ):
        JobServer(store=store).start()


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    letter, database = tmp_path / "letter.txt", tmp_path / "other.db"
    letter.write_text("Dear reader, " * 100)
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE other (id)")
    connection.close()
    for path in (letter, database, tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(InvalidOption, match="cannot be used: "):
            JobServer(store=path).start()
    assert letter.read_text() == "Dear reader, " * 100


def test_a_stranger_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with JobServer() as server:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as stranger:
            stranger.sendall(b"\0RES" + b"\0" * 8)
            assert b"not a Gearman client or worker" in stranger.recv(1000)
        assert "peer_refused" in [vars(record).get("action") for record in caplog.records]


def test_an_ipv6_address() -> None:
    port = free_port()
    try:
        with JobServer(port, address="::1") as server:
            assert server.host == f"[::1]:{port}"
            assert Admin(server.host).version()
    except InvalidOption as error:
        pytest.skip(f"this machine has no IPv6: {error}")
