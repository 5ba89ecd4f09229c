"""Which queued bytes are sent next: small packets together, large payloads without a copy."""

from __future__ import annotations

Data = bytes | memoryview

_SENT_AT_ONCE = 256 * 1024
"""Bytes. A transport of asyncio may copy what it is given, so it is not given more at a time."""


def take_next(queued: list[Data]) -> Data:
    """Removes from a queue what is to be sent next, and returns it.

    Args:
        queued: bytes in the order in which they are to be sent.

    Returns:
        At most 256 KiB; empty when nothing is queued.
    """
    if not queued:
        return b""
    count = size = 0
    for piece in queued:
        size += len(piece)
        if size > _SENT_AT_ONCE:
            break
        count += 1
    if count > 1:
        try:
            data: Data = b"".join(queued[:count])
        except MemoryError:  # sending needs none
            count, data = 1, queued[0]
    elif count:
        data = queued[0]
    else:
        whole = memoryview(queued[0])
        queued[0] = whole[_SENT_AT_ONCE:]
        return whole[:_SENT_AT_ONCE]
    del queued[:count]
    return data
