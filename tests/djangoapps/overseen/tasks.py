"""Tasks of Django's, with what django-overseer adds to them."""

from __future__ import annotations

from pathlib import Path

import overseer
from django.tasks import task


@task
def add(a: int, b: int) -> int:
    return a + b


@overseer.task(retries=2, backoff="constant", backoff_base=0.1, retry_on=(ValueError,))
def fail_at_first(path: str) -> str:
    if not Path(path).exists():
        Path(path).touch()
        raise ValueError("not yet")
    return "at last"


@overseer.task(retries=1, backoff="constant", backoff_base=0)
def fail() -> None:
    raise LookupError("never")


@overseer.task(unique=True)
def only_once(value: int) -> int:
    return value


@overseer.schedule(every=3600, name="hourly")
@task
def clean_up() -> str:
    return "clean"
