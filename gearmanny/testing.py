"""For tests of code that calls, and of workers: eager mode, and live workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from gearmanny.connections import Connections
from gearmanny.eager import Eager, Sent, outbox
from gearmanny.gearman_api import GearmanWorker
from gearmanny.worker import BaseWorker, Hook, JsonWorker

__all__ = ["Eager", "Sent", "eager", "outbox"]


@contextlib.contextmanager
def eager(
    workers: Sequence[type[BaseWorker]] = (),
    *,
    hooks: Sequence[Hook] = (),
    send_tracebacks: bool | None = None,
    default_work_class: type[GearmanWorker] = JsonWorker,
) -> Iterator[Eager]:
    """Runs the calls of all clients of this process where they are made, until the block ends.

    Arguments and results travel through the encoders, and failures arrive as they do from a
    job server. A job has run when its call returns; timeouts do not count. A call to a function
    that no worker offers is a `TaskTimeout` at once. Background calls run at once, too, and are
    kept in `outbox`, which is emptied at the beginning.

    Args:
        workers: the worker classes that do the jobs. An inner block forgets those of an outer one.
        hooks: contexts around every job of every worker, outside of its own hooks.
        send_tracebacks: overrides what the worker classes say, unless None.
        default_work_class: stands in for `JsonWorker`, for workers that chose no other.

    Yields:
        The `Eager`, to which more workers may be added.

    Raises:
        InvalidTask: a worker cannot be exported, or two export the same function.
    """
    stand_in = Eager(
        workers,
        hooks=hooks,
        send_tracebacks=send_tracebacks,
        default_work_class=default_work_class,
    )
    outbox.clear()
    outer = Connections.stand_in_for_all
    Connections.stand_in_for_all = stand_in.channel
    try:
        yield stand_in
    finally:
        Connections.stand_in_for_all = outer
