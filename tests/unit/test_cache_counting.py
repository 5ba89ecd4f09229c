"""How calls of cached functions were answered."""

from __future__ import annotations

from gearmanny.helpers.counting import CacheInfo, Counts, Outcome, listeners


def test_each_outcome_is_counted_under_its_name() -> None:
    counts = Counts("costly")
    for number, outcome in enumerate(Outcome, 1):
        for _ in range(number):
            counts.add(outcome)
    assert counts.info() == CacheInfo(hits=1, stale=2, fallbacks=3, joined=4, misses=5, uncached=6)


def test_listeners_hear_of_every_call() -> None:
    heard: list[tuple[str, Outcome]] = []
    listeners.append(lambda *args: heard.append(args))
    try:
        Counts("costly").add(Outcome.HIT)
    finally:
        listeners.pop()
    assert heard == [("costly", Outcome.HIT)]
