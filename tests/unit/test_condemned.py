"""The jobs that are not run as others are, in memory that processes share."""

from __future__ import annotations

import os

from gearmanny.working.condemned import CondemnedJobs
from gearmanny.working.jobtable import RunningJob


def job(number: int, host: str = "one:4730", unique: str = "") -> RunningJob:
    return RunningJob(host, "f", f"H:{number}", unique)


def test_only_a_condemned_job_has_a_verdict() -> None:
    jobs = CondemnedJobs()
    assert not jobs
    assert jobs.verdict(job(1)) is None
    jobs.add(job(1), "exited with 1")
    assert jobs
    assert jobs.verdict(job(1)) == "exited with 1"
    assert jobs.verdict(job(1, host="two:4730")) is None
    assert jobs.verdict(job(1, unique="key")) is None, "handles are numbered anew by a restart"
    assert jobs.verdict(job(2)) is None
    jobs.close()


def test_the_last_verdict_on_a_job_counts() -> None:
    jobs = CondemnedJobs()
    for number in range(2000):
        jobs.add(job(number % 2), f"end {number}")
    assert [jobs.verdict(job(0)), jobs.verdict(job(1))] == ["end 1998", "end 1999"]


def test_the_last_ones_are_kept_when_there_are_very_many() -> None:
    jobs = CondemnedJobs()
    for number in range(1300):
        jobs.add(job(number), f"end {number}")
    assert jobs.verdict(job(1299)) == "end 1299"
    assert jobs.verdict(job(788)) == "end 788"
    assert jobs.verdict(job(787)) is None


def test_a_long_verdict_is_cut() -> None:
    jobs = CondemnedJobs()
    jobs.add(RunningJob("host", "\udcff", "H:1", ""), "é" * 1000)
    verdict = jobs.verdict(RunningJob("host", "\udcff", "H:1", ""))
    assert verdict is not None
    assert 240 < len(verdict) < 256


def test_a_process_that_was_forked_before_sees_what_is_added() -> None:
    jobs = CondemnedJobs()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.read(reader, 1)
        os._exit(0 if jobs.verdict(job(1)) == "was ended by SIGKILL" else 1)
    jobs.add(job(1), "was ended by SIGKILL")
    os.write(writer, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(reader)
    os.close(writer)
