"""Django's tasks, run by `runworkers` of a project."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.test import override_settings
from django.utils import timezone

from gearmanny.contrib.django import client
from gearmanny.contrib.django.compat import (
    InvalidTask,
    TaskResultDoesNotExist,
    task_backends,
    task_enqueued,
    task_finished,
)
from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.store import get_store
from gearmanny.contrib.django.tasks import GearmanBackend
from gearmanny.contrib.django.testing import eager
from gearmanny.errors import EncodingError, JobCancelled, StoreUnavailable, TaskError
from gearmanny.errors import InvalidTask as NotOurs
from gearmanny.tasks.finding import find_tasks
from gearmanny.worker import BaseWorker
from tests.acceptance.test_django_records import ALIAS, Stopped, database, groups, migrate
from tests.support.servers import PATIENCE, ROOT, Server, Start, until, workers_of

PATH = "gearmanny.contrib.django.tasks.GearmanBackend"

TASKS = {
    "default": {"BACKEND": PATH, "QUEUES": ["default", "mail"]},
    "other": {"BACKEND": PATH, "QUEUES": ["mail"]},
}


@pytest.fixture(params=["postgresql", "sqlite"])
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The entry of an empty database in DATABASES."""
    if request.param == "postgresql":
        found: dict[str, Any] = request.getfixturevalue("postgres_database")
        return found
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "jobs.db"}


def settings_of(host: str, **records: Any) -> dict[str, Any]:
    return {"HOSTS": [host], "LIVE_IN_TESTS": True, "RECORDS": records}


@pytest.fixture
def tasks(entry: dict[str, Any], gearman_server: Server, django_db_blocker: Any) -> Iterator[Any]:
    """The tasks of a project, in the process of their caller."""
    settings = settings_of(gearman_server.host, STORE="database", DATABASE=ALIAS)
    with (
        django_db_blocker.unblock(),
        override_settings(GEARMANNY=settings, TASKS=TASKS),
        database(entry),
    ):
        from tests.djangoapps.tasking import tasks  # noqa: PLC0415  decorated for our backend

        yield tasks
        client.close()


@pytest.fixture
def environment(tasks: Any, entry: dict[str, Any], gearman_server: Server) -> dict[str, str]:
    """The environment of other processes of the project."""
    return {
        "TEST_APP": "tests.djangoapps.tasking",
        "TEST_ADMIN": "1",
        "TEST_HOSTS": gearman_server.host,
        "TEST_TASKS": json.dumps(TASKS),
        "TEST_DATABASES": json.dumps({"default": {**entry, "NAME": str(entry["NAME"])}}),
        "TEST_RECORDS": json.dumps({"STORE": "database"}),
    }


@pytest.fixture
def run(
    environment: dict[str, str], start_command: Start, gearman_server: Server
) -> Callable[..., Any]:
    """Starts `runworkers` of the project, and returns when it offers the queues."""

    def run(*options: str, **more: str) -> Any:
        assert start_command("migrate", **{**environment, **more}).wait(PATIENCE) == 0
        process = start_command("runworkers", *options, **{**environment, **more})
        until(lambda: workers_of(gearman_server, "tasks_default"), "the worker of the queue")
        return process

    return run


def ended(result: Any) -> Any:
    """Waits for the end of a task."""

    def is_over() -> bool:
        result.refresh()
        return bool(result.is_finished)

    until(is_over, "the end of the task")
    return result


@pytest.fixture(params=["tz", "naive"])
def use_tz(request: pytest.FixtureRequest) -> Iterator[bool]:
    with override_settings(USE_TZ=request.param == "tz", TIME_ZONE="America/Chicago"):
        yield request.param == "tz"


