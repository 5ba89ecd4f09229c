"""Recorded jobs outlive everything that can be killed."""

from __future__ import annotations

import pytest

from chaos.durable import KINDS, run
from tests.support.servers import find_program


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_no_recorded_job_is_lost_or_stuck_whatever_is_killed(database: str) -> None:
    if database == "postgresql":
        find_program("postgres", "postgresql")
    report = run(database, jobs=120, kills=len(KINDS), seed=11)
    assert report.is_sound, report
    assert 0 < report.committed <= 60
    assert sum(report.kills.values()) == len(KINDS)
