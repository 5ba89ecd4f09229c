"""Background jobs of clients with records: on PostgreSQL and SQLite, for each kind of client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gearmanny.admin import JobServer
from gearmanny.aio import AioClient
from gearmanny.calling.handover import JobHandOver
from gearmanny.client import AsyncClient, JobState, RawClient, SimpleClient
from gearmanny.errors import EncodingError, InvalidOption, StoreUnavailable
from gearmanny.records.ids import parse_unique
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import Event, State
from gearmanny.records.values import Claimed, Snapshot
from gearmanny.testing import eager, outbox, running
from gearmanny.worker import BaseWorker, RawWorker
from tests.contract.records.conftest import url_of
from tests.support.clients import Client, MakeClient
from tests.support.servers import PATIENCE, Server, free_port, until
from tests.support.tls import Authority
from tests.support.workers import Called
from tools.proxies import Proxy, proxy

SCRIPT = Path(__file__).with_name("recording_script.py")


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.db'}"
    return url_of(request.getfixturevalue("postgres_database"))


only_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""For what has nothing to do with the kind of the database."""


@pytest.fixture
def store(url: str) -> Iterator[SQLStore]:
    with contextlib.closing(SQLStore(url)) as store:
        yield store


@pytest.fixture
def recording(store: SQLStore, make: MakeClient, gearman_server: Server) -> Client:
    """A client of each kind, whose calls are recorded. It is closed before the store."""
    return make(gearman_server.host, records=store).using(background=True)


def look(store: SQLStore, id: str | None) -> Snapshot:
    assert id is not None
    found = store.look(id)
    assert found is not None
    return found


def waiting(server: Server, function: str = "called_echo") -> int:
    """Jobs of a function at a job server that no worker has taken."""
    rows = [row for row in JobServer(server.host).status() if row.function == function]
    return sum(row.total - row.running for row in rows)


def claimed_by(store: SQLStore, id: str, function: str = "called_echo") -> Claimed:
    claimed = store.claim(id, function, 1, store.register(pool="tests").id)
    assert isinstance(claimed, Claimed)
    return claimed


