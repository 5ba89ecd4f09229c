"""Which jobs got lost on their way to a worker."""

from __future__ import annotations

import math

from gearmanny.dispatching.losses import (
    CONFIRMED_FOR,
    LOOK_AFTER,
    MERCY,
    MISSING_FOR,
    Losses,
    Verdict,
)
from gearmanny.records.values import HandedOver

JOB = HandedOver("1", "f", 1, 0, "")


def losses(random: float = 0.0) -> Losses:
    return Losses(random=lambda: random)


def test_a_job_that_a_job_server_has_is_confirmed() -> None:
    assert losses().judge(JOB, 0.0, is_known=True) is Verdict.CONFIRM


def test_a_job_is_lost_when_it_is_missing_twice() -> None:
    known = losses()
    assert known.age(0.0) == LOOK_AFTER
    assert known.judge(JOB, 0.0, is_known=False) is Verdict.WAIT
    assert known.judge(JOB, MISSING_FOR / 2, is_known=False) is Verdict.WAIT
    assert known.judge(JOB, MISSING_FOR, is_known=False) is Verdict.AGAIN
    assert known.judge(JOB, MISSING_FOR, is_known=False) is Verdict.WAIT


def test_a_job_that_arrives_late_is_not_lost() -> None:
    known = losses()
    known.judge(JOB, 0.0, is_known=False)
    known.judge(JOB, 0.5, is_known=True)
    assert known.judge(JOB, 9.0, is_known=False) is Verdict.WAIT


def test_the_next_hand_over_is_another_one() -> None:
    known = losses()
    known.judge(JOB, 0.0, is_known=False)
    assert known.judge(JOB._replace(number=2), 9.0, is_known=False) is Verdict.WAIT


def test_not_every_missing_job_is_remembered() -> None:
    known = losses()
    known.judge(JOB, 0.0, is_known=False)
    for number in range(1000):
        known.judge(JOB._replace(id=f"other {number}"), 0.0, is_known=False)
    assert known.judge(JOB, 9.0, is_known=False) is Verdict.WAIT


def test_after_a_job_server_came_back_all_that_was_handed_over_before_is_in_doubt() -> None:
    known = losses(random=0.5)
    assert known.doubt_begins == math.inf
    known.server_went(0.0)
    known.server_came(1.0)
    assert known.is_settling(1.0)
    assert not known.is_in_doubt(1.0)
    assert known.doubt_begins == 1.25
    assert known.is_in_doubt(1.25)
    assert not known.is_settling(1.25)
    # A job that was confirmed at the last moment before.
    assert known.age(2.25) == 1.0 - CONFIRMED_FOR
    assert known.judge(JOB, 2.25, is_known=False) is Verdict.AGAIN
    known.none_left(3.0)
    assert not known.is_in_doubt(3.0)
    assert known.judge(JOB, 3.0, is_known=False) is Verdict.WAIT


def test_a_job_that_workers_refuse_at_once_is_not_handed_over_in_a_circle() -> None:
    known = losses()
    known.server_came(0.0)
    assert known.judge(JOB, 0.0, is_known=False) is Verdict.AGAIN
    again = JOB._replace(number=2)
    assert known.judge(again, 0.0, is_known=False) is Verdict.WAIT
    assert known.judge(again, MISSING_FOR, is_known=False) is Verdict.AGAIN
    known.server_came(9.0)
    assert known.judge(again, 9.0, is_known=False) is Verdict.AGAIN


def test_no_doubt_lasts() -> None:
    known = losses()
    known.server_came(0.0)
    assert known.is_in_doubt(CONFIRMED_FOR)
    assert not known.is_in_doubt(CONFIRMED_FOR + LOOK_AFTER)
    assert known.age(CONFIRMED_FOR + LOOK_AFTER) == LOOK_AFTER


def test_a_job_server_that_went_has_a_moment_to_come_back_before_others_get_its_jobs() -> None:
    known = losses()
    known.server_went(0.0)
    assert known.is_settling(0.0)
    known.none_left(1.0)
    known.server_went(1.0)  # another one
    assert known.doubt_begins == 2.0
    assert known.is_in_doubt(2.0)


def test_what_a_job_server_lost_before_it_was_met_is_in_doubt() -> None:
    known = losses(random=0.5)
    known.server_met(10.0)
    assert not known.counts(10.0)
    assert known.is_settling(12.0)  # others may be reached
    assert known.is_in_doubt(12.25)
    assert known.age(12.25) == -CONFIRMED_FOR
    assert known.judge(JOB, 12.25, is_known=False) is Verdict.AGAIN


def test_for_a_while_no_worker_is_to_blame() -> None:
    known = losses()
    assert known.counts(0.0)
    known.server_went(0.0)
    assert not known.counts(MERCY - 1)
    assert known.pause(MERCY - 1) == 0
    assert known.counts(MERCY)
    assert known.pause(MERCY) == CONFIRMED_FOR  # time for workers to be replaced
    known.server_came(MERCY)
    assert not known.counts(MERCY + 1)
