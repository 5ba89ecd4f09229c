"""A recorded job knows the job that submitted it, whatever the client was that did so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gearmanny.aio import AioClient
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.records.listing import Wanted
from gearmanny.records.sql import SQLStore
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, Server


class Family(BaseWorker):
    """Submits jobs within jobs."""

    name = "family"
    options: ClassVar[dict[str, Any]] = {}

    def task_child(self) -> None:
        pass

    def task_call(self) -> None:
        with SimpleClient(**self.options) as client:
            client.using(background=True).call("family_child")

    def task_submit(self) -> None:
        with AsyncClient(**self.options) as client:
            client.using(background=True).submit("family_child").get_result(PATIENCE)

    def task_many(self) -> None:
        with SimpleClient(**self.options) as client:
            client.using(background=True).submit_many("family_child", [{}, {}])

    def task_map(self) -> None:
        with AsyncClient(**self.options) as client:
            list(client.using(background=True).map("family_child", [{}, {}]))

    async def task_later(self) -> None:
        async with AioClient(**self.options) as client:
            recorded = client.using(background=True)
            await asyncio.gather(recorded.call("family_child"), recorded.call("family_child"))
            await recorded.submit_many("family_child", [{}])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLStore]:
    with contextlib.closing(SQLStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        yield store


@pytest.fixture
def client(
    store: SQLStore,
    gearman_server: Server,
    gearman_worker: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[SimpleClient]:
    options = {"hosts": [gearman_server.host], "records": store}
    monkeypatch.setattr(Family, "options", options)
    for _ in range(2):  # one of them takes the child for which another waits
        gearman_worker(Family, records=store)
    with SimpleClient([gearman_server.host], records=store) as client:
        yield client


@pytest.mark.parametrize(
    ("function", "number"),
    [("call", 1), ("submit", 1), ("many", 2), ("map", 2), ("later", 3)],
)
def test_children_know_their_parent(
    client: SimpleClient, store: SQLStore, function: str, number: int
) -> None:
    parent = client.using(background=True).call(f"family_{function}")
    parent.get_result(PATIENCE)
    children = store.page(Wanted("family_child")).ids
    assert len(children) == number
    for id in children:
        found = store.look(id)
        assert found is not None
        assert found.parent == parent.id
    found = store.look(parent.id)
    assert found is not None
    assert found.parent is None


def test_jobs_without_a_record_are_no_parents(client: SimpleClient, store: SQLStore) -> None:
    client.using(background=True).call("family_child").get_result(PATIENCE)
    client.using(timeout=PATIENCE).call("family_many")
    snapshots = [store.look(id) for id in store.page(Wanted("family_child")).ids]
    assert [snapshot and snapshot.parent for snapshot in snapshots] == [None] * 3
