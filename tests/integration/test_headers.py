"""Headers of recorded jobs: from each kind of client to the task, over retries and another run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gearmanny.client import SimpleClient
from gearmanny.dispatching.dispatcher import Dispatcher
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.errors import InvalidOption, TaskError
from gearmanny.net.hosts import parse_host
from gearmanny.records.listing import Wanted
from gearmanny.records.sql import SQLStore
from gearmanny.worker import BaseWorker, task
from tests.support.clients import Client, MakeClient
from tests.support.servers import PATIENCE, Server


class Told(BaseWorker):
    """Returns the headers of its jobs."""

    name = "told"

    def task_plain(self) -> dict[str, str]:
        return dict(self.job.headers)

    async def task_later(self) -> dict[str, str]:
        return dict(self.job.headers)

    @task(retries=1, backoff=0)
    def task_second(self) -> dict[str, str]:
        if self.job.attempt == 1:
            raise ValueError("not yet")
        return dict(self.job.headers)

    def task_fail(self) -> None:
        raise ValueError(self.job.headers["request"])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    with contextlib.closing(SQLStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        yield store


@pytest.fixture
def told(store: SQLStore, gearman_server: Server, gearman_worker: Callable[..., Any]) -> None:
    """A worker, and a dispatcher that hands over what is tried again."""
    gearman_worker(Told, records=store)


@pytest.fixture
def dispatcher(store: SQLStore, gearman_server: Server) -> Iterator[None]:
    hosts = (parse_host(gearman_server.host),)
    dispatcher = Dispatcher(store, DispatchOptions(hosts=hosts))
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    yield
    dispatcher.stop()
    thread.join(PATIENCE)


@pytest.fixture
def recording(make: MakeClient, store: SQLStore, gearman_server: Server) -> Client:
    """A client of each kind, whose calls are recorded, with a header that it makes itself."""
    client = make(gearman_server.host, records=store, headers=lambda: {"by": "client"})
    return client.using(background=True)


@pytest.mark.usefixtures("told")
class TestHeaders:
    @pytest.mark.parametrize("function", ["told_plain", "told_later"])
    def test_reach_the_task(self, recording: Client, function: str) -> None:
        client = recording.using(headers={"request": "7"})
        for work in (client.call(function), client.submit(function)):
            assert work.get_result(timeout=PATIENCE) == {"by": "client", "request": "7"}
        work = recording.using(headers={"by": "call"}).call(function)
        assert work.get_result(timeout=PATIENCE) == {"by": "call"}
        assert client.record(work.id).headers == {"by": "call"}

    def test_are_those_of_all_jobs_of_a_call(self, recording: Client, store: SQLStore) -> None:
        client = recording.using(headers={"request": "7"})
        client.submit_many("told_plain", [{}, {}])
        assert list(client.map("told_plain", [{}, {}])) == [None, None]
        ids = store.page(Wanted()).ids
        assert len(ids) == 4
        for id in ids:
            answer = client.record(id).get_result(timeout=PATIENCE)
            assert answer == {"by": "client", "request": "7"}

    def test_are_there_without_those_of_a_call(self, recording: Client) -> None:
        assert recording.call("told_plain").get_result(timeout=PATIENCE) == {"by": "client"}

    def test_are_for_recorded_jobs(self, recording: Client) -> None:
        for options in ({"background": False}, {"recorded": False}):
            with pytest.raises(InvalidOption, match="Headers travel in the record"):
                recording.using(headers={"a": "b"}, **options)  # type: ignore[arg-type]
        plain = recording.using(background=False, timeout=PATIENCE)
        assert plain.call("told_plain") == {}

    @pytest.mark.usefixtures("dispatcher")
    def test_stay_when_a_job_is_tried_again(self, recording: Client) -> None:
        client = recording.using(headers={"request": "7"})
        answer = client.call("told_second").get_result(timeout=3 * PATIENCE)
        assert answer == {"by": "client", "request": "7"}

    @pytest.mark.usefixtures("dispatcher")
    def test_stay_when_somebody_runs_a_job_again(
        self, store: SQLStore, gearman_server: Server
    ) -> None:
        with SimpleClient([gearman_server.host], records=store) as client:
            work = client.using(background=True, headers={"request": "7"}).call("told_fail")
            record = client.record(work.id)
            for _ in range(2):
                with pytest.raises(TaskError, match="7"):
                    record.get_result(timeout=3 * PATIENCE)
                assert record.retry()


def test_what_makes_headers_raises_in_the_caller(store: SQLStore, gearman_server: Server) -> None:
    def fail() -> dict[str, str]:
        raise LookupError("no request")

    with SimpleClient([gearman_server.host], records=store, headers=fail) as client:
        with pytest.raises(LookupError, match="no request"):
            client.using(background=True).told_plain()
        with pytest.raises(LookupError):
            client.using(background=True).submit_many("told_plain", [{}])
    assert store.counts() == []
