"""The three kinds of clients, made alike for tests of what they promise together."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

from gearmanny.aio import AioClient, AioWorkResult
from gearmanny.aio.records import AioRecord
from gearmanny.client import AsyncClient, SimpleClient, WorkResult
from tests.support.servers import PATIENCE

Client = SimpleClient
"""As which tests see each of them."""

T = TypeVar("T")


class WaitingAsyncClient(AsyncClient):
    """An AsyncClient whose calls are waited for, unless they are background jobs."""

    def call(self, function: str, /, **kwargs: Any) -> Any:
        work = super().call(function, **kwargs)
        if work.id is not None:  # it is recorded
            return work
        timeout = self._options.timeout
        answer = work.get_result(PATIENCE if timeout is None else timeout)
        return work if self._options.background else answer


class InLoop:
    """An AioClient, or what it gave out, in an event loop that runs while it is waited for."""

    def __init__(self, runner: asyncio.Runner, target: Any) -> None:
        self._runner = runner
        self._target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            self._runner.run(_take_in())
            return getattr(self._target, name)
        return lambda *args, **kwargs: self._waited_for(lambda: found(*args, **kwargs))

    def _waited_for(self, call: Callable[[], Any]) -> Any:
        self._runner.run(_take_in())
        result = self._runner.run(_called(call), context=contextvars.copy_context())
        if isinstance(result, AsyncIterator):
            return self._iterate(result)
        if inspect.iscoroutine(result):
            result = self._runner.run(result, context=contextvars.copy_context())
        of_the_loop = isinstance(result, (AioClient, AioRecord, AioWorkResult))
        return InLoop(self._runner, result) if of_the_loop else result

    def _iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> tuple[T] | None:
            async for item in items:
                return (item,)
            return None

        while (item := self._runner.run(following())) is not None:
            yield item[0]


async def _called(call: Callable[[], Any]) -> Any:
    return call()


async def _take_in() -> None:
    """Lets the event loop take in what has arrived."""
    for _ in range(3):
        await asyncio.sleep(0)


class MakeClient:
    """Makes clients of one kind."""

    def __init__(self, kind: type[SimpleClient | AsyncClient | AioClient]) -> None:
        self.kind = kind
        self._runner = asyncio.Runner()
        self._made: list[Any] = []

    def __call__(self, *hosts: str, **options: Any) -> Client:
        return self.of(self.kind(list(hosts), **options))

    def of(self, client: Any) -> Client:
        """Takes a client of this kind that was made otherwise."""
        if isinstance(client, AioClient):
            client = InLoop(self._runner, client)
        self._made.append(client)
        made: Client = client
        return made

    def close(self) -> None:
        for client in self._made:
            client.close()
        self._runner.close()


KINDS: dict[str, type[SimpleClient | AsyncClient | AioClient]] = {
    "SimpleClient": SimpleClient,
    "AsyncClient": WaitingAsyncClient,
    "AioClient": AioClient,
}

__all__ = ["KINDS", "Client", "MakeClient", "WorkResult"]