class TestAJob:
    def test_it_is_recorded_and_its_worker_finishes_it(
        self, recording: Client, store: SQLStore, gearman_server: Server
    ) -> None:
        with running(Called([gearman_server.host], records=store)):
            work = recording.called_echo(value="ü")
            until(lambda: not look(store, work.id).state.is_open, "the end of the job")
        found = look(store, work.id)
        assert (found.state, found.arguments, found.result) == (
            State.SUCCEEDED,
            '{"value":"ü"}',
            '"ü"',
        )
        assert (found.function, found.number, found.attempts) == ("called_echo", 1, 1)

    def test_its_call_returns_when_it_is_committed(
        self, recording: Client, store: SQLStore, gearman_server: Server
    ) -> None:
        work = recording.called_echo(value=1)
        assert look(store, work.id).state is State.QUEUED
        assert (work.is_done(), work.handle, work.progress) == (False, None, None)
        travelling = parse_unique(work.unique.encode())
        assert travelling is not None
        assert (travelling.store, travelling.id, travelling.number) == (store.id, work.id, 1)
        until(lambda: waiting(gearman_server) == 1, "the job at the job server")
        plain = recording.using(recorded=False)
        assert plain.status(work.unique).state is JobState.QUEUED

    def test_it_is_asked_for_and_cancelled_in_its_record(
        self, recording: Client, store: SQLStore
    ) -> None:
        work = recording.called_echo(value=1)
        assert work.status().state is JobState.QUEUED
        claimed = claimed_by(store, work.id)
        store.progress(claimed.claim, 1, 4)
        found = work.status()
        assert (found.state, found.progress) == (JobState.RUNNING, (1, 4))
        assert work.cancel() is False
        assert store.finish(claimed.claim, Event.SUCCEEDED, "1")
        assert work.status().state is JobState.UNKNOWN
        other = recording.called_echo(value=2)
        assert other.cancel() is True
        assert look(store, other.id).state is State.CANCELLED

    def test_others_are_not_recorded(
        self, make: MakeClient, store: SQLStore, gearman_server: Server
    ) -> None:
        client = make(gearman_server.host, records=store, timeout=PATIENCE)
        with running(Called([gearman_server.host])):
            assert client.called_echo(value=1) == 1
            work = client.using(background=True, recorded=False).called_echo(value=2)
            assert (work.id, len(work.unique)) == (None, 32)
        assert store.counts() == []

    def test_one_that_is_due_later_is_left_to_the_dispatchers(
        self, recording: Client, store: SQLStore, gearman_server: Server
    ) -> None:
        later = recording.using(delay=3600, priority="high").called_echo(value=1)
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)  # SQLite keeps less
        work = recording.using(at=at).called_echo(value=2)
        assert look(store, work.id).due == at
        found = look(store, later.id)
        assert (found.number, found.priority) == (0, 1)
        assert timedelta(minutes=59) < found.due - found.created < timedelta(minutes=61)
        recording.called_fail()
        until(lambda: waiting(gearman_server, "called_fail") == 1, "the job that is due")
        assert waiting(gearman_server) == 0

    def test_where_its_key_is_taken_the_work_is_that_of_the_other_job(
        self, recording: Client, store: SQLStore, gearman_server: Server
    ) -> None:
        keyed = recording.using(unique="k", trace=False)
        one, same = keyed.called_echo(value=1), keyed.called_echo(value=2)
        assert one.id == same.id
        assert store.look(one.id).arguments == '{"value":1}'  # type: ignore[union-attr]
        behind = recording.using(unique_waiting="w")
        first = behind.called_echo(value=3)
        claimed_by(store, first.id)
        second, third = behind.called_echo(value=4), behind.called_echo(value=5)
        assert first.id != second.id == third.id
        until(lambda: waiting(gearman_server) == 3, "one job for each record")

    def test_its_values_are_checked_before_it_is_recorded(
        self, recording: Client, store: SQLStore
    ) -> None:
        with pytest.raises(EncodingError):
            recording.called_echo(value=object())
        with pytest.raises(InvalidOption, match="delay"):
            recording.using(delay=1e12).called_echo(value=1)
        assert store.counts() == []


class TestMany:
    def test_a_part_of_a_map_is_recorded_together(
        self, recording: Client, store: SQLStore, gearman_server: Server
    ) -> None:
        values: list[Any] = [{"value": n} for n in range(100)]
        assert list(recording.map("called_echo", values)) == [None] * 100
        until(lambda: waiting(gearman_server) == 100, "all jobs at the job server")
        assert [count.waiting for count in store.counts()] == [100]

    def test_one_that_cannot_be_encoded_fails_alone(
        self, recording: Client, store: SQLStore
    ) -> None:
        inputs = [{"value": 1}, {"value": object()}, {"value": 3}]
        results = list(recording.map("called_echo", inputs, return_exceptions=True))
        assert [type(result) for result in results] == [type(None), EncodingError, type(None)]
        assert [count.waiting for count in store.counts()] == [2]

    def test_threads_may_share_a_client(self, store: SQLStore, gearman_server: Server) -> None:
        with SimpleClient([gearman_server.host], records=store) as client:
            later = client.using(background=True)
            with ThreadPoolExecutor(8) as pool:
                ids = {w.id for w in pool.map(lambda n: later.called_echo(value=n), range(200))}
            assert len(ids) == 200
            until(lambda: waiting(gearman_server) == 200, "all jobs at the job server")

    def test_work_objects_can_be_waited_for_with_others(
        self, store: SQLStore, gearman_server: Server
    ) -> None:
        with (
            running(Called([gearman_server.host], records=store)),
            AsyncClient([gearman_server.host], records=store) as client,
        ):
            recorded = client.using(background=True).called_echo(value=1)
            works = [recorded, client.called_echo(value=2)]
            assert {*client.as_completed(works, timeout=PATIENCE)} == {*works}
            assert [*client.as_completed([recorded], timeout=PATIENCE)] == [recorded]
            assert client.wait(works, timeout=PATIENCE) == ({*works}, set())