class TestRuns:
    def test_what_a_task_got_and_gave(self, run: Any, tasks: Any) -> None:
        run()
        result = tasks.echo.enqueue(1, b"two", three=(3, None))
        assert (str(result.status), result.is_finished, result.attempts) == ("READY", False, 0)
        before = dataclasses.asdict(result)
        assert (result.args, result.kwargs) == ([1, "two"], {"three": [3, None]})
        assert result.enqueued_at <= timezone.now()
        assert dataclasses.asdict(ended(result)) != before
        assert result.return_value == [[1, "two"], {"three": [3, None]}]
        assert result.enqueued_at <= result.started_at <= result.finished_at
        assert result.last_attempted_at == result.started_at
        assert (result.attempts, len(result.worker_ids), result.errors) == (1, 1, [])
        assert tasks.echo.get_result(result.id) == result
        assert result.task == tasks.echo

    def test_what_comes_of_the_others(self, run: Any, tasks: Any) -> None:
        run()
        later = tasks.echo_later.enqueue("a")
        context = tasks.look_around.enqueue(5)
        failures = {
            "fail": ("builtins.ValueError", "ValueError: no luck\n"),
            "leave": ("builtins.SystemExit", "SystemExit: on my way out\n"),
            "cancel": ("asyncio.exceptions.CancelledError", "CancelledError: gone\n"),
            "refuse": ("builtins.TypeError", "Unsupported type: <class 'object'>\n"),
            "not_a_number": ("gearmanny.errors.EncodingError", "\n"),
        }
        failed = {name: getattr(tasks, name).enqueue() for name in failures}
        assert ended(later).return_value == "a"
        assert ended(context).return_value == [context.id, 1, [5], 1, "RUNNING"]
        for name, (path, end) in failures.items():
            result = ended(failed[name])
            assert str(result.status) == "FAILED"
            (error,) = result.errors
            assert error.exception_class_path == path
            assert error.exception_class.__name__ in path
            assert error.traceback.endswith(end)
            assert error.traceback.startswith("Traceback ")
            with pytest.raises(ValueError, match="failed"):
                result.return_value  # noqa: B018
            assert (result.attempts, len(result.worker_ids)) == (1, 1)

    def test_signals(self, run: Any, tasks: Any, tmp_path: Path) -> None:
        path = tmp_path / "signals"
        run(TEST_SIGNALS=str(path))
        ended(tasks.echo.enqueue())
        ended(tasks.fail.enqueue())
        until(lambda: path.read_text().count("\n") == 4, "all signals")
        assert path.read_text().splitlines() == [
            "started:GearmanBackend RUNNING 1 -",
            "finished:GearmanBackend SUCCESSFUL 1 -",
            "started:GearmanBackend RUNNING 1 -",
            "finished:GearmanBackend FAILED 1 ValueError",
        ]

    def test_a_process_that_dies_is_one_of_two_attempts(
        self, run: Any, tasks: Any, tmp_path: Path
    ) -> None:
        run()
        result = ended(tasks.die_at_first.enqueue(str(tmp_path / "died")))
        assert result.return_value == "alive"
        assert (result.attempts, len(set(result.worker_ids))) == (2, 2)
        assert [error.exception_class.__name__ for error in result.errors] == ["WorkerLost"]
        assert result.started_at < result.last_attempted_at

    def test_a_task_finds_what_the_transaction_of_its_caller_wrote(
        self, run: Any, tasks: Any
    ) -> None:
        run()
        with contextlib.suppress(Stopped), transaction.atomic(using=ALIAS):
            lost = tasks.write.enqueue("rolled back")
            raise Stopped
        with transaction.atomic(using=ALIAS):
            add_group("committed")
            result = tasks.write_first.enqueue("committed")
            result.refresh()
            assert str(result.status) == "READY"
        assert ended(result).return_value == "committed"
        assert groups() == ["committed"]
        with pytest.raises(TaskResultDoesNotExist):
            lost.refresh()

    def test_queues_and_times(self, run: Any, tasks: Any, use_tz: bool) -> None:
        run(**({} if use_tz else {"TEST_NAIVE": "1"}))
        due = timezone.now() + timedelta(seconds=0.3)
        changed = tasks.echo.using(run_after=due, queue_name="mail", priority=-50, backend="other")
        result = changed.enqueue()
        past = tasks.echo.using(run_after=timezone.now() - timedelta(days=1)).enqueue()
        assert JobRecord.objects.get(id=result.id).priority == -1
        ended(past)
        ended(result)
        assert result.started_at >= due
        assert timezone.is_aware(result.started_at) is use_tz
        assert result.enqueued_at <= result.started_at
        found = changed.get_result(result.id)
        assert found.task == changed
        assert found.backend == "other"
        with pytest.raises(TaskResultDoesNotExist):
            tasks.echo.get_result(result.id)  # of another backend


