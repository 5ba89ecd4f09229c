"""Many calls at once: slow inputs of map, as_completed, wait, and workers that prefetch."""

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
    InvalidOption,
)
from gearmanny.testing import running
from tests.support.servers import RunWorker, Server, until
from tests.support.workers import Called, Gate


@pytest.mark.usefixtures("workers")
def test_a_slow_source_of_inputs_does_not_keep_answers_back(gearman_client: SimpleClient) -> None:
    answered = threading.Event()

    def inputs() -> Iterator[dict[str, int]]:
        yield {"value": 1}
        threading.Event().wait(0.02)  # longer than inputs are collected for
        yield {"value": 2}
        until(lambda: answered.is_set() or bool(asked), "an answer, or another question")
        for n in itertools.count(3):
            asked.append(n)
            if answered.is_set() or n > 2000:
                return
            threading.Event().wait(0.02)
            yield {"value": n}

    asked: list[int] = [0]
    for _ in gearman_client.map("called_echo", inputs(), window=1_000_000):
        answered.set()
    assert asked[-1] < 1000


@pytest.mark.usefixtures("workers")
class TestWaiting:
    def test_work_objects_come_as_their_jobs_end(
        self, gearman_async_client: AsyncClient, gate: Gate
    ) -> None:
        held = gearman_async_client.called_held(value=0)
        quick = [gearman_async_client.called_echo(value=n) for n in range(5)]
        completed = gearman_async_client.as_completed([held, *quick], timeout=20)
        assert {next(completed) for _ in range(5)} == set(quick)
        gate.opened.set()
        assert list(completed) == [held]

    def test_what_does_not_end_in_time_is_told(self, gearman_async_client: AsyncClient) -> None:
        nobody = gearman_async_client.call("nobody")
        done = gearman_async_client.called_echo(value=1)
        with pytest.raises(TimeoutError, match=r"1 job did not end within 0\.2 s"):
            list(gearman_async_client.as_completed([nobody, done], timeout=0.2))
        assert gearman_async_client.wait([nobody, done], timeout=0.1) == ({done}, {nobody})

    def test_several_threads_may_wait_for_the_same_jobs(
        self, gearman_async_client: AsyncClient
    ) -> None:
        works = [gearman_async_client.called_echo(value=n) for n in range(100)]
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
        with running(Called(hosts)), AsyncClient(hosts) as client:
            works = [client.called_echo(value=n) for n in range(10)]
            assert {*client.as_completed(works, timeout=20)} == set(works)
            assert client.wait(works, timeout=20) == (set(works), set())


class TestPrefetch:
    def test_a_worker_holds_as_many_jobs_as_it_may(
        self,
        gearman_server: Server,
        gearman_async_client: AsyncClient,
        gearman_worker: RunWorker,
        closed_gate: Gate,
    ) -> None:
        def held() -> list[tuple[int, int]]:
            rows = JobServer(gearman_server.host).status()
            return [(row.total, row.running) for row in rows if row.total]

        works = [gearman_async_client.called_held(value=n) for n in range(6)]
        assert gearman_async_client.wait(works, timeout=0.1) == (set(), set(works))
        gearman_worker(Called, prefetch=4)
        until(lambda: held() == [(6, 4)], "four jobs held")
        closed_gate.opened.set()
        assert [work.get_result(timeout=20) for work in works] == [*range(6)]

    def test_a_worker_that_stops_gives_back_what_it_did_not_begin(
        self,
        gearman_server: Server,
        gearman_async_client: AsyncClient,
        gearman_worker: RunWorker,
        closed_gate: Gate,
    ) -> None:
        works = [gearman_async_client.called_held(value=n) for n in range(4)]
        assert gearman_async_client.wait(works, timeout=0.1) == (set(), set(works))
        with running(Called([gearman_server.host], prefetch=4)) as worker:
            until(lambda: any(r.running == 4 for r in JobServer(gearman_server.host).status()))
            closed_gate.wait_for_entry()
            worker.stop()
            closed_gate.opened.set()
            finished = next(gearman_async_client.as_completed(works, timeout=20))
        gearman_worker(Called)
        assert sorted(w.get_result(timeout=20) for w in works) == [0, 1, 2, 3]
        assert finished is works[0]

    def test_a_finished_answer_does_not_wait_for_the_next_job(
        self,
        gearman_async_client: AsyncClient,
        gearman_worker: RunWorker,
        closed_gate: Gate,
    ) -> None:
        gearman_worker(Called, prefetch=16)
        # gearmand 1.1.20 serves the function first that comes last in the alphabet.
        first = gearman_async_client.called_note(value=1)
        held = gearman_async_client.called_held(value=2)
        assert first.get_result(timeout=20) == 1
        assert not held.is_done()
        closed_gate.opened.set()
        assert held.get_result(timeout=20) == 2

    @pytest.mark.parametrize("prefetch", [0, -1, 1.5, "16", 10**24])
    def test_prefetch_is_a_number_of_jobs(self, prefetch: Any) -> None:
        with pytest.raises(InvalidOption, match="prefetch must be a whole number from 1 to 100000"):
            Called(prefetch=prefetch)
