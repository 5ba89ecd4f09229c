"""Signals about jobs, and the language of their callers, in a Django project."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.dispatch import Signal
from django.test import override_settings
from django.utils import timezone, translation

from gearmanny.client import SimpleClient
from gearmanny.contrib.django import client as django_client
from gearmanny.contrib.django import locale
from gearmanny.contrib.django.signals import job_failed, job_started, job_succeeded
from gearmanny.contrib.django.testing import eager
from gearmanny.errors import TaskError
from gearmanny.records.sql import SQLStore
from gearmanny.worker import BaseWorker, task
from tests.support.servers import PATIENCE, Server, Start, until

HOOKS = ["hooks.healthy_connections", "locale.restored"]


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    path = tmp_path / "reports"
    path.touch()
    return path


@pytest.fixture
def recording(
    start_command: Start,
    start_runworkers: Start,
    reports: Path,
    tmp_path: Path,
    gearman_server: Server,
) -> Iterator[SimpleClient]:
    """A client whose background jobs are recorded, and run by `runworkers`."""
    environment = {
        "TEST_APP": "tests.djangoapps.signalled",
        "TEST_REPORTS": str(reports),
        "TEST_RECEIVER_FAILS": "1",
        "TEST_HOOKS": ",".join(f"gearmanny.contrib.django.{hook}" for hook in HOOKS),
        "TEST_RECORDS": json.dumps({"STORE": "database"}),
    }
    assert start_command("migrate", "-v", "0", **environment).wait(3 * PATIENCE) == 0
    start_runworkers(**environment)
    store = SQLStore(f"sqlite:///{tmp_path / 'database'}")
    host = gearman_server.host
    with (
        contextlib.closing(store),
        SimpleClient([host], timeout=3 * PATIENCE, records=store, headers=locale.current) as client,
    ):
        yield client


def take(reports: Path, count: int) -> list[str]:
    """Returns so many reports, as soon as they are there."""
    until(lambda: len(reports.read_text().splitlines()) >= count, f"{count} reports")
    lines = reports.read_text().splitlines()
    reports.write_text("")
    return [line.removeprefix("signalled_") for line in lines]


class TestRunworkers:
    def test_jobs_are_reported_once(
        self, recording: SimpleClient, reports: Path, tmp_path: Path
    ) -> None:
        background = recording.using(background=True)
        for later in ("", "_later"):
            assert recording.call(f"signalled_echo{later}", value=7) == 7
            assert take(reports, 2) == [
                f"started Signalled signalled_echo{later} 1",
                f"succeeded Signalled signalled_echo{later} 1",
            ]
            with pytest.raises(TaskError, match="no luck"):
                background.call(f"signalled_fail{later}").get_result(timeout=3 * PATIENCE)
            error = "exception=ValueError('no luck')"
            assert take(reports, 4) == [
                f"started Signalled signalled_fail{later} 1",
                f"failed Signalled signalled_fail{later} 1 {error} will_retry=True",
                f"started Signalled signalled_fail{later} 2",
                f"failed Signalled signalled_fail{later} 2 {error} will_retry=False",
            ]
        log = (tmp_path / "stderr").read_text()
        assert "SynchronousOnlyOperation" not in log
        failed = "workers.fail, a receiver of a signal about"
        until(lambda: (tmp_path / "stderr").read_text().count(failed) == 12, "errors of receivers")

    @pytest.mark.parametrize("later", ["", "_later"])
    def test_jobs_run_in_the_language_and_time_zone_of_their_callers(
        self, recording: SimpleClient, later: str
    ) -> None:
        background = recording.using(background=True)
        with translation.override("de"), timezone.override("Asia/Tokyo"):
            work = background.call(f"signalled_locale{later}")
        assert work.get_result(timeout=PATIENCE) == ["de", "Asia/Tokyo"]
        with translation.override(None), timezone.override(timezone.get_fixed_timezone(-90)):
            work = background.call(f"signalled_locale{later}")
        assert work.get_result(timeout=PATIENCE) == ["en-us", "-0130"]
        assert recording.call(f"signalled_locale{later}") == ["en-us", "America/Chicago"]


class Eagerly(BaseWorker):
    name = "eagerly"

    def task_echo(self, value: Any) -> Any:
        return value

    @task(retries=1, backoff=0)
    def task_fail(self) -> None:
        raise ValueError("no luck")


@pytest.fixture
def sent() -> Iterator[list[tuple[Signal, dict[str, Any]]]]:
    """The signals that are sent."""
    sent: list[tuple[Signal, dict[str, Any]]] = []

    def note(signal: Signal, **about: Any) -> None:
        sent.append((signal, about))

    signals = job_started, job_succeeded, job_failed
    for signal in signals:
        signal.connect(note, sender=Eagerly)
    yield sent
    for signal in signals:
        signal.disconnect(note, sender=Eagerly)


def test_eager_jobs_are_reported_too(sent: list[tuple[Signal, dict[str, Any]]]) -> None:
    with override_settings(GEARMANNY={}), eager([Eagerly]):
        assert django_client.eagerly_echo(value=7) == 7
        with pytest.raises(TaskError):
            django_client.eagerly_fail()
    assert [signal for signal, _ in sent] == [
        *(job_started, job_succeeded),
        *(job_started, job_failed, job_started, job_failed),
    ]
    assert [about["will_retry"] for signal, about in sent if signal is job_failed] == [True, False]
    job = sent[0][1]["job"]
    assert (job.function, job.data, job.attempt) == ("eagerly_echo", {"value": 7}, 1)
    assert str(sent[-1][1]["exception"]) == "no luck"
