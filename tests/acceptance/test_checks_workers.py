"""System checks of the workers of a project, and what becomes of workers that cannot be made."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.checks import CheckMessage, run_checks
from django.test import override_settings

from gearmanny.contrib.django.checks import check_workers
from gearmanny.worker import task
from tests.djangoapps.good.workers import Good
from tests.support.servers import PATIENCE, ROOT, Start


def checked(*apps: str) -> list[CheckMessage]:
    installed = [f"tests.djangoapps.{app}" for app in apps]
    with override_settings(INSTALLED_APPS=["gearmanny.contrib.django", *installed]):
        return check_workers()


def test_workers_that_can_run_are_fine() -> None:
    assert checked("good", "shapes", "empty") == []


@pytest.mark.parametrize(
    ("app", "line", "error"),
    [
        ("broken", 3, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("mistyped", 5, "AttributeError: type object 'BaseWorker' has no attribute 'no_such_"),
    ],
)
def test_an_error_of_an_import_has_file_and_line(app: str, line: int, error: str) -> None:
    [message] = checked(app, "good")
    assert message.id == "gearmanny.E002"
    assert f"The workers of the app '{app}' cannot be imported" in message.msg
    assert error in message.msg
    path = ROOT / "tests" / "djangoapps" / app / "workers.py"
    assert message.msg.endswith(f" ({path}, line {line})")


def test_a_worker_without_a_name_is_an_error() -> None:
    [message] = checked("nameless")
    assert message.id == "gearmanny.E003"
    assert "nameless.workers.Nameless cannot be run: Nameless has no name." in message.msg


def test_a_schedule_whose_args_cannot_be_sent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    @task(every=timedelta(hours=1), args={"since": object()})
    def task_since(self: Good, since: object) -> None: ...

    monkeypatch.setattr(Good, "task_since", task_since, raising=False)
    [message] = checked("good")
    assert message.id == "gearmanny.E003"
    assert "The schedule of good_since() has wrong args: DjangoJSONDataEncoder" in message.msg


def test_two_workers_of_one_name_are_an_error() -> None:
    [message] = checked("clashing")
    assert message.id == "gearmanny.E004"
    assert message.msg == (
        "tests.djangoapps.clashing.workers.Another exports clashing_help(), which "
        "tests.djangoapps.clashing.workers.Some exports, too."
    )


@pytest.mark.parametrize("sends", [True, False])
def test_tracebacks_for_callers_are_warned_of_where_a_project_is_deployed(
    monkeypatch: pytest.MonkeyPatch, sends: bool
) -> None:
    monkeypatch.setattr(Good, "send_tracebacks", sends)
    installed = ["gearmanny.contrib.django", "tests.djangoapps.good"]
    with override_settings(INSTALLED_APPS=installed, GEARMANNY={"TIMEOUT": 20}):
        assert run_checks(tags=["gearmanny"]) == []
        found = run_checks(tags=["gearmanny"], include_deployment_checks=True)
    assert [message.id for message in found] == ["gearmanny.W007"] * sends


def test_an_init_that_forgets_its_base_is_warned_of() -> None:
    [message] = checked("uninitialized")
    assert message.id == "gearmanny.W004"
    assert "Uninitialized has an __init__() that does not call super().__init__()" in message.msg


def test_workers_that_cannot_be_made_end_the_runner_at_once(
    start_runworkers: Start, tmp_path: Path
) -> None:
    process = start_runworkers("--threads", "2", TEST_APP="tests.djangoapps.uninitialized")
    assert process.wait(PATIENCE) == 1
    log = (tmp_path / "stderr").read_text()
    assert (
        "CommandError: The workers of process uninitialized-1 cannot be made: "
        "Uninitialized.__init__() does not call super().__init__()"
    ) in log.replace("uninitialized-2", "uninitialized-1")
    assert "Traceback" not in log
    assert "restarting in" not in log
