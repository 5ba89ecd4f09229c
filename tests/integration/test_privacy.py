"""The limits of what is kept of a job, and shown of it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from gearmanny.payload.masking import MASKED
from gearmanny.records.states import State
from gearmanny.worker import BaseWorker, task
from tests.integration.test_recorded_jobs import RunRecorded, caller, database, run, store
from tests.support.recorded import Caller

__all__ = ["caller", "database", "run", "store"]


class Large(BaseWorker):
    name = "large"
    runs = 0

    @task(retries=3, backoff=0)
    def task_result(self, size: int) -> str:
        type(self).runs += 1
        return "ä" * size

    async def task_later(self, size: int) -> str:
        return "x" * size

    def task_secret(self, password: str, user: str) -> None: ...


@pytest.mark.parametrize("function", ["large_result", "large_later"])
def test_a_result_that_is_too_large_fails_and_is_not_tried_again(
    run: RunRecorded, caller: Caller, function: str
) -> None:
    run(Large, max_result=100)
    Large.runs = 0
    error = caller.error(caller.call(function, {"size": 200}))
    assert error["type"].endswith("EncodingError")
    assert "max_result allows 100 in a record" in error["message"]
    assert Large.runs <= 1
    fits = caller.call(function, {"size": 16})
    assert caller.until(fits, State.SUCCEEDED).result is not None


def test_without_a_limit_a_result_may_have_any_size(run: RunRecorded, caller: Caller) -> None:
    run(Large, max_result=None)
    id = caller.call("large_later", {"size": 100_000})
    result = caller.until(id, State.SUCCEEDED).result
    assert result is not None
    assert len(result) == 100_002


def test_arguments_are_forgotten_at_success_only(run: RunRecorded, caller: Caller) -> None:
    run(Large, forget_arguments=True)
    id = caller.call("large_later", {"size": 1})
    assert caller.until(id, State.SUCCEEDED).arguments == ""
    failed = caller.call("large_later", {"wrong": 1})
    assert json.loads(caller.until(failed, State.FAILED).arguments) == {"wrong": 1}


def test_arguments_are_kept_otherwise(run: RunRecorded, caller: Caller) -> None:
    run(Large)
    id = caller.call("large_later", {"size": 1})
    assert json.loads(caller.until(id, State.SUCCEEDED).arguments) == {"size": 1}


@pytest.mark.parametrize("options", [{}, {"mask": ["user"]}])
def test_secrets_are_masked_in_the_log(
    run: RunRecorded, caller: Caller, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    run(Large, **options)
    with caplog.at_level(logging.DEBUG, logger="gearmanny.worker"):
        id = caller.call("large_secret", {"password": "s3cret", "user": "ada"})
        caller.until(id, State.SUCCEEDED)
    (line,) = [text for text in caplog.messages if "is called with" in text]
    assert ("s3cret" in line, "ada" in line, MASKED in line) == (bool(options), not options, True)