def add_group(name: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("INSERT INTO auth_group (name) VALUES (%s)", [name])


def test_arguments_are_forgotten_and_results_are_not(run: Any, tasks: Any) -> None:
    run(TEST_RECORDS=json.dumps({"STORE": "database", "ARGUMENTS": "forget"}))
    result = ended(tasks.echo.using(metadata={"kept": 1}).enqueue("secret", key="secret"))
    assert result.return_value == [["secret"], {"key": "secret"}]
    found = tasks.echo.get_result(result.id)
    assert (found.args, found.kwargs, found.return_value) == ([], {}, result.return_value)
    assert found.metadata == {"kept": 1}
    assert "secret" not in JobRecord.objects.get(id=result.id).arguments


def test_coroutines_enqueue_beside_others(run: Any, environment: dict[str, str]) -> None:
    run()
    script = "tests/acceptance/aenqueue_script.py"
    own = {"DJANGO_SETTINGS_MODULE": "tests.django_settings", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, **environment, **own},
    )
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            "enqueued beside a call that lasts",
            "enqueued beside a transaction of another thread",
            "rolled back with the transaction of the coroutine",
            "rolled back with the transaction around the event loop",
            "enqueued by a receiver, in the same transaction",
            "200 enqueued at once",
        ],
        "",
    )


class TestRefusals:
    @pytest.fixture(autouse=True)
    def tables(self, tasks: Any) -> None:
        migrate()

    @pytest.mark.parametrize(
        ("value", "error"),
        [
            (float("nan"), EncodingError),
            ({1: 2, "1": 3}, EncodingError),
            ([{"a": {None: 1}}], EncodingError),
            ("\udc80", EncodingError),
            (object(), TypeError),
            (b"\xff", ValueError),
        ],
    )
    def test_what_cannot_travel_is_refused_at_once(
        self, tasks: Any, value: Any, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            tasks.echo.enqueue(value)
        assert not JobRecord.objects.exists()

    def test_a_task_that_no_worker_finds(self, tasks: Any) -> None:
        task = type(tasks.echo)(
            **{
                **{
                    field.name: getattr(tasks.echo, field.name)
                    for field in dataclasses.fields(tasks.echo)
                },
                "func": tasks.undecorated,
            }
        )
        with pytest.raises(InvalidTask, match="A worker would not find the task"):
            task.enqueue()

    @pytest.mark.parametrize("id", ["123", "", "0190aaaa-0000-7000-8000-000000000000"])
    def test_results_that_are_not_there(self, tasks: Any, id: str) -> None:
        with pytest.raises(TaskResultDoesNotExist):
            tasks.echo.get_result(id)

    def test_results_of_other_functions(self, tasks: Any) -> None:
        work: Any = client.using(background=True).call("other", a=1)
        with pytest.raises(TaskResultDoesNotExist):
            tasks.echo.get_result(work.id)

    def test_coroutines(self, tasks: Any) -> None:
        asyncio.run(self.use_coroutines(tasks))

    async def use_coroutines(self, tasks: Any) -> None:
        await sync_to_async(self.forget_connection)()  # that of another test, in asgiref's thread
        result = await tasks.echo.aenqueue(1)
        assert await tasks.echo.aget_result(result.id) == result
        await result.arefresh()
        assert str(result.status) == "READY"
        await sync_to_async(self.forget_connection)()

    def forget_connection(self) -> None:
        connections[ALIAS].close()
        del connections[ALIAS]

    def test_the_signal_of_callers(self, tasks: Any) -> None:
        seen = []

        def receive(sender: Any, task_result: Any, **kwargs: Any) -> None:
            seen.append((sender, task_result.id))

        task_enqueued.connect(receive)
        try:
            result = tasks.echo.enqueue()
        finally:
            task_enqueued.disconnect(receive)
        assert seen == [(GearmanBackend, result.id)]

    def test_a_receiver_that_raises_takes_the_task_back(self, tasks: Any) -> None:
        def receive(**kwargs: Any) -> None:
            assert JobRecord.objects.exists()
            raise Stopped

        task_enqueued.connect(receive)
        try:
            with pytest.raises(Stopped):
                tasks.echo.enqueue()
        finally:
            task_enqueued.disconnect(receive)
        assert not JobRecord.objects.exists()

    def test_a_transaction_of_which_nobody_knows_the_end(self, tasks: Any) -> None:
        transaction.set_autocommit(False, using=ALIAS)
        try:
            rolled_back = tasks.echo.enqueue()
            transaction.rollback(using=ALIAS)
            result = tasks.echo.enqueue()
            transaction.commit(using=ALIAS)
        finally:
            transaction.set_autocommit(True, using=ALIAS)
        result.refresh()
        assert str(result.status) == "READY"
        with pytest.raises(TaskResultDoesNotExist):
            rolled_back.refresh()

    def test_a_database_that_is_away(self, tasks: Any) -> None:
        entry = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "PORT": "1"}
        away = settings_of("127.0.0.1:1", STORE="database", DATABASE="away")
        with (
            database({**entry, "HOST": "127.0.0.1"}, "away"),
            override_settings(GEARMANNY=away),
            pytest.raises(StoreUnavailable),
        ):
            tasks.echo.enqueue()

    def test_a_task_is_cancelled_while_it_runs(self, run: Any, tasks: Any, tmp_path: Path) -> None:
        signals, path = tmp_path / "signals", tmp_path / "turn"
        run(TEST_SIGNALS=str(signals))
        result = tasks.take_turns.enqueue(str(path))
        until(lambda: Path(f"{path}.began").exists(), "the task")
        store = get_store()
        assert store is not None
        store.cancel(result.id)
        assert str(ended(result).status) == "FAILED"
        assert [error.exception_class for error in result.errors] == [JobCancelled]
        assert JobRecord.objects.get(id=result.id).state == "cancelled"
        until(lambda: signals.read_text().count("\n") == 2, "both signals")
        last = "finished:GearmanBackend FAILED 1 JobCancelled"
        assert signals.read_text().splitlines()[1] == last
        assert "tasks_default was cancelled" in (tmp_path / "stderr").read_text()

    def test_a_cancelled_task_has_failed(self, tasks: Any) -> None:
        result = tasks.echo.using(run_after=timezone.now() + timedelta(hours=1)).enqueue()
        store = get_store()
        assert store is not None
        store.cancel(result.id)
        result.refresh()
        assert (str(result.status), result.errors, result.worker_ids) == ("FAILED", [], [])


