"""A worker whose jobs are reported, in the file that the environment names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.db import connection
from django.dispatch import Signal, receiver
from django.utils import timezone, translation

from gearmanny.contrib.django.signals import job_failed, job_started, job_succeeded
from gearmanny.worker import BaseWorker, task

NAMES: dict[Signal, str] = {
    job_started: "started",
    job_succeeded: "succeeded",
    job_failed: "failed",
}


@receiver(list(NAMES))
def note(signal: Signal, sender: type, job: Any, **about: Any) -> None:
    with connection.cursor() as cursor:  # not allowed in the thread of an event loop
        cursor.execute("SELECT 7")
    line = [NAMES[signal], sender.__name__, job.function, str(job.attempt)]
    line += [f"{name}={value!r}" for name, value in sorted(about.items())]
    with Path(os.environ["TEST_REPORTS"]).open("a") as file:
        file.write(f"{' '.join(line)}\n")


@receiver(list(NAMES))
def fail(**about: Any) -> None:
    if "TEST_RECEIVER_FAILS" in os.environ:
        raise ValueError("of a receiver")


class Signalled(BaseWorker):
    name = "signalled"

    def task_echo(self, value: Any) -> Any:
        return value

    async def task_echo_later(self, value: Any) -> Any:
        return value

    @task(retries=1, backoff=0)
    def task_fail(self) -> None:
        raise ValueError("no luck")

    @task(retries=1, backoff=0)
    async def task_fail_later(self) -> None:
        raise ValueError("no luck")

    def task_locale(self) -> list[Any]:
        return [translation.get_language(), timezone.get_current_timezone_name()]

    async def task_locale_later(self) -> list[Any]:
        return [translation.get_language(), timezone.get_current_timezone_name()]
