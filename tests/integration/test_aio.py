"""The asyncio client: what an event loop brings with it. What all clients promise: test_calls.

Nobody closes the client of most tests here: the end of its event loop has to be enough.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gearmanny.admin import JobServer
from gearmanny.aio import AioClient, AioWorkResult
from gearmanny.errors import (
    JobServerLost,
    JobServerUnavailable,
    TaskTimeout,
)
from tests.support.servers import PATIENCE, RunWorker, Server
from tests.support.workers import Called, Gate
from tools import proxies

MANY = 10_000


@pytest.fixture
def workers(gearman_worker: RunWorker) -> None:
    for _ in range(2):
        gearman_worker(Called, prefetch=16)


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
    return asyncio.to_thread(gate.wait_for_entry)


class TestManyAtOnce:
    @pytest.mark.usefixtures("workers")
    def test_ten_thousand_calls_share_one_connection(self, gearman_server: Server) -> None:
        async def main() -> list[int]:
            async with AioClient([proxy.host], timeout=6 * PATIENCE) as client:
                calls = (client.called_echo(value=n) for n in range(MANY))
                return await asyncio.gather(*calls)

        with proxies.proxy(gearman_server.port) as proxy:
            assert running(main) == [*range(MANY)]
            assert proxy.accepted == 1

    @pytest.mark.usefixtures("workers")
    def test_asyncio_takes_work_objects(self, gearman_aio_client: AioClient) -> None:
        async def main() -> None:
            works = [await gearman_aio_client.submit("called_echo", value=n) for n in range(20)]
            assert await asyncio.gather(*works) == [*range(20)]
            assert sorted([await work for work in asyncio.as_completed(works)]) == [*range(20)]
            assert await asyncio.wait_for(works[3], PATIENCE) == 3
            assert await works[3] == await works[3].get_result() == 3
            assert repr(works[3]).startswith("<AioWorkResult called_echo H:")

        running(main)

    @pytest.mark.usefixtures("workers")
    def test_streams_and_maps_run_side_by_side(self, gearman_aio_client: AioClient) -> None:
        async def total(items: AsyncIterator[int]) -> int:
            return sum([item async for item in items])

        async def main() -> None:
            inputs = [{"value": n} for n in range(100)]
            sums = await asyncio.gather(
                total(gearman_aio_client.map("called_echo", inputs, window=7)),
                total(gearman_aio_client.stream("called_numbers", count=100)),
                total(gearman_aio_client.map("called_echo", inputs)),
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
            assert await noted.called_numbers(count=2) == [0, 1]
            assert [row async for row in noted.stream("called_numbers", count=2)] == [0, 1]

        running(main)
        assert seen == [0, 1] * 2


class TestCancelling:
    def test_a_cancelled_call_is_forgotten_and_shifts_no_answer(
        self, gearman_aio_client: AioClient, gate: Gate, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            held = asyncio.create_task(gearman_aio_client.called_held(value="held"))
            await entered(gate)
            early = asyncio.create_task(gearman_aio_client.called_echo(value="forgotten"))
            await asyncio.sleep(0)  # it has begun, and waits
            for task in (held, early):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert await gearman_aio_client.called_echo(value="next") == "next"
            gate.opened.set()
            values = await asyncio.gather(
                *(gearman_aio_client.called_echo(value=n) for n in range(50))
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
                    await gearman_aio_client.called_held()
            with pytest.raises(TaskTimeout, match="2 worker"):
                await gearman_aio_client.using(timeout=0.05).called_held()
            gate.opened.set()
            rows = gearman_aio_client.stream("called_numbers", count=3)
            async for row in rows:
                assert row == 0
                break
            assert await gearman_aio_client.called_echo(value=1) == 1

        running(main)

    def test_a_work_object_can_be_awaited_again(
        self, gearman_aio_client: AioClient, gate: Gate
    ) -> None:
        async def main() -> None:
            work = await gearman_aio_client.submit("called_held", value="late")
            waiting = [asyncio.create_task(work.get_result()) for _ in range(3)]
            await entered(gate)
            waiting[0].cancel()
            gate.opened.set()
            assert await asyncio.gather(*waiting[1:]) == ["late", "late"]
            assert await work == "late"

        running(main)

    @pytest.mark.usefixtures("workers")
    def test_whoever_connects_may_be_cancelled(
        self, gearman_server: Server, black_hole: str
    ) -> None:
        async def main(hosts: list[str]) -> None:
            async with AioClient(hosts, timeout=PATIENCE, connect_timeout=2 * PATIENCE) as client:
                first = asyncio.create_task(client.called_echo(value=1))
                second = asyncio.create_task(client.called_echo(value=2))
                for _ in range(5):  # the first connects, the second waits for that
                    await asyncio.sleep(0)
                first.cancel()
                second.cancel()
                for task in (first, second):
                    with pytest.raises(asyncio.CancelledError):
                        await task

        running(lambda: main([black_hole, gearman_server.host]))

    def test_a_forgotten_job_is_not_sent_again(
        self, gearman_server: Server, gearman_aio_client: AioClient, gearman_worker: RunWorker
    ) -> None:
        async def main() -> None:
            async with gearman_aio_client as client:
                again = client.using(idempotent=True)
                call = asyncio.create_task(again.call("called_note", value="forgotten"))
                work = await again.submit("called_note", value="wanted")
                await work.status()
                call.cancel()
                gearman_server.stop()
                gearman_server.start()
                worker = gearman_worker(Called)
                await work
                await again.call("called_note", value="last")
            assert worker.seen == ["wanted", "last"]

        running(main)


class TestLoops:
    @pytest.mark.usefixtures("workers")
    def test_one_client_serves_one_loop_after_another(self, gearman_aio_client: AioClient) -> None:
        async def main() -> Any:
            return await gearman_aio_client.called_echo(value=1)

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
            work = await gearman_aio_client.submit("called_held")
            with ThreadPoolExecutor(1) as pool:
                for call in (
                    lambda: gearman_aio_client.called_echo(value=1),
                    lambda: gearman_aio_client.using(timeout=1).submit("called_echo", value=1),
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
                    pool.submit(elsewhere, lambda: gearman_aio_client.called_echo(value=1))
                )

        running(main)

    def test_jobs_of_a_loop_that_ended_are_lost(
        self, gearman_aio_client: AioClient, gate: Gate
    ) -> None:
        async def main() -> AioWorkResult:
            return await gearman_aio_client.submit("called_held")

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
                    assert await AioClient([proxy.host]).called_echo(value=1) == 1
                while proxy.open:
                    await asyncio.sleep(0.01)

        running(lambda: asyncio.wait_for(main(), PATIENCE))

    @pytest.mark.usefixtures("workers")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_child_makes_connections_of_its_own(self, gearman_aio_client: AioClient) -> None:
        async def main(value: str) -> Any:
            return await gearman_aio_client.called_echo(value=value)

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


class TestServers:
    def test_all_calls_learn_together_that_no_server_answers(self, black_hole: str) -> None:
        async def main() -> None:
            client = AioClient([black_hole], connect_timeout=0.1)
            failures = await asyncio.gather(
                *(client.called_echo(value=1) for _ in range(50)), return_exceptions=True
            )
            for failure in failures:
                assert isinstance(failure, JobServerUnavailable)
                assert failure.failures == {black_hole: "timed out"}

        running(main)

    def test_a_server_that_does_not_read_eats_no_memory(self) -> None:
        text = "x" * 1024 * 1024

        async def main() -> None:
            host = "127.0.0.1:%d" % deaf.getsockname()[1]
            client = AioClient([host], timeout=0.5, connect_timeout=PATIENCE)
            with pytest.raises(JobServerUnavailable, match="it does not take what is sent"):
                async for _ in client.map("called_echo", ({"value": text} for _ in range(500))):
                    pass

        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            tracemalloc.start()
            try:
                running(main)
                # orjson reserves 16 times a text; three or four of the 500 payloads exist.
                assert tracemalloc.get_traced_memory()[1] < 100 * len(text)
            finally:
                tracemalloc.stop()

    @pytest.mark.usefixtures("workers")
    def test_a_server_that_stalls_is_waited_for_in_turn(self, gearman_server: Server) -> None:
        text = "x" * 200_000

        async def main() -> None:
            async with AioClient([gearman_server.host], timeout=PATIENCE) as client:
                calls = (client.called_echo(value=f"{n}{text}") for n in range(100))
                assert await asyncio.gather(*calls) == [f"{n}{text}" for n in range(100)]

        running(main)

    def test_an_end_that_the_loop_had_no_time_to_see_is_seen(
        self, gearman_server: Server, gearman_aio_client: AioClient, gearman_worker: RunWorker
    ) -> None:
        async def main() -> None:
            async with gearman_aio_client as client:
                for n in range(2):
                    assert await client.called_echo(value=n) == n
                    gearman_server.stop()
                    gearman_server.start()

        gearman_worker(Called)
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