FOREIGN = {
    "task": "tests.djangoapps.tasking.tasks.echo",
    "backend": "default",
    "priority": 0,
    "run_after": None,
    "enqueued_at": 0.0,
    "args": [],
    "kwargs": {},
    "id": "a",
}


@pytest.mark.parametrize("entry", ["sqlite"], indirect=True)
class TestWithoutRecords:
    @pytest.fixture(autouse=True)
    def unrecorded(self, tasks: Any, gearman_server: Server) -> Iterator[None]:
        of_tests = settings_of(gearman_server.host, DATABASE=ALIAS)
        with override_settings(GEARMANNY=of_tests):
            yield
            client.close()

    def test_tasks_run_and_have_no_results(self, run: Any, tasks: Any) -> None:
        run(TEST_RECORDS="{}")
        result = tasks.write.enqueue("at once")
        with contextlib.suppress(Stopped), transaction.atomic(using=ALIAS):
            tasks.write.enqueue("rolled back")
            raise Stopped
        with transaction.atomic(using=ALIAS):
            tasks.write.enqueue("committed")
            with pytest.raises(EncodingError):
                tasks.write.enqueue(float("nan"))
        until(lambda: groups() == ["at once", "committed"], "both tasks")
        with pytest.raises(NotImplementedError):
            result.refresh()
        with pytest.raises(InvalidTask, match="run_after"):
            tasks.echo.using(run_after=timezone.now())

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"task": "os.path.join"}, "There is no task os.path.join"),
            ({"task": "antigravity.fly"}, "antigravity.fly is in no app of INSTALLED_APPS"),
            ({"task": "tests.djangoapps.tasking.tasks.undecorated"}, "There is no task tests"),
            ({"task": "tests.djangoapps.tasking.tasks.Plain.enqueue"}, "is in no app"),
            ({"backend": "other"}, "has no queue 'default' on Gearman"),
            ({"backend": "nowhere"}, "has no queue 'default' on Gearman"),
            ({"surprise": 1}, "surprise"),
        ],
    )
    def test_only_tasks_of_ours_are_run(
        self, gearman_server: Server, tasks: Any, changes: dict[str, Any], reason: str
    ) -> None:
        from gearmanny.contrib.django.taskworker import worker_of_tasks  # noqa: PLC0415

        worker = worker_of_tasks()
        assert worker is not None
        with eager([worker]), pytest.raises(TaskError) as raised:
            client.call("tasks_default", **{**FOREIGN, **changes})
        assert reason in str(raised.value)

    def test_eager_mode_runs_them_at_once(self, tasks: Any) -> None:
        with eager(), pytest.raises(TaskError, match="no luck"):
            client.call("tasks_default", **{**FOREIGN, "task": tasks.fail.module_path})
        with eager():
            found = client.call("tasks_default", **{**FOREIGN, "args": [1]})
        assert found == [[1], {}]


@pytest.mark.parametrize("entry", ["sqlite"], indirect=True)
def test_eager_mode_with_records(tasks: Any) -> None:
    migrate()
    with eager():
        with transaction.atomic(using=ALIAS):
            result = tasks.echo_later.enqueue(2)
            result.refresh()
            assert str(result.status) == "READY"
        result.refresh()
        assert result.return_value == 2
        failed = tasks.fail.enqueue()
        failed.refresh()
        assert [error.exception_class for error in failed.errors] == [ValueError]


