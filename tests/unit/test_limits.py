"""Limits of tasks: how they are written, and whether there is room within them."""

from __future__ import annotations

from typing import Any

import pytest

from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.records.limits import Limits, Use, keyed
from gearmanny.records.sql import SQLStore
from gearmanny.records.values import Refusal, Refused
from gearmanny.tasks.finding import find_tasks
from gearmanny.worker import BaseWorker, task
from gearmanny.working.decisions import LookAgain, Skip, after_claim
from gearmanny.workrunner import WorkRunner


def test_names_tell_functions_and_keys_apart() -> None:
    limits = Limits(key="customer")
    names = [
        Limits().limit("f", "{}").name,
        limits.limit("f", '{"customer": 1}').name,
        limits.limit("f", '{"customer": "1"}').name,
        limits.limit("g", '{"customer": 1}').name,
        limits.limit("f", '{"customer": "%s"}' % ("x" * 1000)).name,
        limits.limit("f", '{"customer": "%s"}' % ("y" * 1000)).name,
        limits.limit("f", "[]").name,
    ]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 100
    same = {limits.limit("f", text).name for text in ("{}", '{"customer": null}', "?", b"\xff")}
    assert len(same) == 1


def test_who_leaves_the_key_out_has_that_of_the_default() -> None:
    limits = Limits(key="customer", default=7)
    left_out, given, null = (
        limits.limit("f", text).name for text in ("{}", '{"customer": 7}', '{"customer": null}')
    )
    assert left_out == given != null


def test_what_is_nested_too_deeply_has_the_key_null() -> None:
    limits = Limits(key="customer")
    deep = '{"customer": %s}' % ("[" * 100_000 + "]" * 100_000)
    assert limits.limit("f", deep).name == limits.limit("f", "{}").name
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert keyed("f", nested) == keyed("f", None)


def use(**values: Any) -> Use:
    return Use(
        **{"max_running": None, "every": None, "wait": 0, "running": 0, "released": 0, **values}
    )


@pytest.mark.parametrize(
    ("used", "fresh", "released"),
    [
        (use(running=1000), True, True),
        (use(max_running=2, running=1), True, True),
        (use(max_running=2, running=2), False, False),
        (use(max_running=2, running=1, released=1), False, True),
        (use(every=1), True, True),
        (use(every=1, wait=0.05), True, True),
        (use(every=1, wait=0.5), False, False),
        (use(every=1, released=1), False, True),
        (use(every=1, max_running=1, running=1), False, False),
    ],
)
def test_a_job_that_was_released_goes_before_others(used: Use, fresh: bool, released: bool) -> None:
    assert used.has_room(was_released=False, others_are_held=False) is fresh
    assert used.has_room(was_released=True, others_are_held=True) is released
    assert not used.has_room(was_released=False, others_are_held=True)


@pytest.mark.parametrize(
    ("used", "room"),
    [
        (use(), 1000),
        (use(max_running=5, running=2, released=1), 2),
        (use(max_running=1, running=2), 0),
        (use(every=6.0, wait=5.0), 0),
        (use(every=6.0, wait=0.05), 1),
        (use(every=6.0, wait=-100.0), 1),
        (use(every=0.01, wait=-100.0), 11),
        (use(every=0.01, wait=-100.0, released=4), 7),
        (use(every=0.01, wait=0.0, max_running=3), 3),
    ],
)
def test_as_many_are_released_as_there_is_room_for(used: Use, room: int) -> None:
    assert used.room == room


@pytest.mark.parametrize(
    ("used", "seconds"),
    [
        (use(max_running=1, running=1), 0.1),
        (use(max_running=1, running=1, every=6, wait=5), 0.1),
        (use(every=6, wait=5), 1.0),
        (use(every=6, wait=0.5), 0.4),
        (use(every=6, wait=0), 0.05),
    ],
)
def test_nobody_looks_for_room_that_cannot_be_there(used: Use, seconds: float) -> None:
    assert used.look_after == pytest.approx(seconds)


def test_a_job_that_is_held_is_left_and_one_that_begins_soon_is_not() -> None:
    assert isinstance(after_claim(Refused(Refusal.LIMITED), 0), Skip)
    assert isinstance(after_claim(Refused(Refusal.SOON), 100), LookAgain)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_running": 0}, "max_running must be a whole number from 1 to 2147483647, or None"),
        ({"max_running": 2**31}, "max_running must be a whole number from 1 to 2147483647"),
        ({"rate": "often"}, "rate must be a rate"),
        ({"max_running": 1, "limit_key": "a b"}, "limit_key must be the name of an argument"),
        ({"limit_key": "customer"}, "limit_key has no effect without a limit"),
    ],
)
def test_limits_are_checked_when_they_are_written(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        task(**options)


class Limited(BaseWorker):
    name = "limited"

    @task(max_running=2, rate="10/m", limit_key="customer")
    def task_bill(self, customer: int) -> None: ...


def test_the_help_says_them() -> None:
    (spec,) = find_tasks(Limited)
    assert spec.options.help() == {"max_running": 2, "rate": "10/m", "limit_key": "customer"}


def test_a_key_is_an_argument_of_the_task() -> None:
    class Wrong(BaseWorker):
        name = "wrong"

        @task(max_running=2, limit_key="client")
        def task_bill(self, customer: int) -> None: ...

    with pytest.raises(InvalidTask, match="limit_key='client', and no such argument"):
        find_tasks(Wrong)


def test_without_records_a_worker_with_limits_does_not_start() -> None:
    with pytest.raises(InvalidOption, match=r"limited_bill\(\) has max_running or rate, and its"):
        WorkRunner([Limited])
    with pytest.raises(InvalidOption, match="no store of records"):
        Limited(["127.0.0.1:1"]).start()
    WorkRunner([Limited], records=SQLStore("sqlite:///unused.db"))
