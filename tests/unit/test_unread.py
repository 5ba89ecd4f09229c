"""The updates of a call that nobody has read yet."""

from __future__ import annotations

from gearmanny.calling.unread import Unread
from gearmanny.protocol.client import DataSent, Progressed

KIB = bytes(1024)


def test_updates_are_taken_in_their_order() -> None:
    unread = Unread(10_000)
    assert not unread
    assert unread.take() is None
    unread.put(DataSent(b"1"))
    unread.put(Progressed(b"1", b"2"))
    assert unread
    assert [unread.take(), unread.take(), unread.take()] == [
        DataSent(b"1"),
        Progressed(b"1", b"2"),
        None,
    ]
    assert unread.dropped == 0


def test_the_oldest_are_dropped_where_they_take_too_much_memory() -> None:
    unread = Unread(3 * 1024)
    for number in range(100):
        unread.put(DataSent(KIB + b"%d" % number))
    assert unread.dropped == 98
    assert unread.take() == DataSent(KIB + b"98")
    unread.put(DataSent(b""))
    assert unread.dropped == 98
    unread.keep(600)
    unread.put(DataSent(b""))
    assert unread.dropped == 99


def test_small_ones_take_memory_too() -> None:
    unread = Unread(10_000)
    for _ in range(100):
        unread.put(Progressed(b"1", b"2"))
    assert unread.dropped > 50


def test_one_that_is_too_large_alone_is_dropped() -> None:
    unread = Unread(1000)
    unread.put(DataSent(KIB))
    assert (bool(unread), unread.dropped) == (False, 1)