@only_sqlite
class TestAJobServerThatDoesNotAnswer:
    """Connecting has no timeout here: whoever waited for it would wait for ever."""

    def make(self, make: MakeClient, store: SQLStore, *hosts: str) -> Client:
        client = make(*hosts, records=store, connect_timeout=3600)
        return client.using(background=True)

    def test_a_black_hole_holds_nobody_up(
        self, make: MakeClient, store: SQLStore, black_hole: str
    ) -> None:
        client = self.make(make, store, black_hole)
        ids = [client.called_echo(value=n).id for n in range(3)]
        assert {look(store, id).state for id in ids} == {State.QUEUED}
        assert {job.id for job in store.handed_before(0, 10)} == set(ids)

    def test_one_that_refuses_is_said_once(
        self, make: MakeClient, store: SQLStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = self.make(make, store, f"127.0.0.1:{free_port()}")
        for n in range(3):
            client.called_echo(value=n)
        assert [count.waiting for count in store.counts()] == [3]
        until(lambda: caplog.records, "a line in the log")
        assert [record.action for record in caplog.records] == ["hand_over_failed"]  # type: ignore[attr-defined]

    def test_another_one_is_taken(
        self, make: MakeClient, store: SQLStore, black_hole: str, gearman_server: Server
    ) -> None:
        client = self.make(make, store, black_hole, gearman_server.host)
        for n in range(3):
            client.called_echo(value=n)
        until(lambda: waiting(gearman_server) == 3, "the jobs at the other job server")

    def test_what_it_does_not_read_holds_nobody_up(
        self, make: MakeClient, store: SQLStore, tmp_path: Path
    ) -> None:
        path = str(tmp_path / "deaf")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            client = self.make(make, store, f"unix:{path}")
            inputs = [{"value": n} for n in range(4000)]
            for _ in client.map("called_echo", inputs):
                pass  # more than its buffers hold
            assert [count.waiting for count in store.counts()] == [4000]
            peer, _ = listener.accept()
            with peer:
                packets = self.packets(peer)
                last = client.called_echo(value=-1)
                packets += self.packets(peer)
            uniques = [packet.split(b"\0")[1] for packet in packets]
            travelling = [parse_unique(unique) for unique in uniques]
            assert all(travelling), "every packet is whole"
            assert last.id in {each.id for each in travelling if each}
            assert 1000 < len(uniques) < 4001

    def packets(self, peer: socket.socket) -> list[bytes]:
        """The bodies of the jobs that have arrived; the last one may be finished later."""
        peer.setblocking(False)
        data = self.rest if hasattr(self, "rest") else b""
        with contextlib.suppress(BlockingIOError):
            while piece := peer.recv(1 << 20):
                data += piece
        bodies = []
        while len(data) >= 12 and len(data) >= 12 + (size := int.from_bytes(data[8:12])):
            assert data[:4] == b"\0REQ"
            if data[4:8] != b"\0\0\0\x1a":  # OPTION_REQ
                bodies.append(data[12 : 12 + size])
            data = data[12 + size :]
        self.rest = data
        return bodies


class TestAConnectionThatEnds:
    @pytest.fixture
    def through(self, make: MakeClient, store: SQLStore, network: Proxy) -> Client:
        return make(network.host, records=store).using(background=True)

    @only_sqlite
    def test_the_next_job_has_another_one(
        self, through: Client, network: Proxy, gearman_server: Server
    ) -> None:
        through.called_echo(value=1)
        until(lambda: waiting(gearman_server) == 1, "the first job")
        network.drop()
        until(lambda: not network.open, "the end of the connection")
        through.called_echo(value=2)
        until(lambda: waiting(gearman_server) == 2, "the second job")

    @only_sqlite
    def test_what_was_lost_on_the_way_is_found_by_the_dispatchers(
        self, through: Client, store: SQLStore, network: Proxy, gearman_server: Server
    ) -> None:
        through.called_echo(value=1)
        until(lambda: waiting(gearman_server) == 1, "the first job")
        network.swallow()
        lost = through.called_echo(value=2)
        network.drop()
        until(lambda: not network.open, "the end of the connection")
        assert waiting(gearman_server) == 1
        assert lost.id in {job.id for job in store.handed_before(0, 10)}

    @only_sqlite
    def test_closing_a_client_lets_its_jobs_arrive(
        self, store: SQLStore, gearman_server: Server
    ) -> None:
        for n in range(20):
            with SimpleClient([gearman_server.host], records=store) as client:
                client.using(background=True).called_echo(value=n)
        until(lambda: waiting(gearman_server) == 20, "all jobs at the job server")

    @only_sqlite
    def test_tls_and_names_cost_no_wait(
        self, store: SQLStore, make: MakeClient, gearman_server: Server, authority: Authority
    ) -> None:
        with proxy(gearman_server.port, authority.context("localhost")) as secured:
            client = make(
                secured.named("localhost"), records=store, tls={"ca": authority.file}
            ).using(background=True)
            for n in range(5):
                client.called_echo(value=n)
            until(lambda: waiting(gearman_server) == 5, "the jobs at the job server")


class TestACallerThatEnds:
    def run(self, url: str, host: str, moment: str) -> None:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), url, host, moment], timeout=PATIENCE, check=False
        )
        assert done.returncode == -signal.SIGKILL

    def test_before_commit_there_is_no_job(
        self, url: str, store: SQLStore, gearman_server: Server
    ) -> None:
        self.run(url, gearman_server.host, "before")
        assert (store.counts(), waiting(gearman_server)) == ([], 0)

    def test_after_commit_the_dispatchers_hand_it_over(
        self, url: str, store: SQLStore, gearman_server: Server
    ) -> None:
        self.run(url, gearman_server.host, "after")
        assert waiting(gearman_server) == 0
        (job,) = store.handed_before(0, 10)
        assert (job.function, job.number) == ("called_echo", 1)

    def test_a_forked_child_records_with_connections_of_its_own(
        self, store: SQLStore, gearman_server: Server
    ) -> None:
        with SimpleClient([gearman_server.host], records=store) as client:
            later = client.using(background=True)
            later.called_echo(value=1)
            until(lambda: waiting(gearman_server) == 1, "the job of the parent")
            pid = os.fork()
            if not pid:
                try:
                    later.called_echo(value=2)
                    until(lambda: waiting(gearman_server) == 2, "the job of the child")
                except BaseException:
                    os._exit(1)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            later.called_echo(value=3)
            until(lambda: waiting(gearman_server) == 3, "the job after it")


