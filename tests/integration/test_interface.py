"""Typed calls over a real gearmand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from gearmanny.admin import JobServer
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import InvalidArguments, TaskError, TaskTimeout
from gearmanny.interface import Interface
from gearmanny.tasks.agreement import check_interface
from gearmanny.worker import BaseWorker, task
from tests.support.servers import RunWorker, Server


class Calculator(BaseWorker):
    name = "typed"

    @task
    def add(self, a: int, b: int = 100) -> int:
        """Adds A and B together"""
        return a + b

    @task(retries=1, backoff=0)
    def twice(self) -> int:
        assert self.job is not None
        if self.job.attempt == 1:
            raise OSError("the first attempt")
        return self.job.attempt

    @task
    def count(self, to: int) -> Iterable[int]:
        yield from range(to)

    @task
    @staticmethod
    def static(value: Any) -> Any:
        return value

    def task_echo(self, text: str) -> str:
        return text


class Elsewhere(Interface):
    """The same worker, as another code base describes it."""

    name = "typed"

    @task
    def add(self, a: int, b: int = ...) -> int: ...  # type: ignore

    @task
    def count(self, to: int) -> list[int]: ...  # type: ignore[empty-body]

    def task_echo(self, text: str) -> str: ...  # type: ignore[empty-body]


@pytest.fixture
def worker(gearman_worker: RunWorker) -> None:
    gearman_worker(Calculator)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("interface", [Calculator, Elsewhere])
def test_a_worker_is_called_through_its_class_or_an_interface(
    gearman_client: SimpleClient, interface: Any
) -> None:
    worker = interface.using(gearman_client)
    assert worker.add(a=1, b=2) == worker.add(1, 2) == worker.add(1, b=2) == 3
    assert worker.task_echo(text="hi") == worker.echo("hi") == "hi"
    assert worker.count(to=3) == [0, 1, 2]


@pytest.mark.usefixtures("worker")
def test_a_default_is_that_of_the_worker(gearman_client: SimpleClient) -> None:
    class Older(Interface):
        name = "typed"

        @task
        def add(self, a: int, b: int = 5) -> int: ...  # type: ignore[empty-body]

    assert Older.using(gearman_client).add(1) == 101


@pytest.mark.usefixtures("worker")
def test_options_of_a_decorated_task_and_of_a_client_hold(gearman_client: SimpleClient) -> None:
    assert Calculator.using(gearman_client).twice() == 2
    assert Calculator.using(gearman_client).static("a") == "a"
    with pytest.raises(TaskError, match="TypeError"):
        Calculator.using(gearman_client).add(a="1")  # type: ignore[arg-type]

    class Nobody(Interface):
        name = "typednobody"

        @task
        def add(self, a: int) -> int: ...  # type: ignore[empty-body]

    with pytest.raises(TaskTimeout, match=r"typednobody_add\(\) within 0\.1 s"):
        Nobody.using(gearman_client.using(timeout=0.1)).add(1)


@pytest.mark.usefixtures("worker")
def test_an_async_client_submits_tasks(gearman_async_client: AsyncClient) -> None:
    submit = Calculator.using(gearman_async_client)
    works = [submit(Calculator.add, 1, b=2), submit.add(a=1), submit.echo(text="hi")]
    assert [work.get_result(timeout=20) for work in works] == [3, 101, "hi"]


def test_background_jobs_are_submitted(gearman_async_client: AsyncClient) -> None:
    work = Calculator.using(gearman_async_client.using(background=True))(Calculator.add, 1)
    assert work.get_result(timeout=20) is None


def test_wrong_arguments_reach_no_job_server(
    gearman_server: Server, gearman_client: SimpleClient
) -> None:
    with pytest.raises(InvalidArguments):
        Calculator.using(gearman_client).add(c=1)  # type: ignore[call-arg]
    assert JobServer(gearman_server.host).status() == []


@pytest.mark.usefixtures("worker")
def test_an_interface_is_held_against_the_live_worker(gearman_client: SimpleClient) -> None:
    class Wrong(Interface):
        name = "typed"

        @task
        def add(self, a: str) -> int: ...  # type: ignore[empty-body]

        @task
        def divide(self, a: int) -> int: ...  # type: ignore[empty-body]

    check_interface(Calculator, gearman_client, strict=True)
    check_interface(Elsewhere, gearman_client)
    with pytest.raises(AssertionError) as caught:
        check_interface(Wrong, gearman_client)
    assert str(caught.value) == (
        "Wrong differs from the worker 'typed':\n"
        "- typed_add(): 'a' is int in the worker, but str in the interface.\n"
        "- typed_divide() is not offered by the worker."
    )
    with pytest.raises(AssertionError, match=r"typed_twice\(\) is missing from the interface"):
        check_interface(Elsewhere, gearman_client, strict=True)


def test_a_worker_that_describes_nothing_differs(
    gearman_client: SimpleClient, gearman_worker: RunWorker
) -> None:
    class Silent(BaseWorker):
        name = "typedother"

        def setUp(self) -> None:
            self.register_task("typedsilent_help", lambda *_: "Ask somebody else")

    class Ours(Interface):
        name = "typedsilent"

    gearman_worker(Silent)
    with pytest.raises(AssertionError, match="did not return a table"):
        check_interface(Ours, gearman_client)
