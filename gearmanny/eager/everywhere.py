"""Eager mode for all clients of this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gearmanny.aio.connections import dialers as aio_dialers
from gearmanny.blocking.connections import dialers
from gearmanny.eager.aio import AioEagerDialer
from gearmanny.eager.joined import Eager, EagerDialer
from gearmanny.eager.outbox import outbox
from gearmanny.helpers.switch import switch


@contextlib.contextmanager
def calls_run_in(eager: Eager) -> Iterator[None]:
    """Runs the calls of all clients of this process in an `Eager`, until the block ends. Blocks
    may be nested. Connections that are open are put aside, and used again afterwards. Caches are
    off meanwhile.

    Args:
        eager: has the workers. The `outbox` is emptied at the beginning.
    """
    outbox.clear()
    with (
        dialers.installed(EagerDialer(eager)),
        aio_dialers.installed(AioEagerDialer(eager)),
        switch.set_to(False),
    ):
        yield
