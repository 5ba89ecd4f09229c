"""Many calls at once: map, as_completed, wait, background jobs, and workers that prefetch."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gearmanny.admin import JobServer
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import (
    EncodingError,
    InvalidOption,
    JobServerUnavailable,
    TaskError,
    TaskTimeout,
)
from gearmanny.testing import running
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, RunWorker, Server, free_port, until


class Bulk(BaseWorker):
    name = "bulk"
    gate = threading.Event()
    begun = threading.Event()

    def task_double(self, n: int) -> int:
        return n * 2

    def task_reciprocal(self, n: int) -> float:
        return 1 / n

    def task_held(self, n: int) -> int:
        Bulk.begun.set()
        assert Bulk.gate.wait(PATIENCE)
        return n


@pytest.fixture
def workers(gearman_worker: RunWorker) -> None:
    for _ in range(2):
        gearman_worker(Bulk)


@pytest.fixture
def gate(gearman_server: Server) -> Iterator[threading.Event]:
    """What bulk_held() waits for."""
    Bulk.gate.clear()
    Bulk.begun.clear()
    yield Bulk.gate
    Bulk.gate.set()


@pytest.mark.usefixtures("workers")
class TestMap:
    @pytest.mark.parametrize("window", [1, 2, 3, 1000])
    def test_results_come_in_the_order_of_the_inputs(
        self, gearman_client: SimpleClient, window: int
    ) -> None:
        inputs = ({"n": n} for n in range(300))
        assert list(gearman_client.map("bulk_double", inputs, window=window)) == [*range(0, 600, 2)]

    def test_inputs_may_be_endless_and_are_taken_as_results_are_consumed(
        self, gearman_client: SimpleClient
    ) -> None:
        taken = itertools.count()
        last = -1

        def inputs() -> Iterator[dict[str, int]]:
            nonlocal last
            for last in taken:
                yield {"n": last}

        results = gearman_client.map("bulk_double", inputs(), window=10)
        assert last == -1
        assert list(itertools.islice(results, 100)) == [*range(0, 200, 2)]
        assert last < 111

    def test_a_slow_source_of_inputs_does_not_keep_answers_back(
        self, gearman_client: SimpleClient
    ) -> None:
        answered = threading.Event()

        def inputs() -> Iterator[dict[str, int]]:
            yield {"n": 1}
            threading.Event().wait(0.02)  # longer than inputs are collected for
            yield {"n": 2}
            until(lambda: answered.is_set() or bool(asked), "an answer, or another question")
            for n in itertools.count(3):
                asked.append(n)
                if answered.is_set() or n > 2000:
                    return
                threading.Event().wait(0.02)
                yield {"n": n}

        asked: list[int] = [0]
        for _ in gearman_client.map("bulk_double", inputs(), window=1_000_000):
            answered.set()
        assert asked[-1] < 1000

    def test_a_failing_call_raises_at_its_place(self, gearman_client: SimpleClient) -> None:
        results = gearman_client.map("bulk_reciprocal", ({"n": n} for n in (1, 2, 0, 4)))
        assert [next(results), next(results)] == [1, 0.5]
        with pytest.raises(TaskError, match="ZeroDivisionError"):
            next(results)

    def test_a_failing_call_may_be_yielded_at_its_place(self, gearman_client: SimpleClient) -> None:
        inputs: list[Any] = [{"n": 1}, {"n": 0}, {"n": object()}, {"m": 1}, {"n": 4}]
        first, zero, unencodable, wrong, last = gearman_client.map(
            "bulk_reciprocal", inputs, return_exceptions=True
        )
        assert (first, last) == (1, 0.25)
        assert isinstance(zero, TaskError)
        assert isinstance(unencodable, EncodingError)
        assert "missing required argument: 'n'" in str(wrong)

    def test_a_function_without_workers_times_out(self, gearman_client: SimpleClient) -> None:
        hasty = gearman_client.using(timeout=0.1)
        with pytest.raises(TaskTimeout, match="No worker offers it"):
            next(hasty.map("bulk_nobody", [{}]))

    def test_no_server_is_told(self) -> None:
        client = SimpleClient([f"127.0.0.1:{free_port()}"])
        with pytest.raises(JobServerUnavailable):
            next(client.map("bulk_double", [{"n": 1}]))

    @pytest.mark.parametrize("window", [0, -1, 1.5, "9"])
    def test_a_window_is_a_number_of_calls(self, gearman_client: SimpleClient, window: Any) -> None:
        with pytest.raises(InvalidOption, match="window must be a whole number"):
            gearman_client.map("bulk_double", [], window=window)

    def test_several_servers_share_the_calls(
        self, gearman_server: Server, second_server: Server
    ) -> None:
        hosts = [gearman_server.host, second_server.host]
        with running(Bulk(hosts)), SimpleClient(hosts, timeout=20) as client:
            results = client.map("bulk_double", ({"n": n} for n in range(100)), window=10)
            assert list(results) == [*range(0, 200, 2)]
        for host in hosts:
            assert any(row.function == "bulk_double" for row in JobServer(host).status())


@pytest.mark.usefixtures("workers")
class TestWaiting:
    def test_work_objects_come_as_their_jobs_end(
        self, gearman_async_client: AsyncClient, gate: threading.Event
    ) -> None:
        held = gearman_async_client.bulk_held(n=0)
        quick = [gearman_async_client.bulk_double(n=n) for n in range(5)]
        completed = gearman_async_client.as_completed([held, *quick], timeout=20)
        assert {next(completed) for _ in range(5)} == set(quick)
        gate.set()
        assert list(completed) == [held]

    def test_what_does_not_end_in_time_is_told(self, gearman_async_client: AsyncClient) -> None:
        nobody = gearman_async_client.call("bulk_nobody")
        done = gearman_async_client.bulk_double(n=1)
        with pytest.raises(TimeoutError, match=r"1 jobs did not end within 0\.2 s"):
            list(gearman_async_client.as_completed([nobody, done], timeout=0.2))
        assert gearman_async_client.wait([nobody, done], timeout=0.1) == ({done}, {nobody})

    def test_several_threads_may_wait_for_the_same_jobs(
        self, gearman_async_client: AsyncClient
    ) -> None:
        works = [gearman_async_client.bulk_double(n=n) for n in range(100)]
        with ThreadPoolExecutor(8) as pool:
            seen = list(
                pool.map(
                    lambda _: {*gearman_async_client.as_completed(works, timeout=20)}, range(8)
                )
            )
        assert seen == [set(works)] * 8

    def test_jobs_on_several_servers_are_waited_for_together(
        self, gearman_server: Server, second_server: Server
    ) -> None:
        hosts = [gearman_server.host, second_server.host]
        with running(Bulk(hosts)), AsyncClient(hosts) as client:
            works = [client.bulk_double(n=n) for n in range(10)]
            assert {*client.as_completed(works, timeout=20)} == set(works)
            assert client.wait(works, timeout=20) == (set(works), set())


class TestBackground:
    def test_a_background_job_is_done_once_it_is_accepted(
        self, gearman_server: Server, gearman_worker: RunWorker
    ) -> None:
        hosts = [gearman_server.host]
        done: list[int] = []

        class Worker(BaseWorker):
            name = "later"

            def task_note(self, n: int) -> None:
                done.append(n)

        with SimpleClient(hosts, timeout=20) as simple, AsyncClient(hosts) as several:
            work = simple.using(background=True).later_note(n=1)
            assert work.is_done()
            assert work.handle.startswith(b"H:")
            works = [several.using(background=True).later_note(n=n) for n in (2, 3)]
            assert [work.get_result(timeout=20) for work in works] == [None, None]
            assert (
                list(
                    simple.using(background=True).map(
                        "later_note", ({"n": n} for n in range(4, 50))
                    )
                )
                == [None] * 46
            )
        # Nobody is connected any more: the jobs are kept, and none replaced another.
        (row,) = JobServer(hosts[0]).status()
        assert (row.total, row.running) == (49, 0)
        gearman_worker(Worker)
        until(lambda: len(done) == 49, "the jobs being done")
        assert sorted(done) == [*range(1, 50)]

    @pytest.mark.usefixtures("workers")
    def test_clients_with_other_options_share_the_connections(
        self, gearman_client: SimpleClient
    ) -> None:
        other = gearman_client.using(timeout=5)
        assert other.bulk_double(n=1) == gearman_client.bulk_double(n=1) == 2
        assert other._connections is gearman_client._connections

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"timeuot": 5}, "There is no option timeuot. There are timeout, background"),
            ({"timeout": -1}, "timeout must be a number of seconds"),
            ({"background": "yes"}, "background must be True or False"),
        ],
    )
    def test_options_that_cannot_be_are_refused(
        self, gearman_client: SimpleClient, options: Any, message: str
    ) -> None:
        with pytest.raises(InvalidOption, match=message):
            gearman_client.using(**options)


class TestPrefetch:
    def test_a_worker_holds_as_many_jobs_as_it_may(
        self,
        gearman_server: Server,
        gearman_async_client: AsyncClient,
        gearman_worker: RunWorker,
        gate: threading.Event,
    ) -> None:
        def held() -> list[tuple[int, int]]:
            rows = JobServer(gearman_server.host).status()
            return [(row.total, row.running) for row in rows if row.total]

        works = [gearman_async_client.bulk_held(n=n) for n in range(6)]
        assert gearman_async_client.wait(works, timeout=0.1) == (set(), set(works))
        gearman_worker(Bulk, prefetch=4)
        until(lambda: held() == [(6, 4)], "four jobs held")
        gate.set()
        assert [work.get_result(timeout=20) for work in works] == [*range(6)]

    def test_a_worker_that_stops_gives_back_what_it_did_not_begin(
        self,
        gearman_server: Server,
        gearman_async_client: AsyncClient,
        gearman_worker: RunWorker,
        gate: threading.Event,
    ) -> None:
        works = [gearman_async_client.bulk_held(n=n) for n in range(4)]
        assert gearman_async_client.wait(works, timeout=0.1) == (set(), set(works))
        with running(Bulk([gearman_server.host], prefetch=4)) as worker:
            until(lambda: any(r.running == 4 for r in JobServer(gearman_server.host).status()))
            assert Bulk.begun.wait(PATIENCE)
            worker.stop()
            gate.set()
            finished = next(gearman_async_client.as_completed(works, timeout=20))
        gearman_worker(Bulk)
        assert sorted(w.get_result(timeout=20) for w in works) == [0, 1, 2, 3]
        assert finished is works[0]

    def test_a_finished_answer_does_not_wait_for_the_next_job(
        self,
        gearman_async_client: AsyncClient,
        gearman_worker: RunWorker,
        gate: threading.Event,
    ) -> None:
        gearman_worker(Bulk, prefetch=16)
        # gearmand 1.1.20 serves the function first that comes last in the alphabet.
        first, held = gearman_async_client.bulk_reciprocal(n=1), gearman_async_client.bulk_held(n=2)
        assert first.get_result(timeout=20) == 1
        assert not held.is_done()
        gate.set()
        assert held.get_result(timeout=20) == 2

    @pytest.mark.parametrize("prefetch", [0, -1, 1.5, "16"])
    def test_prefetch_is_a_number_of_jobs(self, prefetch: Any) -> None:
        with pytest.raises(InvalidOption, match="prefetch must be a whole number, 1 or more, not"):
            Bulk(prefetch=prefetch)
