"""Django's tasks, tried again: how often, when, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gearmanny.contrib.django.models import JobRecord
from gearmanny.contrib.django.store import get_store
from gearmanny.errors import JobCancelled
from tests.acceptance.test_django_tasks import TASKS, ended, entry, environment, run, tasks  # noqa: F401
from tests.support.servers import PATIENCE, Start, until

MODULE = "tests.djangoapps.tasking.tasks"


def with_options(**options: Any) -> str:
    """Returns `TASKS` as the environment of a worker has it."""
    return json.dumps({"default": {**TASKS["default"], "OPTIONS": options}})


def with_backoff(name: str, attempts: int = 5) -> str:
    return with_options(max_attempts=attempts, backoff=f"{MODULE}.{name}")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_task_is_tried_until_it_succeeds(run: Any, tasks: Any, tmp_path: Path) -> None:  # noqa: F811
    signals = tmp_path / "signals"
    run(TEST_TASKS=with_backoff("wait_a_moment"), TEST_SIGNALS=str(signals))
    result = ended(tasks.fail_at_first.using(priority=-3).enqueue(2))
    assert result.return_value == [1, 2]
    assert (result.attempts, len(result.worker_ids)) == (3, 3)
    assert [error.exception_class for error in result.errors] == [LookupError] * 2
    assert [error.traceback.splitlines()[-1] for error in result.errors] == [
        "LookupError: attempt 1",
        "LookupError: attempt 2",
    ]
    assert result.metadata == {"failed": [1, 2]}
    assert result.started_at < result.last_attempted_at <= result.finished_at
    until(lambda: len(lines(signals)) == 6, "all signals")
    assert lines(signals) == [
        "started:GearmanBackend RUNNING 1 -",
        "backoff LookupError FAILED 1",
        "started:GearmanBackend RUNNING 2 -",
        "backoff LookupError FAILED 2",
        "started:GearmanBackend RUNNING 3 -",
        "finished:GearmanBackend SUCCESSFUL 3 -",
    ]
    assert JobRecord.objects.get(id=result.id).priority == -1


def test_a_backoff_of_none_is_the_end(run: Any, tasks: Any, tmp_path: Path) -> None:  # noqa: F811
    signals = tmp_path / "signals"
    run(TEST_TASKS=with_backoff("wait_a_moment", 50), TEST_SIGNALS=str(signals))
    result = ended(tasks.fail_at_first.enqueue(50))
    assert (str(result.status), result.attempts, len(result.errors)) == ("FAILED", 4, 4)
    until(lambda: lines(signals)[-1].startswith("finished"), "the last signal")
    assert [line for line in lines(signals) if line.startswith("finished")] == [
        "finished:GearmanBackend FAILED 4 LookupError"
    ]


def test_after_so_many_attempts_a_task_has_failed(run: Any, tasks: Any) -> None:  # noqa: F811
    options = {"max_attempts": 2, "backoff": 0}
    run(TEST_TASKS=with_options(tasks={f"{MODULE}.fail": options}))
    failed = ended(tasks.fail.enqueue())
    assert (str(failed.status), failed.attempts, len(failed.errors)) == ("FAILED", 2, 2)
    other = ended(tasks.leave.enqueue())
    assert (str(other.status), other.attempts) == ("FAILED", 1)


def test_between_two_attempts_a_task_is_ready_and_nobody_waits(run: Any, tasks: Any) -> None:  # noqa: F811
    run(TEST_TASKS=with_backoff("wait_long"))
    result = tasks.fail.using(priority=7).enqueue()

    def has_failed() -> bool:
        result.refresh()
        return bool(result.errors)

    until(has_failed, "the first attempt")
    assert (str(result.status), result.is_finished, result.attempts) == ("READY", False, 1)
    assert result.finished_at is None
    assert ended(tasks.echo.enqueue()).return_value == [[], {}]  # by the same process
    assert JobRecord.objects.get(id=result.id).priority == 1


def test_a_backoff_that_fails_is_the_end(
    run: Any,  # noqa: F811
    tasks: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    run(TEST_TASKS=with_backoff("break_down"))
    result = ended(tasks.fail.enqueue())
    assert [error.exception_class for error in result.errors] == [ValueError]
    assert "a backoff that fails" in (tmp_path / "stderr").read_text()


def test_a_task_that_is_cancelled_before_it_is_tried_again_has_ended(
    run: Any,  # noqa: F811
    tasks: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    signals = tmp_path / "signals"
    run(TEST_TASKS=with_backoff("cancel_meanwhile"), TEST_SIGNALS=str(signals))
    result = ended(tasks.fail.enqueue())
    assert JobRecord.objects.get(id=result.id).state == "cancelled"
    until(lambda: len(lines(signals)) == 2, "both signals")
    assert lines(signals)[1] == "finished:GearmanBackend FAILED 1 ValueError"


def test_a_cancellation_does_not_interrupt_the_end_of_a_task(
    run: Any,  # noqa: F811
    tasks: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    signals = tmp_path / "signals"
    run(TEST_HOLD="1", TEST_SIGNALS=str(signals))
    result = ended(tasks.cancel_itself.enqueue())
    assert (str(result.status), result.return_value) == ("SUCCESSFUL", "done")
    until(lambda: len(lines(signals)) == 2, "both signals")
    assert lines(signals)[1] == "finished:GearmanBackend SUCCESSFUL 1 -"


@pytest.mark.parametrize("failure", ["", "too late"])
def test_nothing_is_told_of_the_end_of_a_task_that_somebody_else_has(
    run: Any,  # noqa: F811
    tasks: Any,  # noqa: F811
    start_command: Start,
    tmp_path: Path,
    failure: str,
) -> None:
    signals, path = tmp_path / "signals", tmp_path / "turn"
    run(TEST_SIGNALS=str(signals))
    result = tasks.take_turns.enqueue(str(path))
    until(lambda: Path(f"{path}.began").exists(), "the first attempt")
    store = get_store()
    assert store is not None
    snapshot = store.look(result.id)
    assert snapshot is not None
    run(TEST_SIGNALS=str(signals))
    store.take_back(str(snapshot.process))  # as a dispatcher that takes it for dead
    assert ended(result).return_value == "second"
    (tmp_path / "turn.new").write_text(failure)
    (tmp_path / "turn.new").rename(f"{path}.go")

    def is_dropped() -> bool:
        return "somebody else has taken its record over" in (tmp_path / "stderr").read_text()

    until(is_dropped, "the end of the first attempt")
    assert ended(tasks.echo.enqueue()).attempts == 1
    until(lambda: len(lines(signals)) == 5, "all signals")
    assert [line.split(":")[0] for line in lines(signals)] == [
        *("started", "started", "finished"),
        *("started", "finished"),
    ]


class TestMetadata:
    def test_a_task_keeps_notes(self, run: Any, tasks: Any) -> None:  # noqa: F811
        run()
        noted = tasks.keep_notes.using(metadata={"trace": 3, "tags": ("a",)})
        result = noted.enqueue({"more": [1]})
        assert result.metadata == {"trace": 3, "tags": ["a"]}
        result.metadata["changed"] = "here"
        assert ended(result).return_value == {"trace": 3, "tags": ["a"], "saved": 1}
        everything = {"trace": 3, "tags": ["a"], "saved": 1, "more": [1]}
        assert result.metadata == everything
        assert noted.metadata == {"trace": 3, "tags": ["a"]}
        assert noted.get_result(result.id).metadata == everything
        assert ended(tasks.echo.enqueue()).metadata == {}
        assert ended(tasks.keep_notes_later.enqueue()).metadata == {"saved": 2}

    def test_those_of_a_task_that_fails(self, run: Any, tasks: Any) -> None:  # noqa: F811
        run()
        failed = ended(tasks.keep_notes.enqueue({}, end="fail"))
        assert failed.metadata == {"saved": 1, "failed": True}
        invalid = ended(tasks.keep_notes.enqueue({}, end="invalid"))
        assert [error.exception_class for error in invalid.errors] == [TypeError]
        assert invalid.metadata == {"saved": 1}


def test_a_cancellation_does_not_interrupt_the_saving_of_metadata(
    run: Any,  # noqa: F811
    tasks: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    signals = tmp_path / "signals"
    run(TEST_INTERRUPT="1", TEST_SIGNALS=str(signals))
    result = tasks.keep_notes_for_ever.enqueue()

    def has_notes() -> bool:
        result.refresh()
        return bool(result.metadata)

    until(has_notes, "metadata")
    store = get_store()
    assert store is not None
    store.cancel(result.id)
    assert [error.exception_class for error in ended(result).errors] == [JobCancelled]
    assert lines(signals)[1:3] == ["in the middle", "at the end"]
    assert ended(tasks.echo.enqueue()).attempts == 1


def test_no_worker_starts_with_options_that_are_wrong(start_command: Start, tmp_path: Path) -> None:
    wrong = with_options(tasks={f"{MODULE}.fail": {"max_attempts": 0}})
    process = start_command("runworkers", TEST_TASKS=wrong, TEST_APP="tests.djangoapps.tasking")
    assert process.wait(PATIENCE) == 1
    assert "gearmanny.E012" in (tmp_path / "stderr").read_text()
