"""Django's decorator `task` and ours: who takes one for the other is told."""

from __future__ import annotations

from typing import Any

import pytest

from gearmanny.errors import InvalidTask
from gearmanny.tasks.finding import find_tasks
from gearmanny.worker import BaseWorker, task


class DjangosTask:
    """A task of Django's, as far as it is told apart."""

    __module__ = "django.tasks.base"

    def enqueue(self) -> None: ...

    def aenqueue(self) -> None: ...


class Derived(DjangosTask):
    """A task of a backend that has a class of its own."""


@pytest.mark.parametrize("attribute", ["task_send", "send"])
@pytest.mark.parametrize("kind", [DjangosTask, Derived])
def test_a_task_of_django_in_a_worker_is_refused(attribute: str, kind: type) -> None:
    worker = type("Mails", (BaseWorker,), {"name": "mails", attribute: kind()})
    with pytest.raises(InvalidTask, match=rf"Mails.{attribute} is decorated by the task of Django"):
        find_tasks(worker)


def test_other_attributes_of_django_are_not() -> None:
    other = type("Other", (), {"__module__": "django.db.models"})
    worker = type("Mails", (BaseWorker,), {"name": "mails", "form": other, "row": other()})
    assert find_tasks(worker) == []


@pytest.mark.parametrize("method", ["enqueue", "aenqueue"])
def test_a_task_of_ours_says_why_it_cannot_be_enqueued(method: str) -> None:
    @task
    def send(to: str) -> None:
        """Nothing is sent."""

    enqueue: Any = getattr(send, method)
    with pytest.raises(InvalidTask, match=r"send\(\) is decorated by gearmanny\.worker\.task"):
        enqueue(to="a")
