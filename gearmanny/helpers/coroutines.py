"""Cached functions that are `async def`, and asynchronous generators."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from typing import Any

from gearmanny.helpers import entries, values
from gearmanny.helpers.aio import AioStream, Loop
from gearmanny.helpers.answers import clearing, looking, recomputing, refreshing
from gearmanny.helpers.caches import MongoCache
from gearmanny.helpers.calls import Call
from gearmanny.helpers.functions import CachedFunction, Given, inside, whole

_beside: set[asyncio.Task[Any]] = set()
"""Kept, as a task to which nobody refers may vanish before it ran."""


class CachedCoroutine(CachedFunction):
    """An `async def` function, and how its calls are answered."""

    def wrapper(self) -> Callable[..., Any]:
        @functools.wraps(self.function)
        async def cached(*args: Any, **kwargs: Any) -> Any:
            given = args, kwargs
            cache, call = self.begin(given)
            if call is None:
                return json.loads(await self._acompute(cache, given))
            return await self._loop(cache, call, given).run(self.steps(call, given))

        return cached

    async def refresh(self, *args: Any, **kwargs: Any) -> Any:
        given = args, kwargs
        cache, call = self.begin(given)
        if call is None:
            return json.loads(await self._acompute(cache, given))
        return await self._loop(cache, call, given).run(recomputing(call))

    async def cached(self, *args: Any, **kwargs: Any) -> Any:
        given = self.with_object(args, kwargs)
        cache, call = self.begin(given)
        if call is None:
            return None
        return await self._loop(cache, call, given).run(looking(call))

    async def cache_clear(self, *args: Any, **kwargs: Any) -> int:  # type: ignore[override]
        cache = self.get_cache()
        if not args and not kwargs:
            if not cache.is_on:
                return 0
            cache.flights.leave_all()
            deleted = await cache.aio_storage().ask(entries.delete_all(self.name), writes=True)
            number: int = deleted.deleted_count
            return number
        given = self.with_object(args, kwargs)
        cache, call = self.begin(given)
        if call is None:
            return 0
        cleared: int = await self._loop(cache, call, given).run(clearing(call))
        return cleared

    def _loop(self, cache: MongoCache, call: Call, given: Given) -> Loop:
        call.loop = asyncio.get_running_loop()
        return Loop(
            cache.aio_storage,
            partial(self._acompute_inside, cache, call, given),
            partial(self._refresh_in_loop, cache, call, given),
        )

    def _refresh_in_loop(self, cache: MongoCache, call: Call, given: Given) -> None:
        submit = self.submission(call, given)
        if submit is None:
            run_beside(self._loop(cache, call, given).run(refreshing(call)))
        else:
            cache.beside(call.flight, submit)

    async def _acompute_inside(self, cache: MongoCache, call: Call, given: Given) -> str:
        with inside(cache, call):
            return await self._acompute(cache, given)

    async def _acompute(self, cache: MongoCache, given: Given) -> str:
        args, kwargs = given
        return cache.to_json(self.name, await self.function(*args, **kwargs))


class CachedAsyncGenerator(CachedCoroutine):
    """An asynchronous generator, whose items are given out as they are computed, and again from the
    cache."""

    def wrapper(self) -> Callable[..., Any]:
        @functools.wraps(self.function)
        async def cached(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            cache, call = self.begin((args, kwargs))
            if call is not None:
                async with contextlib.aclosing(
                    self._loop(cache, call, (args, kwargs)).iterate(
                        self.steps(call, (args, kwargs))
                    )
                ) as answer:
                    async for item in answer:
                        yield item
            elif cache.washer is not None:
                for item in json.loads(await self._acompute(cache, (args, kwargs))):
                    yield item
            else:
                async with contextlib.aclosing(self._aitems(cache, None, (args, kwargs))) as texts:
                    async for text in texts:
                        yield json.loads(text)

        return cached

    def _loop(self, cache: MongoCache, call: Call, given: Given) -> AioStream:
        call.loop = asyncio.get_running_loop()
        return AioStream(
            cache.aio_storage,
            partial(self._aitems, cache, call, given),
            partial(self._refresh_in_loop, cache, call, given),
            partial(whole, cache, self.name),
            at_the_end=cache.washer is not None,
        )

    async def _aitems(
        self, cache: MongoCache, call: Call | None, given: Given
    ) -> AsyncGenerator[str, None]:
        args, kwargs = given
        async with contextlib.aclosing(self.function(*args, **kwargs)) as items:
            while True:
                with inside(cache, call):
                    try:
                        item = await anext(items)
                    except StopAsyncIteration:
                        return
                yield values.to_json(self.name, item, cache.json_encoder)

    async def _acompute(self, cache: MongoCache, given: Given) -> str:
        texts = [text async for text in self._aitems(cache, None, given)]
        return whole(cache, self.name, texts)


def run_beside(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Runs a coroutine beside the one that is running."""
    task = asyncio.get_running_loop().create_task(coroutine)
    _beside.add(task)
    task.add_done_callback(_beside.discard)
