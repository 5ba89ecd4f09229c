"""Background jobs with pytest-django and the fixtures: run by pytest in a process of its own."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from gearmanny.contrib.django import client
from gearmanny.contrib.django.models import JobRecord
from tests.djangoapps.recorded.workers import Recorded
from tests.support.servers import until


@pytest.fixture
def gearman_django() -> bool:
    return True


def test_a_call_without_a_database(gearman_eager: Any) -> None:
    gearman_eager(Recorded)
    assert "recorded_write" in client.recorded_help()


@pytest.mark.django_db
def test_eager_jobs_run_when_commit_hooks_are_executed(
    gearman_eager: Any, gearman_outbox: Any, django_capture_on_commit_callbacks: Any
) -> None:
    gearman_eager(Recorded)
    with django_capture_on_commit_callbacks(execute=True):
        client.using(background=True).recorded_write(name="a")
        assert not Group.objects.exists()
        assert gearman_outbox == []
    assert Group.objects.get().name == "a"
    assert gearman_outbox[0].arguments == {"name": "a"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["plain", "atomic"])
def test_a_live_worker_runs_what_is_committed(gearman_worker: Any, kind: str) -> None:
    gearman_worker(Recorded)
    with transaction.atomic():
        group = Group.objects.create(name="a")
        if kind == "plain":
            work = client.using(background=True).recorded_read(id=group.id)
        else:
            work = client.using(background=True).recorded_write_and_fail(name="b", fails=False)
        assert JobRecord.objects.get(id=work.id).state == "queued"
    until(lambda: JobRecord.objects.get(id=work.id).finished is not None, "the end of the job")
    record = JobRecord.objects.get(id=work.id)
    assert (record.state, record.error) == ("succeeded", None)
