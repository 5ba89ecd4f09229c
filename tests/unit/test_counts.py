"""Numbers of things, in words."""

from __future__ import annotations

from gearmanny.payload.counts import number_of


def test_one_thing_is_no_things() -> None:
    assert [number_of(n, "job") for n in range(3)] == ["0 jobs", "1 job", "2 jobs"]
