"""Job servers behind TLS: what is trusted, what is told, and that nothing is lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import os
import pickle
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gearmanny import testing
from gearmanny.admin import JobServer
from gearmanny.aio.opening import Conversation
from gearmanny.aio.opening import connect as open_conversation
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import (
    GearmanException,
    InvalidOption,
    JobServerLost,
    JobServerUnavailable,
    ProtocolError,
    TaskError,
    TaskTimeout,
)
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import parse_host
from gearmanny.net.tls import TLS
from gearmanny.net.transport import connect
from gearmanny.vocabulary.gearman_api import GearmanWorker
from gearmanny.worker import JsonWorker
from tests.support.clients import KINDS, Client, MakeClient
from tests.support.servers import PATIENCE, Server, answering, free_port, until, working
from tests.support.tls import Authority
from tests.support.workers import REPORTS, Called
from tools.proxies import Proxy, proxy

LARGE = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def secured(gearman_server: Server, authority: Authority) -> Iterator[Proxy]:
    with proxy(gearman_server.port, authority.context("127.0.0.1", "localhost")) as running:
        yield running


@pytest.fixture
def worker(secured: Proxy, authority: Authority) -> Iterator[None]:
    with testing.running(Called([secured.host], tls={"ca": authority.file})):
        yield


@pytest.fixture
def each_client(make: MakeClient, secured: Proxy, authority: Authority) -> Client:
    """A client of each kind, over TLS."""
    return make(secured.host, timeout=PATIENCE, tls={"ca": authority.file})


@pytest.fixture
def tls_client(secured: Proxy, authority: Authority) -> Iterator[SimpleClient]:
    with SimpleClient([secured.host], timeout=PATIENCE, tls={"ca": authority.file}) as client:
        yield client


@pytest.mark.usefixtures("worker")
class TestCalls:
    def test_clients_and_workers_meet_over_tls(
        self, gearman_server: Server, secured: Proxy, each_client: Client
    ) -> None:
        assert each_client.called_echo(value="hé") == "hé"
        assert secured.received.startswith(b"\x16\x03"), "not even a name was sent in clear"
        with SimpleClient([gearman_server.host], timeout=PATIENCE) as plain:
            assert plain.called_echo(value=1) == 1  # it is the worker that is behind TLS

    def test_updates_arrive_in_their_order(self, each_client: Client) -> None:
        work = each_client.submit("called_report")
        assert list(work.updates(timeout=PATIENCE)) == REPORTS
        assert work.get_result() == "reported"

    def test_a_failure_arrives(self, each_client: Client) -> None:
        with pytest.raises(TaskError, match="no luck"):
            each_client.called_fail()

    def test_a_job_is_cancelled(self, each_client: Client) -> None:
        assert each_client.submit("nobody").cancel()

    def test_a_large_payload_arrives_whole_in_both_directions(self, each_client: Client) -> None:
        text = "0123456789abcdef" * (LARGE // 16)
        assert each_client.called_echo(value=text) == text

    def test_one_client_serves_many_threads(self, tls_client: SimpleClient) -> None:
        def calls(thread: int) -> bool:
            # Every other one is larger than a record, so that records interleave.
            values = [[thread, n, "x" * (40_000 if n % 2 else 1)] for n in range(50)]
            return all(tls_client.called_echo(value=value) == value for value in values)

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(calls, range(16)))

    def test_many_calls_share_a_send(self, each_client: Client) -> None:
        inputs = ({"value": "x" * n} for n in range(2000))
        assert [len(text) for text in each_client.map("called_echo", inputs)] == [*range(2000)]

    def test_copies_and_pickles_of_a_client_reach_the_same_server(
        self, tls_client: SimpleClient
    ) -> None:
        pickled = pickle.loads(pickle.dumps(tls_client))
        for twin in (copy.copy(tls_client), copy.deepcopy(tls_client), pickled):
            with twin:
                assert twin.called_echo(value=1) == 1

    def test_a_context_of_ones_own_can_be_copied_but_not_pickled(
        self, secured: Proxy, authority: Authority
    ) -> None:
        context = ssl.create_default_context(cafile=authority.file)
        with SimpleClient([secured.host], timeout=PATIENCE, tls=context) as client:
            for twin in (client, copy.copy(client), copy.deepcopy(client)):
                with twin:
                    assert twin.called_echo(value=1) == 1
            with pytest.raises(InvalidOption, match=r"cannot be pickled.* dict of paths"):
                pickle.dumps(client)

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_child_leaves_the_connection_of_its_parent_alone(
        self, tls_client: SimpleClient
    ) -> None:
        assert tls_client.called_echo(value="parent") == "parent"
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if tls_client.called_echo(value="child") == "child" else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert tls_client.called_echo(value="parent again") == "parent again"

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_child_is_not_disturbed_by_one_that_asyncio_has_closed(
        self, secured: Proxy, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A transport of TLS that was closed twice raises an AttributeError when it is asked for
        its socket: the connections behind it would stay open in the child."""

        async def closed() -> Conversation:
            conversation = Conversation(parse_host(secured.host), TLS({"ca": authority.file}))
            await open_conversation(conversation, PATIENCE)
            conversation.transport.abort()
            conversation.transport.close()
            conversation.transport.close()
            return conversation

        conversation = asyncio.run(closed())
        monkeypatch.setattr(sys, "unraisablehook", lambda _: os._exit(1))
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert conversation.fileno() == -1

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_an_interrupt_at_any_moment_leaves_a_client_that_works(
        self, tls_client: SimpleClient
    ) -> None:
        class Interrupt(Exception):
            pass

        def interrupt(*_: Any) -> None:
            raise Interrupt

        previous = signal.signal(signal.SIGALRM, interrupt)
        try:
            for number in range(60):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-4 + number * 3e-5)
                    tls_client.called_echo(value=-1)
                    threading.Event().wait(0.003)
                except (Interrupt, GearmanException):
                    pass
                assert tls_client.called_echo(value=number) == number
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)


