"""Clients shared by threads and by processes, and their work objects."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gearmanny.client import AsyncClient, SimpleClient, WorkResult
from gearmanny.errors import (
    JobServerLost,
)
from tests.support.servers import PATIENCE, Server
from tests.support.workers import Gate


def test_another_job_is_answered_while_one_is_waited_for(
    gearman_async_client: AsyncClient, gate: Gate
) -> None:
    held = gearman_async_client.called_pass()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(held.get_result, 20)
        assert gearman_async_client.called_echo(value=5).get_result(timeout=20) == 5
        gate.opened.set()
        assert waiting.result(PATIENCE) == 1


def test_a_closed_client_ends_its_jobs_and_can_be_used_again(
    gearman_async_client: AsyncClient, gate: Gate
) -> None:
    with ThreadPoolExecutor(1) as pool:
        held = gearman_async_client.called_pass()
        waiting = pool.submit(held.get_result, 20)
        gearman_async_client.close()
        with pytest.raises(JobServerLost, match="closed by this client"):
            waiting.result(PATIENCE)
    assert gearman_async_client.called_echo(value=1).get_result(timeout=20) == 1


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("kind", [SimpleClient, AsyncClient])
def test_one_client_serves_many_threads(gearman_server: Server, kind: Any) -> None:
    def calls(thread: int) -> bool:
        for number in range(500):
            value = [thread, number]
            answer = client.called_echo(value=value)
            if isinstance(answer, WorkResult):
                answer = answer.get_result(timeout=20)
            if answer != value:
                return False
        return True

    with kind([gearman_server.host], timeout=20) as client, ThreadPoolExecutor(16) as pool:
        assert all(pool.map(calls, range(16)))


@pytest.mark.usefixtures("workers")
def test_work_objects_may_be_waited_for_by_other_threads(gearman_async_client: AsyncClient) -> None:
    works = [gearman_async_client.called_echo(value=number) for number in range(64)]
    with ThreadPoolExecutor(16) as pool:
        twice = list(pool.map(lambda work: work.get_result(timeout=20), works * 2))
    assert twice == [*range(64)] * 2


def call_often(client: SimpleClient, name: str, answers: Any) -> None:
    """Runs in a child."""
    answers.put((name, [client.called_echo(value=[name, n])[1] for n in range(50)]))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_client_serves_children_of_multiprocessing(
    gearman_client: SimpleClient, method: str
) -> None:
    assert gearman_client.called_echo(value="a connection") == "a connection"
    context = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    children = [
        context.Process(target=call_often, args=(gearman_client, name, answers)) for name in "ab"
    ]
    for child in children:
        child.start()
    try:
        assert [gearman_client.called_echo(value=n) for n in range(50)] == [*range(50)]
        assert dict(answers.get() for _ in children) == {"a": [*range(50)], "b": [*range(50)]}
    finally:
        for child in children:
            child.join(PATIENCE)
            assert child.exitcode == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_client_made_before_a_fork_works_in_both_processes(
    gearman_async_client: AsyncClient, gate: Gate
) -> None:
    with gearman_async_client as client:
        held = client.called_held(value="parent")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                own = client.called_echo(value="child").get_result(timeout=20)
                try:
                    held.get_result(timeout=20)
                except JobServerLost as error:
                    own += f" {error.reason}"
                os.write(writer, own.encode())
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader) as answers:
            assert answers.read() == "child it belongs to the process before the fork"
        os.waitpid(child, 0)
        gate.opened.set()
        assert held.get_result(timeout=20) == "parent"
