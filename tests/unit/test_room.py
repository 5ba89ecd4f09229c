"""The memory for jobs and names: what is granted, and what is refused."""

from __future__ import annotations

import pytest

from gearmanny.payload.sizes import MAX_PACKET
from gearmanny.protocol.room import Refusal, Room


def test_the_limit_is_exact() -> None:
    room = Room(1000)
    room.take(999)
    with pytest.raises(Refusal) as caught:
        room.take(2)
    assert caught.value.code == b"QUEUE_ERROR"
    assert room.taken == 999
    room.take(1)
    room.give_back(1000)
    assert room.taken == 0


def test_memory_that_the_process_cannot_get_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room()
    room.take(1)
    monkeypatch.setattr("gearmanny.protocol.room._SPARE", MAX_PACKET**2)
    room.take(1000)  # granted before
    with pytest.raises(Refusal):
        room.take(2_000_000)
    room.give_back(1001)
    assert room.taken == 0
