"""How large a packet may be: one limit, `max_packet`, for what comes and for what leaves.

What comes in a longer packet is not kept: its head tells whose it is, `Oversized`
stands for the rest, and only that job fails. So nobody can make us reserve 4 GB
with a header of 12 bytes, and a job that is too large is answered once, instead
of ending the connection of every worker that is given it. The same happens to a
payload for which there is not enough memory.
"""

from __future__ import annotations

from gearmanny.payload.checks import whole_number

MAX_PACKET = 256 * 1024 * 1024
"""Bytes of a packet, unless `max_packet` says otherwise."""

SMALLEST_MAX_PACKET = 8192
"""Bytes. Below, the failures that workers tell would not get through."""

ROOM_FOR_NAMES = 4096
"""Bytes: more than handle, function and unique id ever take (63, 512 and 63). A payload leaves
them free, because it arrives with other names than it was sent with."""

PACKET_SIZE = whole_number(SMALLEST_MAX_PACKET, 2**32 - 1, of="bytes")
"""What `max_packet` may be. The header of a packet has 32 bits for its length."""


class Oversized(bytes):
    """Stands for a payload that was not kept: empty, but for how long it was."""

    length: int
    """Bytes of the payload."""
    limit: int | None
    """Bytes of the longest packet that would have been kept; None if memory was the limit."""

    @classmethod
    def of(cls, length: int, limit: int | None) -> Oversized:
        """Returns what stands for a payload of so many bytes."""
        self = cls()
        self.length = length
        self.limit = limit
        return self

    def reason(self) -> str:
        """Returns why it was not kept, and what to do."""
        if self.limit is None:
            return (
                f"there is not enough memory for its {self.length} bytes on this side. "
                "Raise the memory limit of this process, or send less at a time"
            )
        return (
            f"its {self.length} bytes are over max_packet, {self.limit} bytes on this side. "
            "Raise max_packet, or send less at a time"
        )


def check_payload(payload: bytes, max_packet: int) -> None:
    """Raises ValueError when a payload is too long to be sent to somebody of the same limit."""
    longest = max_packet - ROOM_FOR_NAMES
    if len(payload) > longest:
        raise ValueError(
            f"its {len(payload)} bytes are more than {longest}, which is max_packet less the room "
            "for names. Raise max_packet on both sides, or send less at a time"
        )
