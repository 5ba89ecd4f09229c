"""The outgoing bytes: small pieces together, large ones in parts, all once and in order."""

from __future__ import annotations

import pytest

from gearmanny.protocol.outgoing import Data, take_next
from tests.support.memory import MIB, run_with_little_memory

KIB = 1024


def take_all(queued: list[Data]) -> list[Data]:
    return list(iter(lambda: take_next(queued), b""))


def test_nothing_is_sent_when_nothing_is_queued() -> None:
    assert take_next([]) == b""


@pytest.mark.parametrize("count", [1, 8, 9, 5000])
def test_small_pieces_are_joined(count: int) -> None:
    pieces = [b"%d;" % number for number in range(count)]
    taken = take_all(list(pieces))
    assert b"".join(taken) == b"".join(pieces)
    assert len(taken) == 1 + count // 4097


def test_at_most_256_kib_are_joined() -> None:
    pieces = [bytes([number]) * 100 * KIB for number in range(5)]
    taken = take_all(list(pieces))
    assert b"".join(taken) == b"".join(pieces)
    assert [len(data) for data in taken] == [200 * KIB, 200 * KIB, 100 * KIB]


def test_a_large_piece_is_sent_in_parts_without_a_copy() -> None:
    large = bytes(600 * KIB)
    queued: list[Data] = [large, b"end"]
    taken = take_all(queued)
    assert [len(data) for data in taken] == [256 * KIB, 256 * KIB, 88 * KIB + 3]
    assert isinstance(taken[0], memoryview)
    assert taken[0].obj is large


def test_without_memory_to_join_pieces_they_are_sent_one_by_one() -> None:
    def send() -> None:
        queued: list[Data] = [bytes(100 * KIB), bytes(100 * KIB)]
        filled = []
        while True:
            try:
                filled.append(bytes(64 * KIB))
            except MemoryError:
                break
        taken = [take_next(queued), take_next(queued), take_next(queued)]
        del filled
        assert [len(data) for data in taken] == [100 * KIB, 100 * KIB, 0]

    run_with_little_memory(2 * MIB, send)
