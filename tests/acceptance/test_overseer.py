"""django-overseer, which looks after the tasks of any backend by their signals, over ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.servers import PATIENCE, ROOT, Server, end, until, workers_of
from tools.postgres import Postgres
from tools.taskpeers import OURS, QUEUES, environment


def test_it_retries_schedules_and_records_our_tasks(
    postgres: Postgres, gearman_server: Server, tmp_path: Path
) -> None:
    with postgres.database("overseer") as entry:
        settings = {
            "DATABASES": {"default": entry},
            "GEARMANNY": {"HOSTS": [gearman_server.host], "RECORDS": {"STORE": "database"}},
            "INSTALLED_APPS": [
                "django.contrib.auth",
                "django.contrib.contenttypes",
                "gearmanny.contrib.django",
                "overseer",
                "tests.djangoapps.overseen",
            ],
            "TASKS": {"default": {"BACKEND": OURS.backend, "QUEUES": QUEUES}},
        }

        def start(*arguments: str) -> subprocess.Popen[str]:
            return subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env=environment(settings),
                stdout=subprocess.PIPE,
                text=True,
            )

        migrate = start("django", "migrate", "-v0", "--skip-checks")
        migrate.communicate(timeout=PATIENCE * 2)
        assert migrate.returncode == 0
        worker = start("django", "runworkers", "-v0")
        try:
            until(lambda: workers_of(gearman_server, "tasks_default"), "the worker")
            scenario = start("tests.djangoapps.overseen.scenario", str(tmp_path / "failed"))
            printed, _ = scenario.communicate(timeout=PATIENCE * 3)
        finally:
            end(worker)
    error = ["FAILED", "builtins.LookupError", None]
    assert json.loads(printed.splitlines()[-1]) == {
        "add": ["SUCCEEDED", [["SUCCESSFUL", "", 3]]],
        "clean_up": ["SUCCEEDED", [["SUCCESSFUL", "", "clean"]]],
        "fail": ["FAILED", [error, error, error]],
        "fail_at_first": [
            "SUCCEEDED",
            [["FAILED", "builtins.ValueError", None], ["SUCCESSFUL", "", "at last"]],
        ],
        "only_once": ["SUCCEEDED", [["SUCCESSFUL", "", 7]]],
        "worker": [8, 4],
    }
