"""How large a packet may be, and what stands for a payload that was not kept."""

from __future__ import annotations

import pytest

from gearmanny.payload.sizes import (
    MAX_PACKET,
    PACKET_SIZE,
    ROOM_FOR_NAMES,
    SMALLEST_MAX_PACKET,
    Oversized,
    check_payload,
)


@pytest.mark.parametrize("size", [SMALLEST_MAX_PACKET, MAX_PACKET, 2**32 - 1])
def test_a_limit_is_what_the_header_of_a_packet_can_say(size: int) -> None:
    assert PACKET_SIZE.allows(size)


@pytest.mark.parametrize("size", [SMALLEST_MAX_PACKET - 1, 2**32, None, 1e6])
def test_no_other_number_is_a_limit(size: object) -> None:
    assert not PACKET_SIZE.allows(size)


def test_a_payload_leaves_room_for_the_names_of_its_packet() -> None:
    longest = SMALLEST_MAX_PACKET - ROOM_FOR_NAMES
    check_payload(b"x" * longest, SMALLEST_MAX_PACKET)
    with pytest.raises(ValueError, match=rf"its {longest + 1} bytes are more than {longest},"):
        check_payload(b"x" * (longest + 1), SMALLEST_MAX_PACKET)


def test_what_was_not_kept_is_empty_and_says_how_long_it_was_and_why() -> None:
    over = Oversized.of(9000, 8192)
    assert (bytes(over), over.length, over.limit) == (b"", 9000, 8192)
    assert over.reason() == (
        "its 9000 bytes are over max_packet, 8192 bytes on this side. Raise max_packet, or send "
        "less at a time"
    )


def test_memory_is_the_other_reason() -> None:
    assert "not enough memory for its 9000 bytes" in Oversized.of(9000, None).reason()
