"""Whom the loop of a worker works with: who is told of it, and where coroutines run."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol


class Observer(Protocol):
    """Is told what happens in a loop. It is called between two jobs, and should be quick."""

    def ready(self) -> None:
        """A job server has answered, so it knows the functions; or all of them are away. Told
        once, before the first job."""

    def job_done(self) -> None:
        """A job was answered, or failed."""


class JobLoop(Protocol):
    """Where the jobs of `async def` tasks run: `coroutines.EventLoop`, which is imported only
    where there are some."""

    error: BaseException | None
    cancelling: bool
    stopping: Any

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None: ...

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any: ...

    def take_ended(self) -> int: ...

    def stop(self) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...
