"""Cached functions: what the decorator makes of a function, and of a generator.

`coroutines.py` does the same for `async def`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from gearmanny.helpers import values
from gearmanny.helpers.answers import (
    answering,
    clearing,
    looking,
    recomputing,
    refreshing,
    refreshing_by_job,
)
from gearmanny.helpers.blocking import Stream, Threads
from gearmanny.helpers.caches import MongoCache
from gearmanny.helpers.calls import Call
from gearmanny.helpers.counting import CacheInfo, Counts
from gearmanny.helpers.flights import computing
from gearmanny.helpers.freshness import Ages
from gearmanny.helpers.jobs import is_refresh, submission
from gearmanny.helpers.keys import Arguments, belongs_to_a_class, cache_key
from gearmanny.helpers.steps import Steps

Given = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a call: by position, and by name."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options that `@cachewrap` gives a function."""

    unique_name: str
    fresh: timedelta
    stale: timedelta | None
    ignore: frozenset[str]
    key: Callable[..., Any] | None
    version: str | int | None


class CachedFunction:
    """A function, and how its calls are answered."""

    def __init__(
        self, get_cache: Callable[[], MongoCache], function: Callable[..., Any], options: Options
    ) -> None:
        """
        Args:
            get_cache: returns the cache, at every call.
            function: computes the answers.
            options: of the function.
        """
        self.function = function
        self.name = options.unique_name
        self.get_cache = get_cache
        self._options = options
        self._counts = Counts(options.unique_name)
        self._signature = inspect.signature(function)
        self._is_method = belongs_to_a_class(function)

    def wrapper(self) -> Callable[..., Any]:
        """Returns the function that takes the place of the one that is cached."""

        @functools.wraps(self.function)
        def cached(*args: Any, **kwargs: Any) -> Any:
            return self._answer((args, kwargs))

        return cached

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the answer of a call anew, stores and returns it. That of a method takes its
        object first.

        Raises:
            Exception: what computing raises.
        """
        cache, call = self.begin((args, kwargs))
        if call is None:
            return json.loads(self._compute(cache, (args, kwargs)))
        return self._driver(cache, call, (args, kwargs)).run(recomputing(call))

    def cached(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the answer that a call would get from the cache; None without one."""
        cache, call = self.begin(self.with_object(args, kwargs))
        if call is None:
            return None
        return self._driver(cache, call, (args, kwargs)).run(looking(call))

    def cache_clear(self, *args: Any, **kwargs: Any) -> int:
        """Deletes the answer of a call; without arguments, all answers of the function.

        Returns:
            How many were deleted.

        Raises:
            Unavailable: MongoDB cannot be used.
        """
        if not args and not kwargs:
            cache = self.get_cache()
            return cache.clear(self.name) if cache.is_on else 0
        cache, call = self.begin(self.with_object(args, kwargs))
        if call is None:
            return 0
        deleted: int = self._driver(cache, call, (args, kwargs)).run(clearing(call))
        return deleted

    def cache_info(self) -> CacheInfo:
        """Returns how the calls in this process were answered."""
        return self._counts.info()

    def begin(self, given: Given) -> tuple[MongoCache, Call | None]:
        """Returns the cache, and the call; None where the function is to be called instead: the
        cache is off, or this is a call out of the computation of the same answer."""
        cache = self.get_cache()
        if not cache.is_on:
            return cache, None
        options = self._options
        arguments = Arguments(
            self._signature, *given, is_method=self._is_method, ignore=options.ignore
        )
        made = {} if options.key is None else {"computed": arguments.passed_to(options.key)}
        encoder = cache.json_encoder
        key = cache_key(self.name, arguments.named, encoder, version=options.version, **made)
        if (id(cache), key) in computing.get():
            return cache, None
        ages = Ages(options.fresh, cache.stale if options.stale is None else options.stale)
        is_shared = options.key is None and options.version is None
        return cache, Call(cache, key, arguments, ages, self._counts, is_shared=is_shared)

    def with_object(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Given:
        """Returns arguments to which that of a method is added: the object does not count, and is
        not needed where nothing is computed."""
        return ((None, *args) if self._is_method else args), kwargs

    def _answer(self, given: Given) -> Any:
        cache, call = self.begin(given)
        if call is None:
            return json.loads(self._compute(cache, given))
        return self._driver(cache, call, given).run(self.steps(call, given))

    def steps(self, call: Call, given: Given) -> Steps:
        """Returns the steps of a call: in a job that is there to compute an answer again, others
        than usually."""
        args, _ = given
        if self._is_method and args and is_refresh(args[0], call.key):
            return refreshing_by_job(call)
        return answering(call)

    def submission(self, call: Call, given: Given) -> Callable[[], None] | None:
        """Returns a function that lets a background job compute an answer again; None where this
        process has to."""
        args, _ = given
        if not self._is_method or not args:
            return None
        submit = submission(self.function, args[0], call.arguments, call.key)
        return submit and partial(call.submit, submit)

    def _driver(self, cache: MongoCache, call: Call, given: Given) -> Threads:
        # Closures that know each other would keep the answer alive until garbage is collected.
        return Threads(
            cache.storage,
            partial(self._compute_inside, cache, call, given),
            partial(self._refresh_beside, cache, call, given),
        )

    def _refresh_beside(self, cache: MongoCache, call: Call, given: Given) -> None:
        submit = self.submission(call, given)
        if submit is None:
            driver = self._driver(cache, call, given)
            submit = partial(driver.run, refreshing(call))
        cache.beside(call.flight, submit)

    def _compute_inside(self, cache: MongoCache, call: Call, given: Given) -> str:
        with inside(cache, call):
            return self._compute(cache, given)

    def _compute(self, cache: MongoCache, given: Given) -> str:
        args, kwargs = given
        return cache.to_json(self.name, self.function(*args, **kwargs))


class CachedGenerator(CachedFunction):
    """A generator, whose items are given out as they are computed, and again from the cache."""

    def wrapper(self) -> Callable[..., Any]:
        @functools.wraps(self.function)
        def cached(*args: Any, **kwargs: Any) -> Generator[Any, None, None]:
            cache, call = self.begin((args, kwargs))
            if call is not None:
                yield from self._driver(cache, call, (args, kwargs)).iterate(
                    self.steps(call, (args, kwargs))
                )
            elif cache.washer is not None:
                yield from json.loads(self._compute(cache, (args, kwargs)))
            else:
                for text in self._items(cache, None, (args, kwargs)):
                    yield json.loads(text)

        return cached

    def _driver(self, cache: MongoCache, call: Call, given: Given) -> Stream:
        return Stream(
            cache.storage,
            partial(self._items, cache, call, given),
            partial(self._refresh_beside, cache, call, given),
            partial(whole, cache, self.name),
            at_the_end=cache.washer is not None,
        )

    def _items(
        self, cache: MongoCache, call: Call | None, given: Given
    ) -> Generator[str, None, None]:
        args, kwargs = given
        with contextlib.closing(self.function(*args, **kwargs)) as items:
            while True:
                with inside(cache, call):  # and not while whoever reads the stream has its turn
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                yield values.to_json(self.name, item, cache.json_encoder)

    def _compute(self, cache: MongoCache, given: Given) -> str:
        return whole(cache, self.name, list(self._items(cache, None, given)))


def whole(cache: MongoCache, unique_name: str, texts: list[str]) -> str:
    """Returns the answer that is made of items, as JSON like them: washed, if that is wanted."""
    text = f"[{','.join(texts)}]"
    return cache.to_json(unique_name, json.loads(text)) if cache.washer else text


@contextlib.contextmanager
def inside(cache: MongoCache, call: Call | None) -> Iterator[None]:
    """Notes that an answer is being computed while the block runs."""
    if call is None:
        yield
        return
    token = computing.set(computing.get() | {(id(cache), call.key)})
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a coroutine was destroyed in another context
            computing.reset(token)
