"""`@task(…)`: what it says of a method, and what it refuses."""

from __future__ import annotations

import functools
import math
from datetime import timedelta
from typing import Any

import pytest

from gearmanny.errors import InvalidArguments, InvalidOption, InvalidTask, TaskTimeLimitExceeded
from gearmanny.schedules.timetable import Planned, Timetable
from gearmanny.tasks.finding import find_tasks
from gearmanny.tasks.options import TaskOptions, task
from gearmanny.tasks.spec import help_table


def options_of(worker: type) -> dict[str, TaskOptions]:
    return {spec.method: spec.options for spec in find_tasks(worker)}


class Limited:
    name = "limited"
    timeout = 60

    @task(timeout=5, retries=3, retry_on=OSError)
    def task_fetch(self, url: str) -> str:
        """Fetches"""
        return url

    @task(timeout=None)
    def task_wait(self) -> None: ...

    @task(retries=1)
    def task_try(self) -> None: ...

    def task_plain(self) -> None: ...


def test_a_task_has_its_own_limit_or_that_of_its_class() -> None:
    limits = {method: options.limit for method, options in options_of(Limited).items()}
    assert limits == {"task_fetch": 5, "task_wait": None, "task_try": 60, "task_plain": 60}


def test_a_decorated_method_is_the_method() -> None:
    def task_add(self: object, a: int) -> int:
        return a

    assert task(timeout=1)(task_add) is task_add
    assert Limited().task_fetch("x") == "x"


def test_an_override_has_options_of_its_own() -> None:
    class Sub(Limited):
        timeout = 7

        def task_fetch(self, url: str) -> str:
            return super().task_fetch(url)

    assert options_of(Sub)["task_fetch"] == TaskOptions(timeout=7)
    assert options_of(Sub)["task_try"].limit == 7


def test_other_decorators_and_kinds_of_methods_keep_the_options() -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    class Mixed:
        name = "mixed"

        @logged
        @task(timeout=1)
        def task_under(self) -> None: ...

        @task(timeout=1)
        @logged
        def task_over(self) -> None: ...

        @task(timeout=1)
        @staticmethod
        def task_static() -> None: ...

        @classmethod
        @task(timeout=1)
        def task_class(cls) -> None: ...

        @logged
        @task(timeout=1)
        def other_under(self) -> None: ...

        @task(timeout=1)
        @staticmethod
        def other_static() -> None: ...

        @classmethod
        @task(timeout=1)
        def other_class(cls) -> None: ...

    assert [options.limit for options in options_of(Mixed).values()] == [1] * 7


def test_the_help_table_tells_of_limits_and_retries() -> None:
    table = help_table(find_tasks(Limited))
    assert (table["limited_fetch"]["timeout"], table["limited_fetch"]["retries"]) == (5, 3)
    assert set(table["limited_plain"]) == {"description", "input", "timeout", "returns"}
    assert set(table["limited_wait"]) == {"description", "input", "returns"}


@pytest.mark.parametrize(
    "options",
    [
        *({"timeout": value} for value in (0, -1, "5", True, math.nan, math.inf)),
        *({"retries": value} for value in (-1, 1.5, True, None, "3")),
        *(
            {"retries": 1, "retry_on": value}
            for value in ((), OSError(), "OSError", (OSError, int), KeyboardInterrupt, [OSError])
        ),
        *({"retries": 1, "backoff": value} for value in (-1, "1", None, math.inf, True)),
        {"retry_on": OSError},
        {"backoff": 3},
    ],
    ids=str,
)
def test_nonsense_is_refused_where_it_is_written(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        task(**options)


def test_a_method_is_decorated_once() -> None:
    def twice(self: object) -> None: ...

    task(timeout=1)(twice)
    with pytest.raises(InvalidTask, match="twice is decorated twice"):
        task(retries=1)(twice)
    with pytest.raises(InvalidTask, match="twice is decorated twice"):
        task(twice)


def test_only_methods_that_others_may_call_are_made_tasks() -> None:
    def _private(self: object) -> None: ...

    with pytest.raises(InvalidTask, match="_private cannot be a task: its name is private"):
        task(_private)
    with pytest.raises(InvalidTask, match="must decorate a method, not 5"):
        task(5)  # type: ignore[call-overload]
    with pytest.raises(InvalidTask, match="must decorate a method, not <property"):
        task(timeout=1)(property(lambda self: 5))  # type: ignore[type-var]


@pytest.mark.parametrize("attribute", ["timeout", "timeout_grace"])
def test_the_limits_of_a_class_are_checked(attribute: str) -> None:
    with pytest.raises(InvalidOption, match=rf"Bad\.{attribute} must be a number of seconds"):
        find_tasks(type("Bad", (), {"name": "bad", attribute: "soon"}))


def test_it_is_tried_again_as_often_and_after_what_was_said() -> None:
    options = TaskOptions(retries=2, retry_on=(OSError, TypeError))
    assert [options.retries_after(attempt, OSError()) for attempt in (1, 2, 3)] == [
        True,
        True,
        False,
    ]
    assert options.retries_after(1, ConnectionError())
    assert not options.retries_after(1, ValueError())
    assert not options.retries_after(1, InvalidArguments("also a TypeError"))


def test_a_limit_is_a_reason_to_try_again_only_when_it_is_named() -> None:
    error = TaskTimeLimitExceeded("f", 1.0)
    assert not TaskOptions(retries=1).retries_after(1, error)
    assert TaskOptions(retries=1, retry_on=(TaskTimeLimitExceeded,)).retries_after(1, error)


def test_delays_grow_to_a_minute_with_jitter() -> None:
    options = TaskOptions(retries=9, backoff=2.0)
    for attempt, full in ((1, 2.0), (2, 4.0), (3, 8.0), (9, 60.0)):
        delays = {options.delay_after(attempt) for _ in range(20)}
        assert all(full / 2 <= delay <= full for delay in delays)
        assert len(delays) > 1
    assert TaskOptions(retries=1, backoff=0).delay_after(1) == 0
    assert TaskOptions(retries=1, backoff=600).delay_after(1) >= 300


def test_delays_may_be_computed() -> None:
    assert TaskOptions(retries=3, backoff=lambda attempt: attempt * 10).delay_after(3) == 30
    with pytest.raises(
        InvalidOption,
        match=r"The backoff after attempt 2 must be a number of seconds, 0 or more, not None",
    ):
        TaskOptions(retries=3, backoff=lambda attempt: None).delay_after(2)  # type: ignore


def test_the_help_table_says_that_a_task_is_cached() -> None:
    assert TaskOptions(cached=True).help() == {"cached": True}


def test_the_help_table_says_that_a_task_is_atomic() -> None:
    assert TaskOptions(atomic=True).help() == {"atomic": True}
    assert TaskOptions().help() == {}


def test_a_task_may_have_a_schedule() -> None:
    class Reporting:
        name = "reports"

        @task(every=timedelta(minutes=5), args={"a": 1}, jitter=2)
        def report(self, a: int) -> None: ...

    options = options_of(Reporting)["report"]
    assert options.schedule == Planned(Timetable(every=300, jitter=2), {"a": 1})
    assert options.help() == {"schedule": {"every": 300.0, "jitter": 2}}


def test_a_schedule_is_checked_where_it_is_written() -> None:
    with pytest.raises(InvalidOption, match="cron must be five fields"):
        task(cron="every day")
    with pytest.raises(InvalidOption, match="jitter has no effect without every or cron"):
        task(jitter=5)
    with pytest.raises(TypeError, match=r"task\(\) got an unexpected keyword argument 'timout'"):
        task(timout=5)  # type: ignore[call-overload]
