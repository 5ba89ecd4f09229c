"""The largest packet: one limit, `max_packet`, for both directions.

The payload of a longer packet is discarded as it arrives: `Oversized` replaces it,
and only the job that it belongs to fails. So a header of 12 bytes cannot make this
process reserve 4 GB, and a job that is too large fails once, instead of
disconnecting every worker that it is assigned to. The same happens to a payload
that does not fit into memory.
"""

from __future__ import annotations

from gearmanny.errors import EncodingError
from gearmanny.payload.checks import whole_number

MAX_PACKET = 256 * 1024 * 1024
"""Default of `max_packet`, in bytes."""

SMALLEST_MAX_PACKET = 8192
"""Smallest `max_packet`, in bytes. A smaller one would not let failures through."""

ROOM_FOR_NAMES = 4096
"""Bytes that a payload leaves free for names, because it does not arrive with those that it was
sent with: more than handle, function and unique id need (63, 512 and 63)."""

PACKET_SIZE = whole_number(SMALLEST_MAX_PACKET, 2**32 - 1, of="bytes")
"""The rule for `max_packet`. The header of a packet has 32 bits for its length."""


class Oversized(bytes):
    """Empty replacement for a payload that was discarded."""

    length: int
    """Size of the payload, in bytes."""
    limit: int | None
    """The longest packet allowed, in bytes; None if the payload did not fit into memory."""

    @classmethod
    def of(cls, length: int, limit: int | None) -> Oversized:
        """Returns the replacement for a payload.

        Args:
            length: its size in bytes.
            limit: the longest packet allowed, in bytes; None if it did not fit into memory.
        """
        self = cls()
        self.length = length
        self.limit = limit
        return self

    def reason(self) -> str:
        """Returns why it was discarded and what to do, without the final full stop."""
        if self.limit is None:
            return (
                f"there is not enough memory for its {self.length} bytes on this side. "
                "Raise the memory limit of this process, or send less at a time"
            )
        return (
            f"its {self.length} bytes exceed max_packet, which is {self.limit} bytes on this side. "
            "Raise max_packet, or send less at a time"
        )


def check_payload(payload: bytes, max_packet: int) -> None:
    """Checks the size of a payload to be sent.

    Args:
        payload: the payload.
        max_packet: the longest packet allowed on both sides, in bytes.

    Raises:
        ValueError: it is too long.
    """
    longest = max_packet - ROOM_FOR_NAMES
    if len(payload) > longest:
        raise ValueError(
            f"its {len(payload)} bytes exceed {longest}, which is max_packet minus "
            f"{ROOM_FOR_NAMES} bytes for names. Raise max_packet on both sides, or send less at a "
            "time"
        )


def check_result(function: object, result: str | bytes | None, limit: int | None) -> None:
    """Checks the size of a result that is to be recorded.

    Args:
        function: the Gearman function.
        result: as it travels; None where there is none.
        limit: bytes; None for any size.

    Raises:
        EncodingError: it is larger.
    """
    if limit is None or result is None or 4 * len(result) <= limit:
        return
    size = len(result) if isinstance(result, bytes) else len(result.encode())
    if size > limit:
        raise EncodingError(
            f"The result of {function}() has {size} bytes, and max_result allows {limit} in a "
            "record. Store it elsewhere and return where it is, or raise max_result."
        )
