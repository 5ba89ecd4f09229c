"""Memory that worker processes share with the runner, of which they are copies.

A page is shared until somebody writes to it. A collection of the garbage collector writes to every
object that it looks at, so a child would soon have a copy of all that the runner had imported.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401  used by the first look-up of a name
import gc
from collections.abc import Iterator

_OF_PYTHON = 2000
"""Objects that may be frozen although nobody called `gc.freeze`, which freezes several thousand at
least: a collection of CPython 3.12 keeps the immortal ones apart there."""


@contextlib.contextmanager
def shared_memory(*, coroutines: bool) -> Iterator[None]:
    """Prepares for forks of worker processes, until the block ends: `keep_shared` before each.

    Args:
        coroutines: whether they run `async def` tasks, whose needs are imported once, here.
    """
    if coroutines:
        import gearmanny.working.coroutines  # noqa: PLC0415  imports asyncio
        import gearmanny.working.eventloop  # noqa: F401, PLC0415
    frozen = gc.get_freeze_count()
    try:
        yield
    finally:
        if frozen < _OF_PYTHON:  # else the program has frozen objects itself
            gc.unfreeze()


def keep_shared() -> None:
    """Keeps the collector of children from everything that exists now."""
    gc.collect()
    gc.freeze()
