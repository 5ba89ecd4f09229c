"""What a task may be besides a method: decorated, assigned in `setUp`, plain around a coroutine."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from gearmanny.client import AsyncClient, Data, RawClient, SimpleClient
from gearmanny.contrib.django import client as client_of_django
from gearmanny.contrib.django.testing import eager as django_eager
from gearmanny.errors import TaskError, TaskTimeLimitExceeded
from gearmanny.testing import eager
from gearmanny.worker import BaseWorker, JsonWorker, RawWorker, task
from tests.support.servers import PATIENCE, RunWorker


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def without_await(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that forgets to await."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def with_database(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(self: object, **kwargs: Any) -> Any:
        return function(self, "database", **kwargs)

    return wrapper


def with_database_async(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(self: object, **kwargs: Any) -> Any:
        return await function(self, "database", **kwargs)

    return wrapper


class Soon:
    """Something to be awaited that is no coroutine."""

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return "soon"


class Kinds(BaseWorker):
    name = "kinds"

    def setUp(self) -> None:
        self.task_late = lambda a, b=1: a + b
        self.task_replaced = lambda: "new"
        self.register_task("kinds_registered", registered)

    def task_replaced(self) -> str:
        return "old"

    @plain
    async def task_wrapped(self, a: int) -> int:
        await asyncio.sleep(0)
        return a

    @plain
    async def task_yields(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @without_await
    @without_await
    async def task_wrapped_later(self, a: int) -> int:
        return a

    @without_await
    async def task_yields_later(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @without_await
    def task_counts_later(self, n: int) -> Iterator[int]:
        yield from range(n)

    def task_any(self, **others: int) -> dict[str, int]:
        return others

    def task_soon(self) -> Awaitable[str]:
        return Soon()

    def task_fails(self) -> Awaitable[None]:
        return self._fail()

    async def _fail(self) -> None:
        raise LookupError("not found")

    @task(timeout=0.05)
    @plain
    async def endless(self) -> None:
        await asyncio.Event().wait()

    @with_database
    def task_insert(self, database: str, row: str) -> str:
        return f"{row} in {database}"

    @with_database
    def task_confused(self, database: str, row: str = "") -> None:
        self.task_insert("missing 'row'", "x")

    @with_database_async
    async def task_insert_async(self, database: str, row: str) -> str:
        return f"{row} in {database}"


async def registered(gearman_worker: object, job: Any) -> Any:
    await asyncio.sleep(0)
    return job.data


@pytest.fixture(params=["live", "eager"])
def client(request: pytest.FixtureRequest) -> Any:
    """Calls the worker on a real server, and in eager mode."""
    if request.param == "live":
        request.getfixturevalue("gearman_worker")(Kinds)
        yield request.getfixturevalue("gearman_client")
    else:
        with eager([Kinds]):
            yield SimpleClient()


def test_functions_that_setup_assigns_are_tasks(client: SimpleClient) -> None:
    assert client.kinds_late(a=2) == 3
    assert client.kinds_replaced() == "new"
    table = client.kinds_help()
    assert list(table["kinds_late"]["input"]) == ["a", "b"]
    assert "kinds_replaced" in table
    with pytest.raises(TaskError, match="missing required argument: 'a'"):
        client.kinds_late()


def test_what_a_plain_task_returns_to_be_awaited_is_awaited(client: SimpleClient) -> None:
    assert client.kinds_wrapped(a=4) == 4
    assert client.kinds_yields(n=3) == [0, 1, 2]
    assert list(client.stream("kinds_yields", n=3)) == [0, 1, 2]
    assert client.kinds_soon() == "soon"
    assert client.kinds_registered(a=1) == {"a": 1}


def test_so_is_what_a_coroutine_returns(client: SimpleClient) -> None:
    assert client.kinds_wrapped_later(a=1) == 1
    assert client.kinds_yields_later(n=3) == [0, 1, 2]
    assert client.kinds_counts_later(n=3) == [0, 1, 2]


def test_no_argument_takes_the_place_of_the_worker(client: SimpleClient) -> None:
    assert client.kinds_any(other=1) == {"other": 1}
    with pytest.raises(TaskError, match=r"InvalidArguments: .* got unexpected argument: 'self'"):
        client.kinds_any(self=1)


def test_what_an_awaited_result_raises_is_the_failure_of_its_job(client: SimpleClient) -> None:
    with pytest.raises(TaskError, match="LookupError: not found"):
        client.kinds_fails()


def test_a_time_limit_interrupts_what_a_plain_task_returned(client: SimpleClient) -> None:
    with pytest.raises(TaskError) as caught:
        client.kinds_endless()
    assert TaskTimeLimitExceeded.__name__ in str(caught.value)
    assert client.kinds_wrapped(a=1) == 1


@pytest.mark.parametrize("function", ["kinds_insert", "kinds_insert_async"])
def test_an_argument_that_no_decorator_adds_is_missing(client: SimpleClient, function: str) -> None:
    assert client.call(function, row="r") == "r in database"
    with pytest.raises(TaskError, match="missing required argument: 'row'") as caught:
        client.call(function)
    assert caught.value.type == "gearmanny.errors.InvalidArguments"


def test_a_type_error_of_the_task_itself_is_its_own(client: SimpleClient) -> None:
    with pytest.raises(TaskError) as caught:
        client.kinds_confused()
    assert caught.value.type == "builtins.TypeError"


def test_what_is_awaited_uses_the_database_in_the_thread_of_a_django_test() -> None:
    class Threads(BaseWorker):
        name = "threads"

        @plain
        async def task_orm(self) -> int:
            return await sync_to_async(threading.get_ident)()

    with django_eager([Threads]):
        assert client_of_django.threads_orm() == threading.get_ident()


class Made(BaseWorker):
    name = "made"

    def __init__(self, *args: Any, **options: Any) -> None:
        self.task_early = lambda: "early"
        super().__init__(*args, **options)
        self.task_later = lambda a: a
        self.task_replaced = lambda: "new"

    def task_replaced(self) -> str:
        return "old"


def test_functions_that_init_assigns_are_tasks(
    gearman_worker: RunWorker, gearman_client: SimpleClient
) -> None:
    def check(client: SimpleClient) -> None:
        assert client.made_early() == "early"
        assert client.made_later(a=3) == 3
        assert client.made_replaced() == "new"
        assert {"made_early", "made_later", "made_replaced"} <= set(client.made_help())

    gearman_worker(Made)
    check(gearman_client)
    with eager([Made]), SimpleClient() as client:
        check(client)


def test_so_are_those_of_workers_that_share_a_loop(
    gearman_worker: RunWorker, gearman_client: SimpleClient
) -> None:
    shared = JsonWorker()
    Made(gearman_worker=shared)
    gearman_worker(Kinds, gearman_worker=shared)
    assert gearman_client.made_later(a=3) == 3


def test_the_help_of_a_raw_worker_has_the_tasks_of_its_setup(gearman_worker: RunWorker) -> None:
    class Raw(BaseWorker):
        name = "raw"
        work_class = RawWorker

        def setUp(self) -> None:
            self.task_upper = lambda payload: payload.upper()

    host = str(gearman_worker(Raw).hosts[0])
    with RawClient([host], timeout=PATIENCE) as client:
        assert client.raw_upper(b"a") == b"A"
        assert b"raw_upper" in client.raw_help()


def test_parts_of_an_asynchronous_generator_arrive_as_they_come(
    gearman_worker: RunWorker, gearman_async_client: AsyncClient
) -> None:
    gearman_worker(Kinds)
    work = gearman_async_client.kinds_yields(n=2)
    assert list(work.updates(PATIENCE)) == [Data(0), Data(1)]