def test_a_job_server_answers_questions_over_tls(secured: Proxy, authority: Authority) -> None:
    assert JobServer(secured.host, tls={"ca": authority.file}).version().startswith("1.")


def test_why_nobody_answered_is_asked_over_tls(each_client: Client) -> None:
    with pytest.raises(TaskTimeout, match=r"No worker offers it on 127\.0\.0\.1:"):
        each_client.using(timeout=0.1).call("nobody")


def test_a_lost_connection_is_told_and_made_again(
    make: MakeClient, gearman_server: Server, authority: Authority
) -> None:
    tls = {"ca": authority.file}
    with (
        proxy(gearman_server.port, authority.context("127.0.0.1")) as network,
        testing.running(Called([network.host], tls=tls)),
    ):
        client = make(network.host, timeout=PATIENCE, tls=tls)
        under_way = client.submit("nobody")
        assert client.called_echo(value=1) == 1
        network.half_close()
        with pytest.raises(JobServerLost, match="closed by the job server"):
            under_way.get_result(timeout=PATIENCE)
        assert client.called_echo(value=2) == 2


def test_a_worker_that_stops_has_delivered_its_answer(
    gearman_server: Server, gearman_async_client: AsyncClient, authority: Authority
) -> None:
    class Once(Called):
        def task_last(self) -> str:
            self.stop()
            return "x" * 3_000_000

    with proxy(gearman_server.port, authority.context("127.0.0.1")) as running:
        # Jobs that it will be given and not begin: unread when it leaves.
        works = [gearman_async_client.called_last() for _ in range(5)]
        for _ in works:
            Once([running.host], tls={"ca": authority.file}, prefetch=3).start()
        assert [len(work.get_result(timeout=PATIENCE)) for work in works] == [3_000_000] * 5


def test_what_was_sent_last_arrives_while_the_server_still_talks(authority: Authority) -> None:
    received = bytearray()

    def serve(server: socket.socket) -> None:
        raw, _ = server.accept()
        with authority.context("127.0.0.1").wrap_socket(
            raw, server_side=True, suppress_ragged_eofs=False
        ) as sock:
            sock.sendall(b"not read before the end" * 2000)
            while data := sock.recv(10_000):
                received.extend(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        host = parse_host("127.0.0.1:%d" % server.getsockname()[1])
        connection = connect(host, tls=TLS.of({"ca": authority.file}))
        connection.send(b"x" * 3_000_000, Deadline(PATIENCE))
        connection.finish(PATIENCE)
        thread.join()
    assert len(received) == 3_000_000


def test_a_client_certificate_is_shown_where_it_is_demanded(
    make: MakeClient, gearman_server: Server, authority: Authority
) -> None:
    demanding = authority.context("127.0.0.1", wants_certificate=True)
    with proxy(gearman_server.port, demanding) as running:
        tls = authority.client_files()
        assert JobServer(running.host, tls=tls).version()
        assert make(running.host, timeout=PATIENCE, tls=tls).submit("nobody").cancel()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [1, LARGE])
