"""What a dispatcher does when."""

from __future__ import annotations

from gearmanny.dispatching.schedule import EVERY, SPACING, Chore, Schedule

EACH_SECOND = [Chore.INTERRUPT, Chore.TICK, Chore.HAND_OVER, Chore.LOOK, Chore.BURY]


def at_zero(random: float = 0.0) -> Schedule:
    """The schedule of a dispatcher that starts at 0."""
    return Schedule(0.0, random=lambda: random)


def test_it_begins_with_what_is_done_often_and_the_most_urgent_comes_first() -> None:
    schedule = at_zero()
    assert schedule.wakes_at() == 0.0
    often = [Chore.CHILDREN, *EACH_SECOND]
    assert schedule.due(0.0) == [*often, Chore.PRUNE]
    assert schedule.due(0.0) == []
    assert set(EVERY) == set(Chore)


def test_each_chore_is_due_again_after_its_time() -> None:
    schedule = at_zero()
    schedule.due(0.0)
    assert schedule.wakes_at() == 1.0
    assert schedule.due(0.9) == []
    assert schedule.due(1.0) == EACH_SECOND
    assert schedule.due(EVERY[Chore.PRUNE]) == [Chore.CHILDREN, *EACH_SECOND, Chore.PRUNE]


def test_several_dispatchers_do_not_come_in_step() -> None:
    schedule = at_zero(random=1.0)
    schedule.due(0.0)
    assert schedule.wakes_at() == 0.75


def test_a_chore_may_be_hurried_but_not_put_off() -> None:
    schedule = at_zero()
    schedule.due(0.0)
    schedule.hurry(Chore.HAND_OVER, 0.5)
    schedule.hurry(Chore.HAND_OVER, 0.9)
    assert schedule.due(0.4) == []
    assert schedule.due(0.5) == [Chore.HAND_OVER]


def test_however_hurried_a_chore_leaves_time_for_others() -> None:
    schedule = at_zero()
    schedule.due(0.0)
    schedule.hurry(Chore.HAND_OVER, 0.0)
    assert schedule.wakes_at() == SPACING


def test_nothing_is_due_while_the_store_is_away_and_then_all_of_it() -> None:
    schedule = at_zero()
    schedule.due(0.0)
    assert not schedule.is_away
    schedule.store_failed(Chore.CHILDREN, 0.0)
    assert schedule.is_away
    assert schedule.wakes_at() == 0.2
    schedule.hurry(Chore.HAND_OVER, 0.0)
    assert schedule.due(0.1) == []
    assert schedule.due(0.2) == [Chore.CHILDREN, Chore.HAND_OVER]


def test_a_store_that_stays_away_is_asked_ever_more_rarely() -> None:
    schedule = at_zero()
    now, delays = 0.0, []
    for _ in range(6):
        schedule.store_failed(Chore.LOOK, now)
        delays.append(round(schedule.wakes_at() - now, 3))
        now = schedule.wakes_at()
    assert delays == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    schedule.store_answered()
    assert not schedule.is_away
