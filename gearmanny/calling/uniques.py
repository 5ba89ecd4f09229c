"""The unique ids of jobs."""

from __future__ import annotations

import itertools
import os

from gearmanny.calling.options import CallOptions
from gearmanny.payload.names import unique_of_key


def unique_id(options: CallOptions) -> bytes:
    """Returns the unique id of a new job; empty where it needs none.

    Args:
        options: those of its call.
    """
    if options.unique is not None:
        return unique_of_key(options.unique, background=options.background)
    return _new_unique() if options.background else b""


class _Uniques:
    """Makes unique ids that no other process ever makes: 32 bytes."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._prefix = os.urandom(10).hex().encode()
        self._numbers = itertools.count()

    def __call__(self) -> bytes:
        return b"%s%012x" % (self._prefix, next(self._numbers))


_new_unique = _Uniques()
os.register_at_fork(after_in_child=_new_unique.begin)