def test_a_missing_client_certificate_is_told(
    make: MakeClient,
    gearman_server: Server,
    authority: Authority,
    version: ssl.TLSVersion,
    size: int,
) -> None:
    demanding = authority.context("127.0.0.1", wants_certificate=True, version=version)
    with proxy(gearman_server.port, demanding) as running:
        client = make(running.host, timeout=PATIENCE, tls={"ca": authority.file})
        reason = "requires a client certificate"
        with pytest.raises((JobServerLost, JobServerUnavailable), match=reason):
            client.call("nobody", text="x" * size)


class TestDistrust:
    @pytest.fixture(params=[*KINDS, "worker", "admin"])
    def reach(
        self, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
    ) -> Callable[[str, Any], str]:
        """Reaches a host with a client of each kind, a worker or a question; returns what was
        told of it."""

        def reach(host: str, tls: Any) -> str:
            if request.param == "worker":
                with working(Called([host], tls=tls)):  # which nobody will ever be told is ready
                    until(lambda: "is away" in caplog.text, "the warning")
                return caplog.text
            if request.param == "admin":
                return refused(JobServer(host, tls=tls).version)
            with contextlib.closing(MakeClient(KINDS[request.param])) as make:
                return refused(make(host, tls=tls).call, "nobody")

        def refused(call: Callable[..., Any], *arguments: str) -> str:
            with pytest.raises(JobServerUnavailable) as caught:
                call(*arguments)
            return str(caught.value)

        return reach

    def test_an_unknown_authority(self, reach: Any, secured: Proxy, stranger: Authority) -> None:
        assert "its certificate is not trusted: " in reach(secured.host, {"ca": stranger.file})
        assert "not trusted: " in reach(secured.host, True)

    def test_another_name(self, reach: Any, gearman_server: Server, authority: Authority) -> None:
        with proxy(gearman_server.port, authority.context("other.example")) as running:
            told = reach(running.named("localhost"), {"ca": authority.file})
        assert "not trusted: Hostname mismatch, certificate is not valid for 'localhost'" in told

    def test_another_address(
        self, reach: Any, gearman_server: Server, authority: Authority
    ) -> None:
        with proxy(gearman_server.port, authority.context("localhost")) as running:
            told = reach(running.host, {"ca": authority.file})
            assert b"nobody" not in running.received
        assert "its certificate is not trusted: IP address mismatch" in told

    def test_an_expired_certificate(
        self, reach: Any, gearman_server: Server, authority: Authority
    ) -> None:
        expired = authority.context("127.0.0.1", expired=True)
        with proxy(gearman_server.port, expired) as running:
            told = reach(running.host, {"ca": authority.file})
        assert "its certificate is not trusted: certificate has expired" in told

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
    def test_an_old_version(self, reach: Any, gearman_server: Server, authority: Authority) -> None:
        old = authority.context("127.0.0.1", version=ssl.TLSVersion.TLSv1_1)
        with proxy(gearman_server.port, old) as running:
            told = reach(running.host, {"ca": authority.file})
        assert "does not support TLS 1.2 or later" in told


def test_a_plain_server_is_told_and_gets_nothing_in_clear(
    make: MakeClient, gearman_server: Server, authority: Authority
) -> None:
    with (
        proxy(gearman_server.port) as plain,
        pytest.raises(JobServerUnavailable, match="does not speak TLS"),
    ):
        make(plain.host, connect_timeout=1, tls={"ca": authority.file}).call(
            "secret", word="secret"
        )
    assert plain.received.startswith(b"\x16\x03")
    assert b"secret" not in plain.received


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=repr)
def test_what_speaks_something_else_is_told(
    make: MakeClient, authority: Authority, answer: bytes
) -> None:
    with (
        answering(answer) as (host, _),
        pytest.raises(JobServerUnavailable, match="does not speak TLS"),
    ):
        make(host, tls={"ca": authority.file}).call("nobody")


def test_a_secured_server_reached_in_plain_is_told(make: MakeClient, secured: Proxy) -> None:
    with pytest.raises((JobServerLost, ProtocolError), match="TLS"):
        make(secured.host, timeout=PATIENCE).call("nobody")


