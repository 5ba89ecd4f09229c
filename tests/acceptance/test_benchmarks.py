"""The benchmarks of durable jobs work: with small numbers, which say nothing about speed."""

from __future__ import annotations

import subprocess
import sys

from tests.support.servers import ROOT, find_program

LONGEST = 300
"""Seconds."""


PEERS = ["django-tasks-db", "Procrastinate", "django-q2", "Celery, prefork", "RQ, SimpleWorker"]

ROWS = [
    "done, `CONN_MAX_AGE` None",
    "done, `CONN_MAX_AGE` 0",
    "done, each writes a row in a transaction",
    "enqueued, one a transaction",
    "enqueued, 100 a transaction, one call for each",
    "enqueued, 100 a transaction, one call for all",
]


def test_each_part_has_figures_and_who_does_not_work_is_named() -> None:
    find_program("postgres", "postgresql")
    find_program("gearmand", "gearman-job-server")
    broken = find_program("false", "coreutils")

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.durable", broken, "0.001"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    figures = [row for row in rows if not any("failed" in cell for cell in row)]
    for row in (
        *([row, "gearmanny"] for row in ROWS),
        *([row, "gearmanny, prefetch 16"] for row in ROWS[:3]),
        ["`submit_many` of 100 jobs"],
        ["calls without a record, where both sides have a store beside where neither has"],
    ):
        assert row in [each[: len(row)] for each in figures]
    assert [row for row in rows if row not in figures and row[0] not in (*PEERS, *ROWS)] == []
    for peer in PEERS:
        assert [ROWS[0], peer] not in [row[:2] for row in figures]
        assert peer not in [row[0] for row in figures]
