"""Which jobs are condemned, after how many deaths of processes."""

from __future__ import annotations

from gearmanny.running.deaths import ALONE, Deaths
from gearmanny.working.jobtable import RunningJob


def job(number: int) -> RunningJob:
    return RunningJob("host", "f", f"H:{number}", "")


def test_a_job_is_condemned_by_the_death_that_is_too_many() -> None:
    deaths = Deaths(3)
    assert deaths.judge([job(1)], "was ended by SIGSEGV") == {}
    assert deaths.judge([job(1)], "exited with 1") == {}
    assert deaths.judge([job(1)], "was ended by SIGSEGV") == {
        job(1): "was ended by SIGSEGV (2 times), exited with 1"
    }


def test_each_job_has_a_count_of_its_own() -> None:
    deaths = Deaths(2)
    assert deaths.judge([job(1)], "exited with 1") == {}
    assert deaths.judge([job(2)], "exited with 1") == {}
    assert deaths.judge([job(2)], "exited with 1") == {job(2): "exited with 1 (2 times)"}


def test_jobs_that_were_not_alone_are_to_be_and_none_is_charged() -> None:
    deaths = Deaths(1)
    for _ in range(3):
        assert deaths.judge([job(1), job(2)], "exited with 1") == {job(1): ALONE, job(2): ALONE}
    assert deaths.judge([job(2)], "exited with 1") == {job(2): "exited with 1"}


def test_a_job_that_was_condemned_is_counted_anew() -> None:
    deaths = Deaths(1)
    assert list(deaths.judge([job(1)], "exited with 1")) == [job(1)]
    assert list(deaths.judge([job(1)], "exited with 1")) == [job(1)]


def test_jobs_with_a_record_are_counted_there() -> None:
    unique = "j:0123abcd:018f0000000070008000000000000000.1"
    recorded = RunningJob("host", "f", "H:9", unique)
    deaths = Deaths(1)
    assert deaths.judge([recorded], "exited with 1") == {}
    assert deaths.judge([recorded, job(1)], "exited with 1") == {job(1): ALONE}


def test_an_end_that_no_job_explains_charges_none() -> None:
    assert Deaths(1).judge([], "exited with 1") == {}


def test_without_a_limit_no_job_is_condemned() -> None:
    deaths = Deaths(None)
    assert not any(deaths.judge([job(1)], "exited with 1") for _ in range(100))
    assert deaths.judge([job(1), job(2)], "exited with 1") == {}


def test_the_oldest_are_forgotten() -> None:
    deaths = Deaths(2)
    for number in range(1500):
        deaths.judge([job(number)], "exited with 1")
    assert deaths.judge([job(0)], "exited with 1") == {}
    assert list(deaths.judge([job(1499)], "exited with 1")) == [job(1499)]
