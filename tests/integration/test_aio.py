"""The asyncio client: what an event loop brings with it. What all clients promise: test_calls.

Nobody closes the client of most tests here: the end of its event loop has to be enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import os
import pickle
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gearmanny.admin import JobServer
from gearmanny.aio import AioClient, AioWorkResult
from gearmanny.errors import (
    JobServerLost,
    JobServerUnavailable,
    ProtocolError,
    TaskError,
    TaskTimeout,
)
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, RunWorker, Server, free_port
from tests.support.tls import Authority
from tools import proxies

MANY = 10_000


class Gate:
    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()


class Looped(BaseWorker):
    name = "looped"
    gate = Gate()

    def task_echo(self, value: Any) -> Any:
        return value

    def task_fail(self) -> None:
        raise ValueError("no luck")

    def task_pass(self, value: Any = None) -> Any:
        self.gate.entered.set()
        assert self.gate.opened.wait(PATIENCE)
        return value

    def task_rows(self, count: int) -> Iterator[int]:
        yield from range(count)


@pytest.fixture
def workers(gearman_worker: RunWorker) -> None:
    for _ in range(2):
        gearman_worker(Looped, prefetch=16)


@pytest.fixture
def gate(workers: None) -> Iterator[Gate]:
    """What looped_pass() waits for."""
    Looped.gate = Gate()
    yield Looped.gate
    Looped.gate.opened.set()


@pytest.fixture(autouse=True)
def nothing_unclosed() -> Iterator[None]:
    """Has a test fail that leaves behind a transport, a generator, or an error nobody saw."""
    yield
    gc.collect()


def running(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Runs a coroutine function in an event loop that must have nothing to complain of."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        return await main()

    result = asyncio.run(watched())
    assert complaints == []
    return result


def entered(gate: Gate) -> Coroutine[Any, Any, Any]:
    return asyncio.to_thread(gate.entered.wait, PATIENCE)


class TestManyAtOnce:
    @pytest.mark.usefixtures("workers")
    def test_ten_thousand_calls_share_one_connection(self, gearman_server: Server) -> None:
        async def main() -> list[int]:
            async with AioClient([proxy.host], timeout=6 * PATIENCE) as client:
                calls = (client.looped_echo(value=n) for n in range(MANY))
                return await asyncio.gather(*calls)

        with proxies.proxy(gearman_server.port) as proxy:
            assert running(main) == [*range(MANY)]
            assert proxy.accepted == 1

    @pytest.mark.usefixtures("workers")
    def test_asyncio_takes_work_objects(self, gearman_aio_client: AioClient) -> None:
        async def main() -> None:
            works = [await gearman_aio_client.submit("looped_echo", value=n) for n in range(20)]
            assert await asyncio.gather(*works) == [*range(20)]
            assert sorted([await work for work in asyncio.as_completed(works)]) == [*range(20)]
            assert await asyncio.wait_for(works[3], PATIENCE) == 3
            assert await works[3] == await works[3].get_result() == 3
            assert repr(works[3]).startswith("<AioWorkResult looped_echo H:")

        running(main)

    @pytest.mark.usefixtures("workers")
    def test_streams_and_maps_run_side_by_side(self, gearman_aio_client: AioClient) -> None:
        async def total(items: AsyncIterator[int]) -> int:
            return sum([item async for item in items])

        async def main() -> None:
            inputs = [{"value": n} for n in range(100)]
            sums = await asyncio.gather(
                total(gearman_aio_client.map("looped_echo", inputs, window=7)),
                total(gearman_aio_client.stream("looped_rows", count=100)),
                total(gearman_aio_client.map("looped_echo", inputs)),
            )
            assert sums == [4950] * 3

        running(main)

    @pytest.mark.usefixtures("workers")
    def test_on_update_may_be_a_coroutine_function(self, gearman_aio_client: AioClient) -> None:
        seen = []

        async def note(update: Any) -> None:
            await asyncio.sleep(0)
            seen.append(update.value)

        async def main() -> None:
            noted = gearman_aio_client.using(on_update=note)
            assert await noted.looped_rows(count=2) == [0, 1]
            assert [row async for row in noted.stream("looped_rows", count=2)] == [0, 1]

        running(main)
        assert seen == [0, 1] * 2


class TestCancelling:
    def test_a_cancelled_call_is_forgotten_and_shifts_no_answer(
        self, gearman_aio_client: AioClient, gate: Gate, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            held = asyncio.create_task(gearman_aio_client.looped_pass(value="held"))
            await entered(gate)
            early = asyncio.create_task(gearman_aio_client.looped_echo(value="forgotten"))
            await asyncio.sleep(0)  # it has begun, and waits
            for task in (held, early):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert await gearman_aio_client.looped_echo(value="next") == "next"
            gate.opened.set()
            values = await asyncio.gather(
                *(gearman_aio_client.looped_echo(value=n) for n in range(50))
            )
            assert values == [*range(50)]
            gc.collect()
            left = [each for each in gc.get_objects() if type(each) is AioWorkResult]
            assert left == []

        running(main)
        assert caplog.records == []

    def test_a_time_that_is_over_leaves_nothing_behind_either(
        self, gearman_aio_client: AioClient, gate: Gate
    ) -> None:
        async def main() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await gearman_aio_client.looped_pass()
            with pytest.raises(TaskTimeout, match="2 worker"):
                await gearman_aio_client.using(timeout=0.05).looped_pass()
            gate.opened.set()
            rows = gearman_aio_client.stream("looped_rows", count=3)
            async for row in rows:
                assert row == 0
                break
            assert await gearman_aio_client.looped_echo(value=1) == 1

        running(main)

    def test_a_work_object_can_be_awaited_again(
        self, gearman_aio_client: AioClient, gate: Gate
    ) -> None:
        async def main() -> None:
            work = await gearman_aio_client.submit("looped_pass", value="late")
            waiting = [asyncio.create_task(work.get_result()) for _ in range(3)]
            await entered(gate)
            waiting[0].cancel()
            gate.opened.set()
            assert await asyncio.gather(*waiting[1:]) == ["late", "late"]
            assert await work == "late"

        running(main)

    @pytest.mark.usefixtures("workers")
    def test_whoever_connects_may_be_cancelled(self, gearman_server: Server) -> None:
        async def main(hosts: list[str]) -> None:
            async with AioClient(hosts, timeout=PATIENCE, connect_timeout=2 * PATIENCE) as client:
                first = asyncio.create_task(client.looped_echo(value=1))
                second = asyncio.create_task(client.looped_echo(value=2))
                for _ in range(5):  # the first connects, the second waits for that
                    await asyncio.sleep(0)
                first.cancel()
                second.cancel()
                for task in (first, second):
                    with pytest.raises(asyncio.CancelledError):
                        await task

        with black_hole() as hole:
            running(lambda: main([hole, gearman_server.host]))

    def test_a_forgotten_job_is_not_sent_again(
        self, gearman_server: Server, gearman_aio_client: AioClient, gearman_worker: RunWorker
    ) -> None:
        seen: list[str] = []

        class Noting(BaseWorker):
            name = "noting"

            def task_note(self, value: str) -> None:
                seen.append(value)

        async def main() -> None:
            async with gearman_aio_client as client:
                again = client.using(idempotent=True)
                call = asyncio.create_task(again.call("noting_note", value="forgotten"))
                work = await again.submit("noting_note", value="wanted")
                await work.status()
                call.cancel()
                gearman_server.stop()
                gearman_server.start()
                gearman_worker(Noting)
                await work
                await again.call("noting_note", value="last")

        running(main)
        assert seen == ["wanted", "last"]


class TestLoops:
    @pytest.mark.usefixtures("workers")
    def test_one_client_serves_one_loop_after_another(self, gearman_aio_client: AioClient) -> None:
        async def main() -> Any:
            return await gearman_aio_client.looped_echo(value=1)

        assert [running(main) for _ in range(3)] == [1, 1, 1]

    def test_calls_of_one_loop_after_another_rotate_over_the_servers(
        self, gearman_server: Server, second_server: Server
    ) -> None:
        hosts = [gearman_server.host, second_server.host]
        client = AioClient(hosts)

        async def main(value: int) -> None:
            await client.using(background=True).call("nobody", value=value)

        for n in range(4):
            running(lambda n=n: main(n))
        rows = [row for host in hosts for row in JobServer(host).status()]
        assert [(row.function, row.total) for row in rows] == [("nobody", 2)] * 2

    def test_another_loop_at_the_same_time_is_refused(
        self, gearman_aio_client: AioClient, gate: Gate
    ) -> None:
        def elsewhere(call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
            async def main() -> None:
                await call()

            asyncio.run(main())

        async def main() -> None:
            work = await gearman_aio_client.submit("looped_pass")
            with ThreadPoolExecutor(1) as pool:
                for call in (
                    lambda: gearman_aio_client.looped_echo(value=1),
                    lambda: gearman_aio_client.using(timeout=1).submit("looped_echo", value=1),
                    lambda: gearman_aio_client.status("x"),
                    gearman_aio_client.close,
                    work.get_result,
                ):
                    with pytest.raises(RuntimeError, match="Make an AioClient for each loop"):
                        await asyncio.wrap_future(pool.submit(elsewhere, call))
                gate.opened.set()
                await work
                await gearman_aio_client.close()
                await asyncio.wrap_future(
                    pool.submit(elsewhere, lambda: gearman_aio_client.looped_echo(value=1))
                )

        running(main)

    def test_jobs_of_a_loop_that_ended_are_lost(
        self, gearman_aio_client: AioClient, gate: Gate
    ) -> None:
        async def main() -> AioWorkResult:
            return await gearman_aio_client.submit("looped_pass")

        work = running(main)
        assert work.is_done()
        with pytest.raises(JobServerLost, match="closed by this client"):
            work._call.value()

    @pytest.mark.usefixtures("workers")
    def test_a_client_that_nobody_refers_to_closes_its_connection(
        self, gearman_server: Server
    ) -> None:
        async def main() -> None:
            with proxies.proxy(gearman_server.port) as proxy:
                for _ in range(3):
                    assert await AioClient([proxy.host]).looped_echo(value=1) == 1
                while proxy.open:
                    await asyncio.sleep(0.01)

        running(lambda: asyncio.wait_for(main(), PATIENCE))

    @pytest.mark.usefixtures("workers")
    def test_it_can_be_copied_and_pickled(self, gearman_aio_client: AioClient) -> None:
        async def main() -> None:
            for twin in (
                copy.copy(gearman_aio_client),
                pickle.loads(pickle.dumps(gearman_aio_client)),
            ):
                assert repr(twin) == repr(gearman_aio_client)
                async with twin:
                    assert await twin.looped_echo(value=1) == 1

        running(main)

    @pytest.mark.usefixtures("workers")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_child_makes_connections_of_its_own(self, gearman_aio_client: AioClient) -> None:
        async def main(value: str) -> Any:
            return await gearman_aio_client.looped_echo(value=value)

        with asyncio.Runner() as runner:
            assert runner.run(main("before")) == "before"
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    os.write(writer, asyncio.run(main("child")).encode())
                finally:
                    os._exit(0)
            os.close(writer)
            with open(reader) as answers:
                assert answers.read() == "child"
            os.waitpid(child, 0)
            assert runner.run(main("parent")) == "parent"


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """A host that neither accepts nor refuses connections, as its backlog is full."""
    with socket.socket() as hole, socket.socket() as filler:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        filler.connect(hole.getsockname())
        yield "127.0.0.1:%d" % hole.getsockname()[1]


class TestServers:
    @pytest.mark.usefixtures("workers")
    def test_a_black_hole_costs_one_connect_timeout(self, gearman_server: Server) -> None:
        async def main(hosts: list[str]) -> None:
            async with AioClient(hosts, timeout=PATIENCE, connect_timeout=2) as client:
                started = time.monotonic()
                for n in range(20):
                    assert await client.looped_echo(value=n) == n
                assert 1 <= time.monotonic() - started < 10

        with black_hole() as hole:
            running(lambda: main([hole, gearman_server.host]))

    def test_a_host_that_does_not_answer_is_told(self) -> None:
        async def main() -> None:
            client = AioClient([hole], connect_timeout=0.1)
            failures = await asyncio.gather(
                *(client.looped_echo(value=1) for _ in range(50)), return_exceptions=True
            )
            for failure in failures:
                assert isinstance(failure, JobServerUnavailable)
                assert failure.failures == {hole: "timed out"}

        with black_hole() as hole:
            running(main)

    @pytest.mark.parametrize(
        ("host", "reason"),
        [
            (f"localhost:{free_port()}", "connection refused"),
            (f"[::1]:{free_port()}", "connection refused|address"),
            (f"{'x' * 64}.example", "too long"),
            ("unix:/no/such/socket", "no such file or directory"),
        ],
        ids=["IPv4", "IPv6", "too long", "unix"],
    )
    def test_why_there_is_no_connection_is_told(self, host: str, reason: str) -> None:
        async def main() -> None:
            await AioClient([host]).looped_echo(value=1)

        with pytest.raises(JobServerUnavailable, match=rf"\(.*({reason})"):
            running(main)

    def test_what_is_no_job_server_is_refused(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async def main() -> None:
            async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
                client = AioClient(["127.0.0.1:%d" % server.sockets[0].getsockname()[1]])
                with pytest.raises(ProtocolError, match="not a Gearman job server"):
                    await client.looped_echo(value=1)

        running(main)

    def test_a_server_that_does_not_read_eats_no_memory(self) -> None:
        text = "x" * 1024 * 1024

        async def main() -> None:
            host = "127.0.0.1:%d" % deaf.getsockname()[1]
            client = AioClient([host], timeout=0.5, connect_timeout=PATIENCE)
            with pytest.raises(JobServerUnavailable, match="it does not take what is sent"):
                async for _ in client.map("looped_echo", ({"value": text} for _ in range(500))):
                    pass

        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            tracemalloc.start()
            try:
                running(main)
                assert tracemalloc.get_traced_memory()[1] < 50 * len(text)
            finally:
                tracemalloc.stop()

    @pytest.mark.usefixtures("workers")
    def test_a_server_that_stalls_is_waited_for_in_turn(self, gearman_server: Server) -> None:
        text = "x" * 200_000

        async def main() -> None:
            async with AioClient([gearman_server.host], timeout=PATIENCE) as client:
                calls = (client.looped_echo(value=f"{n}{text}") for n in range(100))
                assert await asyncio.gather(*calls) == [f"{n}{text}" for n in range(100)]

        running(main)

    def test_a_connection_that_is_reset_is_told_and_made_anew(
        self, gearman_server: Server, gate: Gate
    ) -> None:
        async def main() -> None:
            async with AioClient([proxy.host], timeout=PATIENCE) as client:
                held = await client.submit("looped_pass")
                await entered(gate)
                proxy.drop()
                with pytest.raises(JobServerLost, match="may or may not have run"):
                    await held
                assert await client.looped_echo(value=1) == 1

        with proxies.proxy(gearman_server.port) as proxy:
            running(main)

    def test_an_end_that_the_loop_had_no_time_to_see_is_seen(
        self, gearman_server: Server, gearman_aio_client: AioClient, gearman_worker: RunWorker
    ) -> None:
        async def main() -> None:
            async with gearman_aio_client as client:
                for n in range(2):
                    assert await client.looped_echo(value=n) == n
                    gearman_server.stop()
                    gearman_server.start()

        gearman_worker(Looped)
        running(main)

    def test_a_lost_job_is_over_when_the_client_is_closed(self, gearman_server: Server) -> None:
        async def main() -> None:
            client = AioClient([gearman_server.host], connect_timeout=PATIENCE)
            work = await client.using(idempotent=True).submit("nobody")
            await work.status()
            gearman_server.stop()
            waiting = asyncio.create_task(work.get_result())
            while work._call.line.error is None:
                await asyncio.sleep(0.01)
            assert not waiting.done()  # it is being sent again, in vain
            await client.close()
            with pytest.raises(JobServerLost, match="closed by this client"):
                await waiting

        running(main)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class TestTLS:
    def meet(self, host: str, tls: Any) -> None:
        async def main() -> None:
            async with AioClient([host], timeout=PATIENCE, tls=tls) as client:
                text = "hé" * 100_000
                values = await asyncio.gather(*(client.looped_echo(value=text) for _ in range(5)))
                assert values == [text] * 5
                with pytest.raises(TaskError, match="no luck"):
                    await client.looped_fail()
                with pytest.raises(TaskTimeout, match="No worker offers it"):
                    await client.using(timeout=0.1).nobody_home()
                work = await client.submit("nobody_home")
                assert await work.cancel()

        running(main)

    @pytest.mark.usefixtures("workers")
    def test_it_is_spoken(self, gearman_server: Server, authority: Authority) -> None:
        context = authority.context("127.0.0.1", wants_certificate=True)
        with proxies.proxy(gearman_server.port, context) as proxy:
            self.meet(proxy.host, authority.client_files())
            assert proxy.received[:1] == b"\x16"  # a handshake

    @pytest.mark.usefixtures("workers")
    @pytest.mark.parametrize("secured", [True, False])
    def test_unix_sockets(
        self, gearman_server: Server, authority: Authority, tmp_path: Path, secured: bool
    ) -> None:
        context = authority.context("whoever.example") if secured else None
        path = str(tmp_path / "job server.sock")
        with proxies.proxy(gearman_server.port, context, address=path) as proxy:
            self.meet(proxy.host, {"ca": authority.file} if secured else None)

    @pytest.mark.usefixtures("workers")
    def test_who_is_not_trusted_gets_nothing(
        self, gearman_server: Server, authority: Authority
    ) -> None:
        for name, tls, reason in (
            ("other.example", {"ca": authority.file}, "its certificate is not trusted: IP address"),
            ("127.0.0.1", True, "its certificate is not trusted"),
        ):
            with proxies.proxy(gearman_server.port, authority.context(name)) as proxy:
                with pytest.raises(JobServerUnavailable, match=reason):
                    self.meet(proxy.host, tls)
                assert b"looped" not in proxy.received

    @pytest.mark.usefixtures("workers")
    def test_a_context_that_wants_a_name_is_told(
        self, gearman_server: Server, authority: Authority, tmp_path: Path
    ) -> None:
        context = ssl.create_default_context(cafile=authority.file)
        server = authority.context("whoever.example")
        with proxies.proxy(gearman_server.port, server, address=str(tmp_path / "sock")) as proxy:
            with pytest.raises(JobServerUnavailable, match="set its check_hostname to False"):
                self.meet(proxy.host, context)
            context.check_hostname = False
            self.meet(proxy.host, context)

    @pytest.mark.usefixtures("workers")
    def test_who_does_not_speak_it_is_told(
        self, gearman_server: Server, authority: Authority
    ) -> None:
        async def main() -> None:
            tls = {"ca": authority.file}
            await AioClient([gearman_server.host], connect_timeout=0.5, tls=tls).looped_echo(
                value=1
            )

        with pytest.raises(JobServerUnavailable, match="perhaps it does not speak TLS"):
            running(main)

    @pytest.mark.usefixtures("workers")
    def test_who_wants_it_is_guessed(self, gearman_server: Server, authority: Authority) -> None:
        async def main() -> None:
            await AioClient([proxy.host], timeout=PATIENCE).looped_echo(value=1)

        with (
            proxies.proxy(gearman_server.port, authority.context("127.0.0.1")) as proxy,
            pytest.raises(JobServerLost, match="does it expect TLS"),
        ):
            running(main)

    @pytest.mark.usefixtures("workers")
    def test_a_missing_certificate_of_ours_is_told(
        self, gearman_server: Server, authority: Authority
    ) -> None:
        context = authority.context("127.0.0.1", wants_certificate=True)

        async def main() -> None:
            tls = {"ca": authority.file}
            await AioClient([proxy.host], timeout=PATIENCE, tls=tls).looped_echo(value=1)

        with (
            proxies.proxy(gearman_server.port, context) as proxy,
            pytest.raises((JobServerLost, JobServerUnavailable), match="client certificate"),
        ):
            running(main)
