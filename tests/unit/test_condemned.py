"""The jobs that are not run again, in memory that processes share."""

from __future__ import annotations

import os

from gearmanny.working.condemned import CondemnedJobs


def test_only_a_condemned_job_has_a_reason() -> None:
    jobs = CondemnedJobs()
    assert jobs.reason("one:4730", "H:1") is None
    jobs.add("one:4730", "H:1", "exited with 1")
    assert jobs.reason("one:4730", "H:1") == "exited with 1"
    assert jobs.reason("two:4730", "H:1") is None
    assert jobs.reason("one:4730", "H:2") is None
    jobs.close()


def test_the_last_ones_are_kept_when_there_are_very_many() -> None:
    jobs = CondemnedJobs()
    for number in range(300):
        jobs.add("host", f"H:{number}", f"end {number}")
    assert jobs.reason("host", "H:299") == "end 299"
    assert jobs.reason("host", "H:172") == "end 172"
    assert jobs.reason("host", "H:171") is None


def test_a_long_reason_is_cut() -> None:
    jobs = CondemnedJobs()
    jobs.add("host", "\udcff", "é" * 1000)
    reason = jobs.reason("host", "\udcff")
    assert reason is not None
    assert 240 < len(reason) < 256


def test_a_process_that_was_forked_before_sees_what_is_added() -> None:
    jobs = CondemnedJobs()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.read(reader, 1)
        os._exit(0 if jobs.reason("host", "H:1") == "was ended by SIGKILL" else 1)
    jobs.add("host", "H:1", "was ended by SIGKILL")
    os.write(writer, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(reader)
    os.close(writer)
