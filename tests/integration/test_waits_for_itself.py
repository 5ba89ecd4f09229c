"""A task that waits for a function that only its own process serves: it is told so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from gearmanny.client import SimpleClient
from gearmanny.errors import TaskTimeout
from gearmanny.testing import eager
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, Server, until


class Waiting(BaseWorker):
    name = "waiting"

    def task_double(self, n: int) -> int:
        return 2 * n

    def task_four_times(self, n: int, host: str, timeout: float) -> Any:
        with SimpleClient([host], timeout=timeout) as client:
            try:
                return client.waiting_double(n=client.waiting_double(n=n))
            except TaskTimeout as error:
                return str(error)


@pytest.mark.parametrize("processes", [1, 2])
def test_it_is_told_so(
    gearman_worker: Callable[..., Any],
    gearman_server: Server,
    gearman_client: SimpleClient,
    caplog: pytest.LogCaptureFixture,
    processes: int,
) -> None:
    for _ in range(processes):
        gearman_worker(Waiting)
    alone = processes == 1
    with caplog.at_level(logging.WARNING, "gearmanny.client"):
        answer = gearman_client.using(timeout=3 * PATIENCE).waiting_four_times(
            n=3, host=gearman_server.host, timeout=0.5 if alone else PATIENCE
        )
    if alone:
        assert "runs in the only process that offers it" in answer
        until(lambda: caplog.records, "a warning")
    else:
        assert answer == 12
    actions = {getattr(record, "action", "") for record in caplog.records}
    assert ("waits_for_itself" in actions) == alone


def test_eager_mode_has_as_many_workers_as_are_needed() -> None:
    with eager([Waiting]), SimpleClient() as client:
        assert client.waiting_four_times(n=3, host="127.0.0.1:1", timeout=5) == 12
