"""Enqueues the tasks, waits for them, and prints what django-overseer says of them."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from django.utils import timezone  # noqa: E402
from overseer.models import Job, Schedule, Worker  # noqa: E402
from overseer.retry import retry_job  # noqa: E402

from tests.djangoapps.overseen import tasks  # noqa: E402


def wait_for_all() -> None:
    deadline = time.monotonic() + 20
    while Job.objects.filter(finished_at=None).exists():
        assert time.monotonic() < deadline, list(Job.objects.values())
        time.sleep(0.02)


def state_of(job: Any) -> list[Any]:
    runs = job.runs.order_by("attempt")
    return [
        str(job.status),
        [[str(run.status), run.exception_class, run.return_value] for run in runs],
    ]


tasks.add.enqueue(1, b=2)
tasks.fail_at_first.enqueue(sys.argv[1])
tasks.fail.enqueue()
with transaction.atomic():
    first = tasks.only_once.enqueue(7)
    assert tasks.only_once.enqueue(7).id == first.id
call_command("overseer_sync_schedules", verbosity=0)
Schedule.objects.update(next_run_at=timezone.now())
call_command("overseer_scheduler", "--once", verbosity=0)
wait_for_all()
retry_job(Job.objects.get(task_name="fail"))
wait_for_all()
found = {job.task_name: state_of(job) for job in Job.objects.all()}
worker = Worker.objects.get()
found["worker"] = [worker.tasks_processed, worker.tasks_failed]
sys.stdout.write(json.dumps(found) + "\n")
