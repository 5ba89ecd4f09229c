"""When a runner that ends without jobs has nothing left to do."""

from __future__ import annotations

from gearmanny.running.backlog import Quiet


def note(quiet: Quiet, now: float, **seen: bool) -> bool:
    return quiet.note(**{"waiting": False, "working": False, "due": False, **seen}, now=now)


def test_three_looks_in_a_row_find_nothing() -> None:
    assert [note(quiet := Quiet(), 0.0), note(quiet, 0.2), note(quiet, 0.4)] == [False, False, True]


def test_a_job_between_them_begins_the_count_again() -> None:
    for seen in ("waiting", "working", "due"):
        quiet = Quiet()
        assert not any([note(quiet, 0.0), note(quiet, 0.2), note(quiet, 0.4, **{seen: True})])
        assert not any([note(quiet, 0.6), note(quiet, 0.8)])
        assert note(quiet, 1.0)


def test_jobs_that_wait_while_none_begins_are_due_later() -> None:
    quiet = Quiet()
    assert not any(note(quiet, now, waiting=True) for now in range(6))
    assert note(quiet, 6.0, waiting=True)


def test_that_begins_again_with_every_job() -> None:
    quiet = Quiet()
    assert not note(quiet, 0.0, waiting=True)
    assert not note(quiet, 5.0, working=True)
    assert not note(quiet, 6.0, waiting=True)
    assert not note(quiet, 11.0, waiting=True)
    assert note(quiet, 12.0, waiting=True)


def test_jobs_of_the_database_that_are_due_are_waited_for() -> None:
    quiet = Quiet()
    assert not any(note(quiet, now, due=True) for now in range(100))
