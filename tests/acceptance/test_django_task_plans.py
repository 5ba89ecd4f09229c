"""Limits and schedules of Django's tasks."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from gearmanny.contrib.django import client
from gearmanny.contrib.django.compat import TaskResultStatus, task_backends
from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.taskworker import worker_of_tasks
from gearmanny.errors import InvalidOption
from tests.acceptance.test_django_records import ALIAS
from tests.acceptance.test_django_task_attempts import MODULE, with_options
from tests.acceptance.test_django_tasks import TASKS, ended, entry, environment, run, tasks  # noqa: F401
from tests.support.servers import PATIENCE, Start, until

ECHO = f"{MODULE}.echo"


def test_a_task_is_called_by_itself(run: Any, tasks: Any) -> None:  # noqa: F811
    plan = {"every": {"seconds": 1}, "args": {"kind": ["short"]}}
    run(TEST_TASKS=with_options(tasks={ECHO: plan}))
    until(lambda: JobRecord.objects.filter(state="succeeded").count() >= 2, "two ticks")
    for record in JobRecord.objects.filter(state="succeeded"):
        result = tasks.echo.get_result(str(record.id))
        assert result.return_value == [[], {"kind": ["short"]}]
        assert result.enqueued_at <= result.started_at
    schedule = client.schedules.get(ECHO)
    assert (schedule.function, schedule.offered) == ("tasks_default", True)
    client.schedules.pause(ECHO)
    id = client.schedules.run(ECHO)
    assert ended(tasks.echo.get_result(id)).status == TaskResultStatus.SUCCESSFUL
    client.schedules.add("mine", "tasks_default", every=timedelta(days=1))
    assert client.schedules.get("mine").offered


# Not on SQLite: a transaction that has read cannot write any more once workers have written.
@pytest.mark.parametrize("entry", ["postgresql"], indirect=True)
def test_one_task_runs_at_a_time(run: Any, tasks: Any, tmp_path: Path) -> None:  # noqa: F811
    one = {"max_running": 1, "limit_key": "who"}
    run("--threads", "3", TEST_TASKS=with_options(tasks={f"{MODULE}.run_alone": one}))
    mail = tasks.run_alone.using(queue_name="mail")
    with transaction.atomic(using=ALIAS):
        results = [
            *(tasks.run_alone.enqueue(str(tmp_path), "ada") for _ in range(4)),
            *(mail.enqueue(str(tmp_path), who="ada") for _ in range(4)),
            *(tasks.run_alone.enqueue(str(tmp_path), who="bob") for _ in range(2)),
            tasks.run_alone.enqueue(str(tmp_path)),
        ]
    assert [ended(result).return_value for result in results] == [
        *["ada"] * 8,
        *["bob"] * 2,
        "anybody",
    ]
    ended(tasks.echo.enqueue())
    names = JobRecord.objects.values_list("limited", flat=True).distinct()
    assert set(names) == {
        *(f'task {MODULE}.run_alone "{who}"' for who in ("ada", "bob", "anybody")),
        None,
    }


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({ECHO: {"limit_key": "x", "rate": "1/s"}}, "has limit_key='x', and no such argument"),
        ({f"{MODULE}.fail": {"every": {"seconds": 1}, "args": {"a": 1}}}, "has wrong args"),
        ({f"{MODULE}.nowhere": {}}, f"there is no task {MODULE}.nowhere"),
    ],
)
@pytest.mark.parametrize("entry", ["sqlite"], indirect=True)
def test_no_worker_starts_with_options_that_the_tasks_contradict(
    tasks: Any,  # noqa: F811
    start_command: Start,
    tmp_path: Path,
    options: Any,
    problem: str,
) -> None:
    process = start_command(
        "runworkers",
        TEST_APP="tests.djangoapps.tasking",
        TEST_TASKS=with_options(tasks=options),
        TEST_RECORDS=json.dumps({"STORE": "database"}),
    )
    assert process.wait(PATIENCE) == 1
    assert problem in (tmp_path / "stderr").read_text()


@pytest.mark.parametrize("entry", ["sqlite"], indirect=True)
def test_without_records_there_are_none(tasks: Any) -> None:  # noqa: F811
    limited = {"default": {**TASKS["default"], "OPTIONS": {"tasks": {ECHO: {"rate": "1/s"}}}}}
    with override_settings(TASKS=limited, GEARMANNY={}):
        assert task_backends["default"].supports_get_result is False
        worker = worker_of_tasks()
        assert worker is not None
        with pytest.raises(InvalidOption, match="need GEARMANNY"):
            worker()
