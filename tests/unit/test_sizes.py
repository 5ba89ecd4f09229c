"""The largest packet: what the option may be, what a payload may be, and what stands for more."""

from __future__ import annotations

import re

import pytest

from gearmanny.errors import EncodingError, InvalidOption
from gearmanny.payload.sizes import (
    MAX_PACKET,
    PACKET_SIZE,
    ROOM_FOR_NAMES,
    SMALLEST_MAX_PACKET,
    Oversized,
    check_payload,
    check_result,
)


@pytest.mark.parametrize("size", [SMALLEST_MAX_PACKET, MAX_PACKET, 2**32 - 1])
def test_the_limit_is_a_number_of_bytes(size: int) -> None:
    PACKET_SIZE.check("max_packet", size)


@pytest.mark.parametrize("size", [SMALLEST_MAX_PACKET - 1, 2**32, True, "9000", 9000.0, None])
def test_any_other_limit_is_refused(size: object) -> None:
    with pytest.raises(
        InvalidOption, match=r"must be a whole number of bytes from 8192 to 4294967295"
    ):
        PACKET_SIZE.check("max_packet", size)


def test_a_payload_leaves_room_for_names() -> None:
    longest = bytes(SMALLEST_MAX_PACKET - ROOM_FOR_NAMES)
    check_payload(longest, SMALLEST_MAX_PACKET)
    with pytest.raises(ValueError, match=r"its 4097 bytes exceed 4096, .* Raise max_packet"):
        check_payload(longest + b"x", SMALLEST_MAX_PACKET)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (10, r"its 11 bytes exceed max_packet, which is 10 bytes on this side\. Raise max_packet"),
        (None, r"not enough memory for its 11 bytes on this side\. Raise the memory limit"),
    ],
)
def test_what_stands_for_a_payload_is_empty_and_knows_why(limit: int | None, reason: str) -> None:
    replacement = Oversized.of(11, limit)
    assert (replacement, replacement.length, replacement.limit) == (b"", 11, limit)
    assert re.search(reason, replacement.reason())


@pytest.mark.parametrize(
    ("result", "limit"),
    [(None, 0), ("x" * 99, None), ("x" * 4, 16), ("ü" * 4, 8), ("x" * 8, 8), (b"x" * 8, 8)],
)
def test_a_result_may_have_so_many_bytes(result: str | bytes | None, limit: int | None) -> None:
    check_result("f", result, limit)


@pytest.mark.parametrize("result", ["ü" * 4 + "x", "x" * 9, b"x" * 9])
def test_a_result_with_more_bytes_is_not_recorded(result: str | bytes) -> None:
    with pytest.raises(
        EncodingError, match=r"The result of f\(\) has 9 bytes, and max_result allows 8 in a record"
    ):
        check_result("f", result, 8)
