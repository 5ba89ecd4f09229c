"""Threads carry out the steps of a call."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import pymongo.errors
from bson.errors import BSONError

from gearmanny.helpers.steps import Ask, Compute, Join, Keep, Nothing, Pause, Step, Steps
from gearmanny.helpers.storage import Storage, Unavailable

UNREADABLE = (BSONError, pymongo.errors.PyMongoError, OverflowError, ValueError, RecursionError)
"""The errors that pymongo raises for a document, not for its server."""

_SLICE = 0.1
"""Seconds for which a thread waits before it can be interrupted again."""


class Abandoned(BaseException):
    """Nobody wants the rest of a stream. Unlike a GeneratorExit, it lets steps be taken."""


class Threads:
    """Carries out steps in the thread that asks for it."""

    def __init__(
        self,
        storage: Callable[[], Storage],
        compute: Callable[[], str],
        refresh: Callable[[], None],
    ) -> None:
        """
        Args:
            storage: returns the collection.
            compute: returns an answer as JSON.
            refresh: begins to compute the answer beside the caller.
        """
        self._storage = storage
        self._compute = compute
        self._refresh = refresh

    def run(self, steps: Steps) -> Any:
        """Returns what the steps return."""
        with contextlib.closing(steps):
            try:
                step = next(steps)
                while True:
                    try:
                        brought = self.take(step)
                    except BaseException as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(brought)
            except StopIteration as end:
                return end.value

    def take(self, step: Step) -> Any:
        """Takes one step, and returns what it brought."""
        match step:
            case Ask(operation, writes):
                return self._ask(operation, writes)
            case Compute():
                return self._compute()
            case Keep(operation):
                return self._keep(operation)
            case Join(flight, patience):
                while not flight.landed.done():
                    if flight.rests_with(threading.get_ident()):
                        return Nothing.HELD_UP
                    if flight.rested(time.monotonic()) > patience:
                        return Nothing.STALLED
                    concurrent.futures.wait([flight.landed], _SLICE)
                return flight.landed.result()
            case Pause(seconds):
                time.sleep(seconds)
            case _:
                self._refresh()
        return None

    def _ask(self, operation: Callable[[Any], Any], writes: bool) -> Any:
        try:
            return self._storage().ask(operation, writes=writes)
        except Unavailable:
            return Nothing.AWAY
        except pymongo.errors.DuplicateKeyError:
            # Two inserted a document at once. Now it is there.
            return self._ask(operation, writes)
        except UNREADABLE:
            return Nothing.USELESS

    def _keep(self, operation: Callable[[Any], Any]) -> Nothing | None:
        storage = self._storage()
        try:
            storage.ask(operation, writes=True)
        except Unavailable:
            storage.ask_aside(operation)
        except pymongo.errors.DuplicateKeyError:
            pass  # another process has just stored an answer
        except UNREADABLE:
            return Nothing.USELESS
        return None


class Stream(Threads):
    """The same, where an answer is computed item by item."""

    def __init__(
        self,
        storage: Callable[[], Storage],
        items: Callable[[], Generator[str, None, None]],
        refresh: Callable[[], None],
        whole: Callable[[list[str]], str],
        *,
        at_the_end: bool,
    ) -> None:
        """
        Args:
            storage: returns the collection.
            items: computes the answer: each item as JSON.
            refresh: begins to compute the answer beside the caller.
            whole: returns the answer as JSON that the items make together.
            at_the_end: whether no item is given out before the last one is known.
        """
        super().__init__(storage, lambda: whole(list(items())), refresh)
        self._items = items
        self._whole = whole
        self._at_the_end = at_the_end

    def iterate(self, steps: Steps) -> Generator[Any, None, None]:
        """Yields the items of the answer that the steps return."""
        given_out = False
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Compute) and not self._at_the_end:
                        texts = []
                        with contextlib.closing(self._items()) as items:
                            for text in items:
                                texts.append(text)
                                given_out = step.begun = True
                                with step.flight.paused(threading.get_ident()):
                                    yield json.loads(text)
                        brought: Any = self._whole(texts)
                    else:
                        brought = self.take(step)
                except GeneratorExit:
                    step = steps.throw(Abandoned())
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(brought)
        except StopIteration as end:
            if not given_out:
                yield from end.value
        except Abandoned:
            return
        finally:
            steps.close()
