"""Background jobs in a persistent queue outlive the job server and the workers."""

from __future__ import annotations

from chaos.durability import run


def test_no_background_job_is_lost_when_gearmand_and_workers_are_killed() -> None:
    report = run(200)
    assert (report.done, report.lost) == (200, 0)
    assert report.waiting_when_killed > 0
    assert report.workers_killed > 0