def test_a_server_that_never_shakes_hands_costs_one_connect_timeout(
    make: MakeClient, authority: Authority, secured: Proxy
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        testing.running(Called([secured.host], tls={"ca": authority.file})),
    ):
        client = make(
            "127.0.0.1:%d" % silent.getsockname()[1],
            secured.host,
            timeout=PATIENCE,
            connect_timeout=4,
            tls={"ca": authority.file},
        )
        started = time.monotonic()
        assert [client.called_echo(value=n) for n in range(20)] == [*range(20)]
        # Half of the time belongs to each host; the silent one was asked for ten of the calls.
        assert 2 <= time.monotonic() - started < 2 * 5


class TestOptions:
    @pytest.fixture
    def junk(self, tmp_path: Path) -> str:
        path = tmp_path / "junk.pem"
        path.write_text("no certificate")
        return str(path)

    @pytest.mark.parametrize(
        ("tls", "message"),
        [
            ("yes", "tls must be True, a dict of ca, cert, key, or an ssl.SSLContext, not 'yes'"),
            ({"cafile": "x"}, "tls has no key 'cafile'. It has ca, cert, key"),
            ({"ca": 5}, r"tls\['ca'\] must be the path of a PEM file, not 5"),
            ({"ca": "/no/such"}, r"tls\['ca'\], '/no/such', cannot be used \(No such file"),
            ({"ca": "/"}, r"tls\['ca'\], '/', cannot be used \(Is a directory"),
            ({"key": "/etc/hostname"}, "tls has a key without a cert"),
        ],
    )
    @pytest.mark.parametrize(
        "made",
        [*KINDS.values(), Called, functools.partial(JobServer, "localhost")],
        ids=[*KINDS, "worker", "JobServer"],
    )
    def test_what_cannot_be_is_told_at_once(self, made: Any, tls: Any, message: str) -> None:
        with pytest.raises(InvalidOption, match=message):
            made(tls=tls)

    @pytest.mark.parametrize("name", ["ca", "cert"])
    def test_a_file_without_a_certificate_is_told(self, junk: str, name: str) -> None:
        with pytest.raises(InvalidOption, match=rf"tls\['{name}'\], '{junk}', cannot be used"):
            SimpleClient(tls={name: junk})

    def test_a_key_of_another_certificate_is_told(
        self, authority: Authority, stranger: Authority
    ) -> None:
        tls = {**authority.client_files(), "key": stranger.client_files()["key"]}
        with pytest.raises(InvalidOption, match="must match its certificate"):
            SimpleClient(tls=tls)

    def test_a_key_with_a_password_is_told_and_asks_nobody(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415

        files = authority.client_files()
        key = s.load_pem_private_key(Path(files["key"]).read_bytes(), None)
        locked = tmp_path / "locked.key"
        locked.write_bytes(
            key.private_bytes(
                s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"word")
            )
        )
        with pytest.raises(InvalidOption, match="have no password"):
            SimpleClient(tls={**files, "key": str(locked)})

    def test_a_context_for_servers_is_told(self, authority: Authority) -> None:
        with pytest.raises(InvalidOption, match="SSLContext for servers"):
            SimpleClient(tls=authority.context("localhost"))

    def test_what_gearman3_was_told_is_kept(
        self, secured: Proxy, authority: Authority, tls_client: SimpleClient
    ) -> None:
        files = authority.client_files()
        name, port = secured.host.split(":")
        old = JsonWorker(
            [
                {
                    "host": name,
                    "port": int(port),
                    "keyfile": files["key"],
                    "certfile": files["cert"],
                    "ca_certs": files["ca"],
                }
            ]
        )
        with testing.running(Called(gearman_worker=old)):
            assert tls_client.called_echo(value=1) == 1


def test_nothing_listens_there_is_told_as_without_tls(
    make: MakeClient, authority: Authority
) -> None:
    with pytest.raises(JobServerUnavailable, match="connection refused"):
        make(f"127.0.0.1:{free_port()}", tls={"ca": authority.file}).call("nobody")


def test_a_gearman_worker_that_never_heard_of_tls_runs_behind_it(
    secured: Proxy, authority: Authority, tls_client: SimpleClient
) -> None:
    class Foreign(Called):
        work_class = type("Foreign", (GearmanWorker,), {"data_encoder": JsonWorker.data_encoder})

    with testing.running(Foreign([secured.host], tls={"ca": authority.file})):
        assert tls_client.called_echo(value=1) == 1
