"""Calls that are lost, left or forgotten: the same with every client."""

from __future__ import annotations

import gc
import socket
from typing import Any

import pytest

from gearmanny.admin import JobServer
from gearmanny.calling.call import Call
from gearmanny.client import AsyncClient, JobState
from gearmanny.errors import (
    GearmanException,
    JobServerLost,
    JobServerUnavailable,
    ProtocolError,
    TaskError,
    TaskTimeout,
)
from gearmanny.testing import running
from tests.support.clients import Client, MakeClient
from tests.support.servers import PATIENCE, RunWorker, Server, answering, free_port, until
from tests.support.workers import Called, Gate
from tools.proxies import Proxy


def calls_that_exist() -> list[Call[Any]]:
    return [each for each in gc.get_objects() if type(each) is Call]


class TestSendingAgain:
    def test_a_server_that_ends_every_connection_is_not_kept_busy(self, make: MakeClient) -> None:
        with answering(b"") as (host, accepted):
            work = make(host).using(idempotent=True).submit("nobody")
            with pytest.raises(TaskTimeout):
                work.get_result(timeout=1)
            assert 2 <= len(accepted) < 20

    def test_the_time_of_who_waits_does_not_give_the_job_up(
        self, make: MakeClient, gearman_server: Server
    ) -> None:
        client = make(gearman_server.host, connect_timeout=PATIENCE)
        work = client.using(idempotent=True).submit("called_echo", value="once more")
        work.status()  # it has been sent
        gearman_server.stop()
        for timeout in (0, 0.2):
            with pytest.raises(TaskTimeout):
                work.get_result(timeout=timeout)
        for _ in range(100):
            assert not work.is_done()
        gearman_server.start()
        with running(Called([gearman_server.host])):
            assert work.get_result(timeout=PATIENCE) == "once more"

    def test_its_state_is_that_at_the_server_that_has_it(
        self, make: MakeClient, gearman_server: Server
    ) -> None:
        client = make(gearman_server.host, connect_timeout=PATIENCE)
        work = client.using(idempotent=True).submit("called_note", value=1)
        work.status()
        gearman_server.stop()
        gearman_server.start()
        assert work.status(timeout=PATIENCE).state is JobState.QUEUED
        assert work.cancel(timeout=PATIENCE)

    def test_what_is_no_job_server_is_not_asked_again(self, make: MakeClient) -> None:
        with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (host, accepted):
            client = make(host, connect_timeout=PATIENCE, timeout=PATIENCE)
            with pytest.raises(ProtocolError, match="not a Gearman job server"):
                client.call("nobody")
            with pytest.raises(ProtocolError, match="not a Gearman job server"):
                client.using(idempotent=True).submit("nobody").get_result(timeout=PATIENCE)
            assert len(accepted) == 2

    def test_a_closed_client_sends_nothing_again(
        self, make: MakeClient, gearman_server: Server, network: Proxy
    ) -> None:
        client = make(network.host, connect_timeout=PATIENCE)
        work = client.using(idempotent=True).submit("called_note", value=1)
        work.status()
        network.drop()
        gearman_server.stop()
        assert not work.is_done()
        client.close()
        gearman_server.start()
        with pytest.raises(JobServerLost, match="closed by this client"):
            work.get_result(timeout=PATIENCE)


class TestALossWhileSending:
    def test_is_for_the_work_object_to_tell(self, make: MakeClient) -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            client = make("127.0.0.1:%d" % deaf.getsockname()[1], timeout=0.2)
            work = client.submit("nobody", text="x" * 30_000_000)
            client.close()
            assert isinstance(work.exception(timeout=PATIENCE), JobServerLost)


