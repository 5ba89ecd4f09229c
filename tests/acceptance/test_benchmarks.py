"""The benchmarks of durable jobs work: with small numbers, which say nothing about speed."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.servers import ROOT, find_program

LONGEST = 300
"""Seconds."""


def test_each_part_of_the_durable_benchmark_has_figures() -> None:
    find_program("postgres", "postgresql")
    find_program("gearmand", "gearman-job-server")

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.durable", "", "0.001"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    rows = [line.split(" | ") for line in done.stdout.splitlines() if re.search(r"\d", line)]
    figures = {row[0].removeprefix("| ") for row in rows if len(row) > 1}
    for row in (
        "done, `CONN_MAX_AGE` None",
        "done, `CONN_MAX_AGE` 0",
        "done, each writes a row in a transaction",
        "enqueued, one a transaction",
        "enqueued, 100 a transaction, one call for all",
        "`submit_many` of 100 jobs",
    ):
        assert row in figures
