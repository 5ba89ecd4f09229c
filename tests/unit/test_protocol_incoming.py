"""The payload of a packet: stored in pieces, or discarded and delivered early or late."""

from __future__ import annotations

import pytest

from gearmanny.payload.sizes import Oversized
from gearmanny.protocol.incoming import IncomingPayload, Packet
from gearmanny.protocol.packets import PacketType

DONE = PacketType.WORK_COMPLETE


def begin(
    payload: IncomingPayload, received: bytes, *, size: int, exceeded: int | None = None
) -> tuple[Packet | None, bytes]:
    packet, rest = payload.begin(memoryview(received), DONE, [b"H:1"], size, exceeded)
    return packet, bytes(rest)


def test_a_payload_is_whole_with_its_last_byte_and_leaves_what_follows() -> None:
    payload = IncomingPayload(dropped_at_once=True)
    assert begin(payload, b"abc", size=6) == (None, b"")
    assert payload.missing == 3
    packet, rest = payload.take(b"defnext")
    assert (packet, bytes(rest)) == ((DONE, [b"H:1", b"abcdef"]), b"next")
    assert payload.missing == 0


def test_one_payload_follows_another() -> None:
    payload = IncomingPayload(dropped_at_once=True)
    for text in (b"first", b"second"):
        assert begin(payload, text + b"!", size=len(text)) == ((DONE, [b"H:1", text]), b"!")


def test_a_discarded_payload_is_delivered_at_once_and_its_rest_is_skipped() -> None:
    payload = IncomingPayload(dropped_at_once=True)
    packet, _ = begin(payload, b"ab", size=5, exceeded=4)
    assert packet is not None
    _, (_, replacement) = packet
    assert isinstance(replacement, Oversized)
    assert (replacement.length, replacement.limit) == (5, 4)
    left = payload.take(b"cdenext")
    assert (left[0], bytes(left[1])) == (None, b"next")


def test_a_discarded_payload_can_be_delivered_with_its_last_byte() -> None:
    payload = IncomingPayload(dropped_at_once=False)
    assert begin(payload, b"ab", size=5, exceeded=4) == (None, b"")
    assert payload.take(b"cd")[0] is None
    packet, rest = payload.take(b"enext")
    assert packet is not None
    assert isinstance(packet[1][1], Oversized)
    assert bytes(rest) == b"next"


@pytest.mark.parametrize("dropped_at_once", [True, False])
def test_an_empty_payload_is_whole_at_once(dropped_at_once: bool) -> None:
    payload = IncomingPayload(dropped_at_once=dropped_at_once)
    assert begin(payload, b"next", size=0) == ((DONE, [b"H:1", b""]), b"next")


def test_memory_is_reserved_for_a_payload_once_some_of_it_has_arrived() -> None:
    payload = IncomingPayload(dropped_at_once=True)
    sent = bytes(range(200)) * 5
    begin(payload, sent[:10], size=1000)
    assert payload.begun < 100
    payload.take(sent[10:32])
    assert payload.begun == 1000
    packet, _ = payload.take(sent[32:])
    assert packet == (DONE, [b"H:1", sent])
    assert payload.begun == 0
