"""Priorities of Django's tasks, on a gearmand and on our own job server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from gearmanny.admin import JobServer as Admin
from gearmanny.embedded import JobServer
from tests.acceptance.test_django_task_attempts import with_options
from tests.acceptance.test_django_tasks import entry, environment, run, tasks  # noqa: F401
from tests.support.servers import PATIENCE, Gearmand, Server, Start, until


@pytest.fixture(params=["gearmand", "embedded"])
def gearman_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Gearmand() if request.param == "gearmand" else JobServer() as server:
        yield server


@pytest.mark.parametrize("entry", ["sqlite"], indirect=True)
def test_the_order_of_tasks_that_wait(
    gearman_server: Server,
    run: Any,  # noqa: F811
    tasks: Any,  # noqa: F811
    environment: dict[str, str],  # noqa: F811
    start_command: Start,
    tmp_path: Path,
) -> None:
    path = tmp_path / "order"
    settings = {"TEST_TASKS": with_options(max_attempts=2, backoff=1.0)}
    first = run(**settings)
    priorities = {"low": -1, "high": 100, "normal": 0}
    retried = [
        tasks.note_order.using(priority=priority).enqueue(str(path), f"{name} retried", 2)
        for name, priority in priorities.items()
    ]

    def have_failed() -> bool:
        for result in retried:
            result.refresh()
        return all(result.errors for result in retried)

    until(have_failed, "the first attempts")
    first.terminate()
    assert first.wait(PATIENCE) == 0
    due = timezone.now() + timedelta(seconds=0.2)
    for name, priority in priorities.items():
        later = tasks.note_order.using(priority=priority, run_after=due)
        later.enqueue(str(path), f"{name} later", 1)
        mail = tasks.note_order.using(priority=priority, queue_name="mail")
        mail.enqueue(str(path), f"{name} mail", 1)
    dispatcher = start_command("gearmanny", "dispatch", **{**environment, **settings})

    def are_waiting() -> bool:
        rows = {row.function: row.total for row in Admin(gearman_server.host).status()}
        return (rows.get("tasks_default"), rows.get("tasks_mail")) == (6, 3)

    until(are_waiting, "all jobs at the job server")
    dispatcher.terminate()
    assert dispatcher.wait(PATIENCE) == 0
    run("--no-dispatch", **settings)
    until(lambda: path.exists() and path.read_text().count("\n") == 9, "all tasks")
    noted = [line.split() for line in path.read_text().splitlines()]
    of_default = [level for level, kind in noted if kind != "mail"]
    of_mail = [level for level, kind in noted if kind == "mail"]
    assert of_default == ["high", "high", "normal", "normal", "low", "low"]
    assert of_mail == ["high", "normal", "low"]
    traps = {trap.name for trap in Admin(gearman_server.host).traps()}
    if isinstance(gearman_server, Gearmand) and "priority_per_function" in traps:
        assert [kind for _, kind in noted][:3] == ["mail"] * 3  # the last queue by its name
    else:
        assert [level for level, _ in noted] == ["high"] * 3 + ["normal"] * 3 + ["low"] * 3
