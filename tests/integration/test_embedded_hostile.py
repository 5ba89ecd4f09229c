"""The job server of our own among hostile neighbours, and with too little of everything."""

from __future__ import annotations

import contextlib
import resource
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gearmanny.admin import JobServer as Admin
from gearmanny.client import SimpleClient
from gearmanny.contrib.prometheus.queues import QueueCollector
from gearmanny.embedded import JobServer
from gearmanny.errors import InvalidOption, JobServerError
from gearmanny.net.loopback import free_port
from gearmanny.protocol.packets import PacketType as P
from tests.contract.wire import Wire
from tests.support.servers import PATIENCE, end, until

MIB = 2**20


@pytest.fixture
def server() -> Iterator[JobServer]:
    with JobServer() as server:
        yield server


@contextlib.contextmanager
def program(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Runs `gearmanny server`; yields its process and its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "gearmanny", "server", "--port", str(port), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("gearmanny ")
        yield process, port
    finally:
        end(process)


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record).get("action", "") for record in caplog.records]


class TestMemory:
    def test_a_server_full_of_jobs_refuses_further_ones_and_goes_on(self) -> None:
        with (
            JobServer(max_memory=1) as server,
            Wire(server.port) as caller,
            Wire(server.port) as worker,
            SimpleClient([server.host], timeout=PATIENCE) as client,
        ):
            until(lambda: is_full(caller), "the server being full")
            with pytest.raises(JobServerError, match=r"QUEUE_ERROR \(.*no memory"):
                client.using(background=True).call("f")
            assert caller.line("create function " + "g" * 900).startswith("ERR QUEUE_ERROR")
            worker.tell(P.CAN_DO, b"f")
            for _ in range(3):
                handle = worker.ask(P.GRAB_JOB)[1][0]
                worker.tell(P.WORK_COMPLETE, handle, b"")
            caller.submit(P.SUBMIT_JOB_BG, b"f", b"", b"")

    def test_so_does_one_whose_process_gets_no_more(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "tests.integration.memory_script", "server", "24"]
        process = subprocess.Popen(
            [*command, f"127.0.0.1:{port}"], stdin=subprocess.PIPE, text=True
        )
        try:
            until(lambda: connects(port), "the server listening")
            with Wire(port) as caller:
                until(lambda: is_full(caller, 10_000), "the server being full")
                worker = caller
                worker.tell(P.CAN_DO, b"f")
                assert worker.ask(P.GRAB_JOB)[0] == P.JOB_ASSIGN
                assert caller.line("version").startswith("OK")
        finally:
            end(process)

    @pytest.mark.parametrize("limit", [0, -1, True, "5", 1.5])
    def test_a_limit_that_cannot_be_is_an_early_error(self, limit: object) -> None:
        with pytest.raises(
            InvalidOption, match="max_memory must be a whole number of MiB, 1 or more, or None"
        ):
            JobServer(max_memory=limit)  # type: ignore[arg-type]

    def test_answers_that_nobody_reads_do_not_pile_up(
        self, server: JobServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Wire(server.port) as flooding, Wire(server.port) as other:
            for number in range(100):
                flooding.send_bytes(b"create function %d%s\n" % (number, b"f" * 8000))
            flooding.send_bytes(b"status\n" * 700)
            assert len(flooding.received_until_closed()) < 64 * MIB
            assert other.has_nothing()
        assert "peer_refused" in actions(caplog)

    def test_payloads_that_never_end_are_bounded(self) -> None:
        header = b"\0REQ" + P.SUBMIT_JOB_BG.to_bytes(4, "big") + (200 * MIB).to_bytes(4, "big")
        with JobServer(max_memory=8) as server, Wire(server.port) as other:
            with Wire(server.port) as first, Wire(server.port) as second:
                first.send_bytes(header + b"f\0\0" + bytes(6 * MIB))
                second.send_bytes(header + b"f\0\0" + bytes(6 * MIB))
                refused = [wire for wire in (first, second) if not wire.is_silent()]
                assert [wire.receive()[1][0] for wire in refused] == [b"ARGUMENT_TOO_LARGE"]
            until(lambda: len(other.rows("workers")) == 1, "both being gone")
            other.submit(P.SUBMIT_JOB_BG, b"f", b"", bytes(6 * MIB))

    @pytest.mark.parametrize(
        "packet",
        [
            (P.SUBMIT_JOB_BG, (b"n" * 5_000_000, b"", b"")),
            (P.CAN_DO, (b"n" * 5_000_000,)),
            (P.CAN_DO_TIMEOUT, (b"n" * 5_000_000, b"1")),
        ],
        ids=["SUBMIT_JOB_BG", "CAN_DO", "CAN_DO_TIMEOUT"],
    )
    def test_a_name_of_megabytes_is_refused(
        self, server: JobServer, packet: tuple[P, tuple[bytes, ...]]
    ) -> None:
        with Wire(server.port) as wire:
            wire.send(packet)
            assert wire.receive() == (
                P.ERROR, [b"ARGUMENT_TOO_LARGE", b"Function value too large"],
            )  # fmt: skip
            assert wire.rows("status") == []


def connects(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def is_full(caller: Wire, size: int = 0) -> bool:
    """Submits jobs with so many bytes of data; returns whether some were refused."""
    jobs = 1000
    caller.send(*[(P.SUBMIT_JOB_BG, (b"f", b"", bytes(size)))] * jobs)
    answers = [caller.receive() for _ in range(jobs)]
    return any(arguments[0] == b"QUEUE_ERROR" for _, arguments in answers)


class TestStrangers:
    def test_a_process_without_descriptors_says_so_once_and_goes_on(self) -> None:
        with program() as (process, port):
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (20, hard))
            with contextlib.ExitStack() as wires:
                for _ in range(60):
                    wires.enter_context(Wire(port))
                waiting = wires.enter_context(Wire(port))
                assert waiting.is_silent()
            with Wire(port) as wire:
                assert wire.has_nothing()
            process.terminate()
            assert process.stderr is not None
            lines = process.stderr.read().splitlines()
        assert len(lines) == 1
        assert "no new connection can be accepted" in lines[0]

    def test_who_leaves_before_it_is_accepted_leaves_no_trace(
        self, server: JobServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        at_once = struct.pack("ii", 1, 0)
        for _ in range(200):
            with socket.create_connection(("127.0.0.1", server.port)) as leaving:
                leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                leaving.send(b"\0REQ")
        until(lambda: len(Admin(server.host).workers()) == 1, "all being gone")
        assert caplog.records == []

    def test_nobody_floods_the_log(
        self, server: JobServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(100):
            with Wire(server.port) as stranger:
                stranger.send_bytes(b"GET / HTTP/1.1\r\n")
                assert stranger.is_closed()
        assert 0 < actions(caplog).count("peer_refused") < 50

    @pytest.mark.parametrize(("address", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
    def test_an_address_for_others_is_warned_of(
        self, address: str, warned: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        with JobServer(address=address) as server:
            assert Admin(f"127.0.0.1:{server.port}").version()
        assert ("listening_openly" in actions(caplog)) is warned

    def test_a_name_that_breaks_rows_blinds_nobody(
        self, second_gearmand: Wire, caplog: pytest.LogCaptureFixture
    ) -> None:
        """gearmand writes it as it is."""
        second_gearmand.tell(P.CAN_DO, b"bad\nname\x1b[2J")
        second_gearmand.tell(P.CAN_DO, b"good")
        host = f"127.0.0.1:{second_gearmand.port}"
        rows = Admin(host).status()
        assert ("good", 0, 0, 1) in rows
        assert (rows.skipped, rows.skipped_count) == ("bad", 1)
        assert "rows_skipped" in actions(caplog)
        assert "\x1b" not in caplog.text
        up, skipped, _, workers = QueueCollector([host]).collect()
        assert [sample.value for sample in (*up.samples, *skipped.samples)] == [1, 1]
        labels = {sample.labels["function"] for sample in workers.samples}
        assert labels == {"good", "name\\x1b[2J"}

    def test_the_functions_with_labels_of_their_own_are_bounded(self, server: JobServer) -> None:
        with Wire(server.port) as caller:
            for number in range(50):
                for _ in range(1 + (number == 30)):
                    caller.submit(P.SUBMIT_JOB_BG, b"f%d" % number, b"", b"")
            caller.tell(P.CAN_DO, b"f40")
            *_, jobs, _ = QueueCollector([server.host], max_functions=2).collect()
            assert {
                sample.labels["function"]: sample.value
                for sample in jobs.samples
                if sample.labels["state"] == "queued"
            } == {"f40": 1, "f30": 2, "(others)": 48}


@pytest.fixture
def second_gearmand(request: pytest.FixtureRequest) -> Iterator[Wire]:
    from gearmanny.testing import Gearmand  # noqa: PLC0415

    with Gearmand() as server, Wire(server.port) as wire:
        yield wire


class TestAStore:
    def test_it_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.db"
        with JobServer(store=path) as server, Wire(server.port) as caller:
            caller.submit(P.SUBMIT_JOB_BG, b"f", b"", b"")
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}
        assert set(modes.values()) == {0o600}, modes
        path.chmod(0o644)  # as earlier versions made it
        with JobServer(store=path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_link_that_leads_nowhere_is_not_followed(self, tmp_path: Path) -> None:
        target, link = tmp_path / "elsewhere", tmp_path / "jobs.db"
        link.symlink_to(target)
        with pytest.raises(InvalidOption, match="cannot be used"):
            JobServer(store=link).start()
        assert not target.exists()

    @pytest.mark.parametrize(
        "column",
        ["function = 'text'", "data = 5", "priority = 7", "priority = 'x'", "due = 'soon'"],
    )
    def test_one_that_holds_no_jobs_is_an_early_error(self, tmp_path: Path, column: str) -> None:
        path = tmp_path / "jobs.db"
        with JobServer(store=path) as server, Wire(server.port) as caller:
            caller.submit(P.SUBMIT_JOB_BG, b"f", b"", b"")
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute(f"UPDATE jobs SET {column}")
        with pytest.raises(InvalidOption, match="row 1 of its table is not a job"):
            JobServer(store=path).start()

    def test_a_full_disk_refuses_jobs_and_can_be_drained(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.db"
        with program("--store", str(path)) as (process, port), Wire(port) as worker:
            with Wire(port) as caller:
                for number in range(20):
                    caller.submit(P.SUBMIT_JOB_BG, b"f", b"%d" % number, b"x" * 1000)
            used = max(entry.stat().st_size for entry in tmp_path.iterdir())
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (used, hard))

            def refused() -> bool:
                with Wire(port) as caller:
                    caller.send((P.SUBMIT_JOB_BG, (b"f", b"", b"x" * 50_000)))
                    return b"QUEUE_ERROR" in caller.receive()[1]

            with contextlib.suppress(AssertionError):  # the first one ends with its connection
                assert not refused()
            assert refused()
            worker.tell(P.CAN_DO, b"f")
            done = 0
            while (job := worker.ask(P.GRAB_JOB_UNIQ))[0] == P.JOB_ASSIGN_UNIQ:
                worker.tell(P.WORK_COMPLETE, job[1][0], b"")
                done += 1
            assert done >= 20
            with Wire(port) as caller:
                assert caller.submit(P.SUBMIT_JOB, b"f", b"", b"foreground")
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            until(lambda: not refused(), "jobs being kept again")
            assert process.poll() is None
        with JobServer(store=path) as server:
            (row,) = Admin(server.host).status()
            assert row.total == 1


def test_a_folder_that_is_given_as_a_store_stays_open(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(InvalidOption, match="cannot be used"):
        JobServer(store=tmp_path).start()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
