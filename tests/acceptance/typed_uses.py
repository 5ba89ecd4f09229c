# mypy: disable-error-code=empty-body
"""Uses of typed calls, for type checkers: every line that is marked is wrong, and no other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_type

from gearmanny.aio import AioClient
from gearmanny.client import AsyncClient, RawClient, SimpleClient
from gearmanny.contrib.django import aio_client, async_client, client
from gearmanny.interface import Interface
from gearmanny.results import WorkResult
from gearmanny.worker import BaseWorker, task


class Worker(BaseWorker):
    name = "worker"

    @task
    def add(self, a: int, b: int = 0) -> int:
        return a + b

    @task(timeout=5, retries=2)
    def join(self, *, words: list[str]) -> str:
        return " ".join(words)

    @task
    def count(self, to: int) -> Iterable[int]:
        yield from range(to)

    @task
    async def fetch(self, url: str) -> bytes:
        return url.encode()

    def task_echo(self, text: str) -> str:
        return text


class Derived(Worker):
    name = "derived"


class Elsewhere(Interface):
    """An interface without bodies."""

    name = "worker"

    @task
    def add(self, a: int, b: int = ...) -> int: ...

    def task_echo(self, text: str) -> str: ...


worker = Worker.using(SimpleClient(timeout=5).using(timeout=1))
assert_type(worker.add(a=1, b=2), int)
assert_type(worker.add(1), int)
assert_type(worker.join(words=["a"]), str)
assert_type(worker.count(to=3), Iterable[int])
assert_type(worker.task_echo(text="a"), str)
assert_type(Derived.using(client), Derived)
assert_type(Derived.using(client).add(a=1), int)

hasty = SimpleClient().using(timeout=5, priority="high", unique="key", on_update=print)
assert_type(hasty, SimpleClient)
assert_type(AsyncClient().using(background=True, delay=5.0), AsyncClient)
assert_type(RawClient().using(idempotent=True, timeout=None), RawClient)
assert_type(AioClient().using(trace=True), AioClient)
assert_type(client.using(timeout=1), SimpleClient)
assert_type(aio_client.using(timeout=1), AioClient)

SimpleClient().using(timeuot=5)  # wrong
AsyncClient().using(background="yes")  # wrong
RawClient().using(priority="hihg")  # wrong
AioClient().using(at="tomorrow")  # wrong
client.using(retries=5)  # wrong
async_client.using(timeout="5")  # wrong
aio_client.using(delay="5")  # wrong

worker.ad(a=1, b=2)  # wrong
worker.add(b=2)  # wrong
worker.add(a=1, c=2)  # wrong
worker.add(a="1")  # wrong
worker.join(["a"])  # wrong
worker.echo(text="a")  # wrong
text: str = worker.add(a=1)  # wrong

assert_type(Elsewhere.using(client).add(a=1, b=2), int)
Elsewhere.using(client).task_echo(text=1)  # wrong
Elsewhere.using(client).start()  # wrong

submit = Derived.using(async_client)
assert_type(submit(Derived.add, a=1, b=2), WorkResult)
assert_type(submit(Worker.join, words=["a"]), WorkResult)
assert_type(Derived.using(AsyncClient().using(background=True)).add(a=1), WorkResult)

submit(Derived.add, a="1")  # wrong
submit(Derived.add, b=1)  # wrong
submit(Elsewhere.add, a=1)  # wrong
submit.add(a=1).get_resul()  # wrong
Worker.using("localhost")  # wrong


async def awaited() -> None:
    calls = Worker.using(AioClient())
    assert_type(await calls(Worker.add, a=1, b=2), int)
    assert_type(await calls(Worker.fetch, url="a"), bytes)
    assert_type(await calls(Worker.task_echo, text="a"), str)
    assert_type(await Derived.using(aio_client)(Derived.add, 1), int)
    await calls.add(a=1)

    await calls(Worker.add, a="1")  # wrong
    await calls(Worker.fetch)  # wrong
    await calls(Elsewhere.add, a=1)  # wrong
    Worker.using(AioClient()).add(a=1).get_result()  # wrong


@task(timeout="5")  # wrong
def task_late(self: object) -> None: ...
