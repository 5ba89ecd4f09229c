"""Which queued bytes are sent next: small packets together, large payloads without a copy."""

from __future__ import annotations

import bisect
import itertools

Data = bytes | memoryview

_JOINED_AT_ONCE = 4096
"""Pieces."""

_A_FEW = 8
"""Pieces: what is queued where jobs come one by one. To add up so many is quick."""

_SENT_AT_ONCE = 256 * 1024
"""Bytes. A transport of asyncio may copy what it is given, so it is not given more at a time."""


def take_next(queued: list[Data]) -> Data:
    """Removes from a queue what is to be sent next, and returns it.

    Args:
        queued: bytes in the order in which they are to be sent.

    Returns:
        At most 256 KiB; empty when nothing is queued.
    """
    if len(queued) <= _A_FEW and sum(map(len, queued)) <= _SENT_AT_ONCE:
        count = len(queued)
    else:
        ends = itertools.accumulate(map(len, itertools.islice(queued, _JOINED_AT_ONCE)))
        count = bisect.bisect_right(list(ends), _SENT_AT_ONCE)
    if not count and queued:
        whole = memoryview(queued[0])
        queued[0] = whole[_SENT_AT_ONCE:]
        return whole[:_SENT_AT_ONCE]
    try:
        data: Data = b"".join(queued[:count])
    except MemoryError:  # sending needs none
        count, data = 1, queued[0]
    del queued[:count]
    return data