class TestADatabaseThatIsAway:
    @pytest.fixture(params=["postgresql", "sqlite"])
    def nowhere(self, request: pytest.FixtureRequest, tmp_path: Path) -> SQLStore:
        if request.param == "sqlite":
            return SQLStore(f"sqlite:///{tmp_path / 'no folder' / 'jobs.db'}")
        return SQLStore(f"postgresql://u:secret@127.0.0.1:{free_port()}/d")

    def test_the_caller_is_told_and_nothing_is_sent(
        self, make: MakeClient, nowhere: SQLStore, gearman_server: Server
    ) -> None:
        client = make(gearman_server.host, records=nowhere).using(background=True)
        with pytest.raises(StoreUnavailable) as caught:
            client.called_echo(value=1)
        assert "secret" not in str(caught.value)
        with pytest.raises(ConnectionError):
            list(client.map("called_echo", [{"value": 1}]))
        assert waiting(gearman_server) == 0

    @only_sqlite
    def test_an_event_loop_goes_on_while_it_is_waited_for(
        self, url: str, store: SQLStore, gearman_server: Server
    ) -> None:
        assert store.id
        other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)

        async def main() -> str | None:
            async with AioClient([gearman_server.host], records=store) as client:
                other.execute("BEGIN IMMEDIATE")
                call = asyncio.create_task(client.using(background=True).called_echo(value=1))
                for _ in range(100):
                    await asyncio.sleep(0)
                assert not call.done()
                other.execute("ROLLBACK")  # only now the call can go on
                id: str | None = (await call).id
                return id

        with contextlib.closing(other):
            assert look(store, asyncio.run(main())).state is State.QUEUED


