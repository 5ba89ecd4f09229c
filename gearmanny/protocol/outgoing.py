"""The next queued bytes to send: small packets joined, large payloads without a copy."""

from __future__ import annotations

import bisect
import itertools

Data = bytes | memoryview

_JOINED_AT_ONCE = 4096
"""Number of pieces to join at most."""

_A_FEW = 8
"""Number of pieces that are usually queued when jobs come one by one; quick to add up."""

_SENT_AT_ONCE = 256 * 1024
"""Bytes. asyncio's transports may copy the data that they are given, so they get no more than that
at once."""


def take_next(queued: list[Data]) -> Data:
    """Removes the next bytes to send from a queue, and returns them.

    Args:
        queued: the queued bytes, in the order in which they are to be sent.

    Returns:
        At most 256 KiB; empty if nothing is queued.
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
    except MemoryError:  # sending a single piece needs no copy
        count, data = 1, queued[0]
    del queued[:count]
    return data
