"""The table in shared memory that names the jobs of a process."""

from __future__ import annotations

import os
import signal

from gearmanny.working.jobtable import JobTable, RunningJob


def test_jobs_are_named_from_their_begin_to_their_end() -> None:
    table = JobTable()
    first = table.begin(b"one:4730", b"shop_pay", b"H:one:1", b"key")
    second = table.begin(b"one:4730", b"shop_mail", b"H:one:2", b"")
    assert table.running() == [
        RunningJob("one:4730", "shop_pay", "H:one:1", "key"),
        RunningJob("one:4730", "shop_mail", "H:one:2", ""),
    ]
    table.end(first)
    assert [job.handle for job in table.running()] == ["H:one:2"]
    assert not table.is_empty()
    table.end(second)
    assert table.running() == []
    assert table.is_empty()
    table.close()


def test_rows_are_used_again_and_hold_nothing_of_the_job_before() -> None:
    table = JobTable()
    for number in range(1000):
        row = table.begin(b"host", b"f" * (number % 50 + 1), b"H:%d" % number, b"")
        [job] = table.running()
        assert (job.handle, len(job.function)) == (f"H:{number}", number % 50 + 1)
        table.end(row)


def test_more_jobs_than_rows_are_run_without_a_name() -> None:
    table = JobTable()
    rows = [table.begin(b"host", b"f", b"H:%d" % number, b"") for number in range(300)]
    assert rows[-1] is None
    assert len(table.running()) == 256
    for row in rows:
        table.end(row)
    assert table.running() == []
    assert table.begin(b"host", b"f", b"H:again", b"") is not None


def test_what_is_long_or_not_utf_8_is_named_as_far_as_that_goes() -> None:
    table = JobTable()
    table.begin(b"h" * 5000, b"\xff" * 512, b"H:1", b"u" * 5000)
    [job] = table.running()
    assert job == ("h" * 240, "\\xff" * 240, "H:1", "u" * 240)


def test_a_parent_reads_what_a_killed_child_was_running() -> None:
    table = JobTable()
    child = os.fork()
    if not child:
        table.begin(b"host", b"f", b"H:1", b"")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [job.function for job in table.running()] == ["f"]


def test_a_failure_is_noted_beside_the_jobs() -> None:
    table = JobTable()
    assert not table.has_failure
    rows = [table.begin(b"host", b"f", b"H:%d" % number, b"") for number in range(256)]
    table.note_failure()
    assert table.has_failure
    assert len(table.running()) == len(rows)
    table.close()