class TestAnEventLoop:
    def test_many_tasks_record_at_the_same_time(
        self, store: SQLStore, gearman_server: Server
    ) -> None:
        async def main() -> set[str | None]:
            async with AioClient([gearman_server.host], records=store) as client:
                later = client.using(background=True)
                works = await asyncio.gather(*(later.called_echo(value=n) for n in range(200)))
                return {work.id for work in works}

        assert len(asyncio.run(main())) == 200
        until(lambda: waiting(gearman_server) == 200, "all jobs at the job server")

    @only_sqlite
    def test_cancelling_a_call_discards_its_work_object_alone(
        self, url: str, store: SQLStore, gearman_server: Server
    ) -> None:
        assert store.id
        other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)

        async def main() -> None:
            async with AioClient([gearman_server.host], records=store) as client:
                other.execute("BEGIN IMMEDIATE")
                call = asyncio.create_task(client.using(background=True).called_echo(value=1))
                for _ in range(100):
                    await asyncio.sleep(0)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                other.execute("ROLLBACK")
                # Its thread goes on.
                await asyncio.to_thread(until, lambda: waiting(gearman_server) == 1, "the job")

        with contextlib.closing(other):
            asyncio.run(main())
        assert [count.waiting for count in store.counts()] == [1]


def test_a_payload_of_bytes_is_recorded_as_it_is(store: SQLStore, gearman_server: Server) -> None:
    class Blobs(BaseWorker):
        name = "blobs"
        work_class = RawWorker

        def task_double(self, data: bytes) -> bytes:
            return data * 2

    with (
        running(Blobs([gearman_server.host], records=store)),
        RawClient([gearman_server.host], records=store) as client,
    ):
        work = client.using(background=True).blobs_double(b"\0\xff")
        until(lambda: not look(store, work.id).state.is_open, "the end of the job")
        found = look(store, work.id)
    assert (found.state, found.arguments, found.result) == (
        State.SUCCEEDED,
        b"\0\xff",
        b"\0\xff\0\xff",
    )


@only_sqlite
def test_nothing_is_recorded_in_eager_mode(make: MakeClient, store: SQLStore) -> None:
    with eager([Called]):
        client = make("127.0.0.1:1", records=store).using(background=True)
        work = client.using(unique_waiting="k").called_echo(value=1)
        assert (work.id, work.is_done()) == (None, True)
        assert [sent.arguments for sent in outbox] == [{"value": 1}]
    assert store.counts() == []


@only_sqlite
def test_an_interrupt_leaves_no_half_of_a_job(
    store: SQLStore, gearman_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SimpleClient([gearman_server.host], records=store) as client:
        later = client.using(background=True)
        later.called_echo(value=1)
        until(lambda: waiting(gearman_server) == 1, "the first job")
        assert client._recorder is not None
        line = client._recorder.hand_over._lines[0]
        sender = line._sender
        assert sender is not None
        send = sender.send_some

        def interrupted(data: bytes | memoryview) -> int:
            send(bytes(data)[:30])
            raise KeyboardInterrupt

        monkeypatch.setattr(sender, "send_some", interrupted)
        with pytest.raises(KeyboardInterrupt):
            later.called_echo(value=2)
        later.called_echo(value=3)
        until(lambda: waiting(gearman_server) == 3, "both jobs")


@only_sqlite
def test_hand_overs_share_one_object(store: SQLStore, gearman_server: Server) -> None:
    """By which stores know that jobs can leave together."""
    seen: list[Any] = []

    class Collecting(SQLStore):
        def record(self, jobs: Any, hand_over: Any) -> Any:
            seen.append(hand_over)
            return super().record(jobs, hand_over)

    collecting = Collecting(store._connections.connector)
    with (
        contextlib.closing(collecting),
        SimpleClient([gearman_server.host], records=collecting) as client,
    ):
        later = client.using(background=True)
        later.called_echo(value=1)
        later.using(priority="high").called_fail()
    assert isinstance(seen[0], JobHandOver)
    assert seen[0] is seen[1]
