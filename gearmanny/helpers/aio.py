"""Event loops carry out the steps of a call, over pymongo's asynchronous API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pymongo
import pymongo.errors

from gearmanny.helpers.blocking import UNREADABLE, Abandoned
from gearmanny.helpers.flights import Flight
from gearmanny.helpers.steps import Ask, Compute, Join, Keep, Nothing, Pause, Step, Steps
from gearmanny.helpers.storage import CODEC, DEFAULT_TIMEOUT, Storage, Unavailable

Operation = Callable[[Any], Any]


class AioStorage:
    """The collection of a `Storage`, in event loops. That one connects first, and probes."""

    def __init__(self, storage: Storage, host: str | None) -> None:
        """
        Args:
            storage: the collection in threads.
            host: URI of the server; None where there is only a client for threads.
        """
        self._storage = storage
        self._host = host
        self._collections: dict[asyncio.AbstractEventLoop, Any] = {}

    async def ask(self, operation: Operation, *, writes: bool = False) -> Any:
        """Returns what an operation on the collection returns, and raises, as `Storage.ask`."""
        storage = self._storage
        storage.check_asked(writes=writes)
        ready = storage.ready_for(writes=writes)
        if not ready.is_set():
            await self._wait_for(ready)
        if self._host is None:
            return await asyncio.to_thread(storage.ask, operation, writes=writes)
        collection = await self._collection(self._host)
        try:
            with pymongo.timeout(storage.limit):
                found = operation(collection)
                result = await found
        except pymongo.errors.PyMongoError as error:
            raise storage.judge(error, writes=writes) from None
        storage.note_success(writes=writes)
        return result

    def ask_aside(self, operation: Operation) -> None:
        """As that of `Storage`: a thread does it."""
        self._storage.ask_aside(operation)

    async def _wait_for(self, ready: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._storage.start()
        while not ready.is_set():
            if loop.time() >= until:
                raise self._storage.not_ready()
            await asyncio.sleep(0.005)

    async def _collection(self, host: str) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._collections:
            self._collections = {
                each: made for each, made in self._collections.items() if not each.is_closed()
            }
            client: Any = pymongo.AsyncMongoClient(
                host, tz_aware=True, appname="gearmanny", connect=False
            )
            closing = _closed_with_the_loop(client)
            database = client.get_database(self._storage.dbname, codec_options=CODEC)
            self._collections[loop] = database.get_collection(self._storage.name), closing
            await anext(closing)
        return self._collections[loop][0]


async def _closed_with_the_loop(client: Any) -> AsyncGenerator[None, None]:
    """A loop that ends closes its asynchronous generators."""
    try:
        yield
    finally:
        with pymongo.timeout(DEFAULT_TIMEOUT), contextlib.suppress(pymongo.errors.PyMongoError):
            await client.close()


class Loop:
    """Carries out steps in an event loop."""

    def __init__(
        self,
        storage: Callable[[], AioStorage],
        compute: Callable[[], Awaitable[str]],
        refresh: Callable[[], None],
    ) -> None:
        """Args: as `blocking.Threads`, where what computes is awaited."""
        self._storage = storage
        self._compute = compute
        self._refresh = refresh

    async def run(self, steps: Steps) -> Any:
        """Returns what the steps return."""
        with contextlib.closing(steps):
            try:
                step = next(steps)
                while True:
                    try:
                        brought = await self.take(step)
                    except BaseException as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(brought)
            except StopIteration as end:
                return end.value

    async def take(self, step: Step) -> Any:
        """Takes one step, and returns what it brought."""
        match step:
            case Ask(operation, writes):
                return await self._ask(operation, writes)
            case Compute():
                return await self._compute()
            case Keep(operation):
                return await self._keep(operation)
            case Join(flight, patience):
                return await self._join(flight, patience)
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case _:
                self._refresh()
        return None

    async def _join(self, flight: Flight, patience: float) -> Any:
        landed = asyncio.wrap_future(flight.landed)
        while not landed.done():
            if flight.rests_with(asyncio.current_task(), threading.get_ident()):
                return Nothing.HELD_UP
            if flight.rested(time.monotonic()) > patience:
                return Nothing.STALLED
            await asyncio.wait([landed], timeout=patience / 4)
        return landed.result()

    async def _ask(self, operation: Operation, writes: bool) -> Any:
        try:
            return await self._storage().ask(operation, writes=writes)
        except Unavailable:
            return Nothing.AWAY
        except pymongo.errors.DuplicateKeyError:
            return await self._ask(operation, writes)
        except UNREADABLE:
            return Nothing.USELESS

    async def _keep(self, operation: Operation) -> Nothing | None:
        storage = self._storage()
        try:
            await storage.ask(operation, writes=True)
        except Unavailable:
            storage.ask_aside(operation)
        except pymongo.errors.DuplicateKeyError:
            pass
        except UNREADABLE:
            return Nothing.USELESS
        return None


class AioStream(Loop):
    """The same, where an answer is computed item by item."""

    def __init__(
        self,
        storage: Callable[[], AioStorage],
        items: Callable[[], AsyncGenerator[str, None]],
        refresh: Callable[[], None],
        whole: Callable[[list[str]], str],
        *,
        at_the_end: bool,
    ) -> None:
        """Args: as `blocking.Stream`, where the items come asynchronously."""
        super().__init__(storage, self._compute_all, refresh)
        self._items = items
        self._whole = whole
        self._at_the_end = at_the_end

    async def _compute_all(self) -> str:
        return self._whole([text async for text in self._items()])

    async def iterate(self, steps: Steps) -> AsyncGenerator[Any, None]:
        """Yields the items of the answer that the steps return."""
        given_out = False
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Compute) and not self._at_the_end:
                        texts = []
                        async with contextlib.aclosing(self._items()) as items:
                            async for text in items:
                                texts.append(text)
                                given_out = step.begun = True
                                with step.flight.paused(asyncio.current_task()):
                                    yield json.loads(text)
                        brought: Any = self._whole(texts)
                    else:
                        brought = await self.take(step)
                except GeneratorExit:
                    step = steps.throw(Abandoned())
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(brought)
        except StopIteration as end:
            if not given_out:
                for item in end.value:
                    yield item
        except Abandoned:
            return
        finally:
            steps.close()