class TestLeavingEarly:
    def test_a_map_forgets_what_is_under_way(self, client: Client, gearman_server: Server) -> None:
        again = client.using(idempotent=True)
        results = again.using(timeout=0.2).map("called_note", [{"value": n} for n in range(9)])
        with pytest.raises(TaskTimeout):
            next(results)
        gearman_server.stop()
        gearman_server.start()
        with running(Called([gearman_server.host])) as worker:
            again.call("called_note", value="last")
        assert worker.seen == ["last"]

    def test_a_call_that_timed_out_keeps_no_updates(self, client: Client, gate: Gate) -> None:
        seen: list[Any] = []
        others = calls_that_exist()
        with pytest.raises(TaskTimeout):
            client.using(timeout=0.3, on_update=seen.append).call("called_held", value=1)
        left = [call for call in calls_that_exist() if call not in others]
        # The work object of an AsyncClient may still be asked for them.
        assert isinstance(client, AsyncClient) or not any(call.keeps_updates for call in left)
        gate.opened.set()
        assert client.call("called_echo", value=1) == 1
        assert len(seen) == 1

    def test_a_stream_that_nobody_reads_is_not_begun(
        self, client: Client, gearman_server: Server
    ) -> None:
        client.stream("called_numbers", count=3)
        client.using(background=True).call("called_note", value=1)
        functions = {row.function for row in JobServer(gearman_server.host).status()}
        assert functions == {"called_note"}

    def test_a_map_of_nothing_connects_to_nothing(self, make: MakeClient) -> None:
        assert list(make(f"127.0.0.1:{free_port()}").map("called_note", [])) == []

    def test_answers_are_freed_without_the_collector(
        self, client: Client, gearman_worker: RunWorker
    ) -> None:
        gearman_worker(Called)
        gc.collect()
        others = calls_that_exist()  # what tests before this one left
        gc.disable()
        try:
            assert client.call("called_echo", value=1) == 1
            work = client.submit("called_echo", value=2)
            assert work.get_result(timeout=PATIENCE) == 2
            assert list(work.updates()) == []
            assert work.exception() is None
            del work
            assert isinstance(client.submit("called_fail").exception(), TaskError)
            assert client.using(on_update=print).call("called_echo", value=3) == 3
            assert client.using(idempotent=True).call("called_echo", value=4) == 4
            inputs = [{"value": 5}, {"value": object()}, {"wrong": 6}]
            for result in client.map("called_echo", inputs, return_exceptions=True):
                assert result == 5 or isinstance(result, GearmanException)
            del result
            assert list(client.stream("called_numbers", count=3)) == [0, 1, 2]
            assert [call for call in calls_that_exist() if call not in others] == []
        finally:
            gc.enable()

    def test_lost_calls_are_freed_without_the_collector(
        self, make: MakeClient, network: Proxy
    ) -> None:
        client = make(network.host)
        gc.collect()
        others = calls_that_exist()
        gc.disable()
        try:
            work = client.submit("nobody", value=1)
            work.status()
            network.drop()
            assert isinstance(work.exception(timeout=PATIENCE), JobServerLost)
            del work
            assert [call for call in calls_that_exist() if call not in others] == []
        finally:
            gc.enable()


class TestCancelling:
    def test_that_failed_is_no_cancellation(self, make: MakeClient, network: Proxy) -> None:
        work = make(network.host, timeout=PATIENCE).submit("called_note", value=1)
        assert work.status().state is JobState.QUEUED
        network.refuse()
        with pytest.raises(JobServerUnavailable):
            work.cancel(timeout=PATIENCE)
        assert work.status().state is JobState.QUEUED

    def test_ends_with_the_time(self, make: MakeClient, network: Proxy) -> None:
        work = make(network.host, timeout=PATIENCE).submit("called_note", value=1)
        assert work.status().state is JobState.QUEUED
        network.swallow()
        for ask in (work.cancel, work.status):
            with pytest.raises(JobServerUnavailable, match="no answer in time about a job"):
                ask(timeout=0.1)


def test_a_timeout_is_explained_where_the_job_server_says_nothing(
    make: MakeClient, network: Proxy
) -> None:
    work = make(network.host).submit("called_note", value=1)
    work.status()
    network.refuse()
    with pytest.raises(TaskTimeout, match="does not answer either"):
        work.get_result(timeout=0.1)
    until(lambda: not work.is_done())