@pytest.mark.parametrize("entry", ["sqlite"], indirect=True)
def test_it_is_no_task_of_a_worker(tasks: Any) -> None:
    worker = type("Mails", (BaseWorker,), {"name": "mails", "task_echo": tasks.echo})
    problem = re.escape("Mails.task_echo is decorated by the task of Django's Tasks")
    with pytest.raises(NotOurs, match=problem):
        find_tasks(worker)


@pytest.mark.parametrize("entry", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["immediate.ImmediateBackend", "dummy.DummyBackend"])
def test_the_backends_of_django_take_tasks_of_ours(tasks: Any, kind: str) -> None:
    home = task_backends.__class__.__module__
    with override_settings(TASKS={"default": {"BACKEND": f"{home}.backends.{kind}", "QUEUES": []}}):
        task_finished.disconnect(tasks.note_end)  # it raises
        try:
            result = tasks.echo.using(metadata={"a": 1}).enqueue(1)
        finally:
            task_finished.connect(tasks.note_end)
        assert result.status == ("READY" if "Dummy" in kind else "SUCCESSFUL")
        assert not hasattr(result, "metadata")


class TestChecks:
    def problems(self, **backend: Any) -> list[str]:
        with override_settings(TASKS={"default": {"BACKEND": PATH, **backend}}):
            return [str(each.id) for each in task_backends["default"].check()]

    def test_queues(self) -> None:
        recorded = {"RECORDS": {"STORE": "database"}}
        with override_settings(GEARMANNY=recorded):
            assert self.problems() == []
            assert self.problems(QUEUES=["a", "b"]) == []
            assert self.problems(QUEUES=[]) == ["gearmanny.E010"]
            assert self.problems(QUEUES=["a b", "help"]) == ["gearmanny.E011"] * 2

            assert self.problems(QUEUES=[3]) == ["gearmanny.E011"]
            assert self.problems(QUEUES="mail") == ["gearmanny.E010"]

    def test_records(self) -> None:
        assert self.problems() == ["gearmanny.W010"]

    @pytest.mark.parametrize(
        ("entry", "problem"),
        [
            ({"BACKEND": PATH + "s"}, "'default'] is not a backend: InvalidTaskBackend"),
            ({"BACKEND": PATH, "QUEUES": None}, "'default'] is not a backend: TypeError"),
            ({"BACKENT": PATH}, "'default'] is not a backend: KeyError: 'BACKEND'"),
            (PATH, "'default'] is not a backend: TypeError"),
        ],
    )
    def test_an_entry_that_is_no_backend(
        self, start_command: Start, tmp_path: Path, entry: Any, problem: str
    ) -> None:
        environment = {"TEST_TASKS": json.dumps({"default": entry})}
        assert start_command("check", **environment).wait(PATIENCE) == 1
        said = (tmp_path / "stderr").read_text()
        assert "Traceback" not in said
        assert said.count("(gearmanny.E014)") == 1
        assert problem in said

    def test_settings_that_are_wrong_are_reported_once(
        self, start_command: Start, tmp_path: Path
    ) -> None:
        entry = json.dumps({"default": {"BACKEND": PATH}})
        process = start_command("check", TEST_TASKS=entry, TEST_RECORDS='{"STOER": "database"}')
        assert process.wait(PATIENCE) == 1
        said = (tmp_path / "stderr").read_text()
        assert "Traceback" not in said
        assert (said.count("(gearmanny.E001)"), said.count("identified 1 issue")) == (1, 1)

    def test_management_commands_run_them(self, start_command: Start, tmp_path: Path) -> None:
        broken = {"default": {"BACKEND": PATH, "QUEUES": []}}
        assert start_command("check", TEST_TASKS=json.dumps(broken)).wait(PATIENCE) == 1
        assert "gearmanny.E010" in (tmp_path / "stderr").read_text()


def test_a_task_is_decorated_without_models_or_connections() -> None:
    code = (
        "import json, sys; from django.conf import settings; "
        f"settings.configure(TASKS={TASKS!r}, GEARMANNY={{'RECORDS': {{'STORE': 'database'}}}}); "
        "from tests.djangoapps.tasking import tasks; tasks.echo.using(priority=3); "
        "print([name for name in ('gearmanny.contrib.django.models', 'psycopg', "
        "'gearmanny.contrib.django.records') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
