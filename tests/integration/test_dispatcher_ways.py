"""Dispatchers in a thread: behind a pooler, with TLS, and not knowing what was before."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gearmanny.dispatching import dispatcher, losses, schedule
from gearmanny.dispatching.dispatcher import Dispatcher
from gearmanny.dispatching.losses import CONFIRMED_FOR
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.dispatching.schedule import Chore
from gearmanny.net.hosts import parse_hosts
from gearmanny.net.tls import TLS
from gearmanny.records import limits
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import State
from gearmanny.records.values import Claimed, NewJob
from gearmanny.testing import running
from gearmanny.worker import BaseWorker, task
from tests.contract.records.conftest import Database, url_of
from tests.contract.records.test_pooler import pooler
from tests.integration.test_dispatcher import look, taking, until_state, waiting
from tests.support.recorded import Caller
from tests.support.servers import PATIENCE, Server, until
from tests.support.tls import Authority
from tools.proxies import proxy


class Running:
    """A dispatcher in a thread, for the time of a block."""

    def __init__(self, store: SQLStore, host: str, tls: TLS | None = None) -> None:
        self._dispatcher = Dispatcher(
            store, DispatchOptions(hosts=tuple(parse_hosts([host])), tls=tls)
        )
        self._thread = threading.Thread(target=self._dispatcher.run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._dispatcher.stop()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'jobs.db'}")) as database:
        yield database


@pytest.fixture
def blaming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may be to blame for jobs that get lost, as long after the start of a dispatcher."""
    monkeypatch.setattr(losses, "MERCY", 0.0)


@pytest.mark.parametrize("size", [1, 20])
def test_behind_a_pooler_jobs_are_handed_over_and_taken_back(
    postgres_database: dict[str, Any], gearman_server: Server, size: int
) -> None:
    """Without locks and notifications."""
    direct = Database(url_of(postgres_database))
    store = direct.open()
    with pooler(postgres_database, mode="transaction", size=size, round_robin=0) as url:
        dead = SQLStore(url)
        (held,) = waiting(store)
        assert [job.id for job in store.hand_over(1, 10)] == [held]
        assert isinstance(dead.claim(held, "f", 1, dead.register().id), Claimed)
        dead.close()  # and no more signs of life
        with Running(SQLStore(url), gearman_server.host), taking(gearman_server.host, store):
            (id,) = waiting(store)
            until_state(store, id, State.SUCCEEDED)
            assert look(store, held).state is State.RUNNING
            direct.execute("UPDATE gearmanny_processes SET beat = beat - interval '1 minute'")
            assert until_state(store, held, State.SUCCEEDED).deaths == 1
    direct.close()


def test_job_servers_may_be_secured_by_tls(
    gearman_server: Server, authority: Authority, file: Database
) -> None:
    store = file.open()
    with proxy(gearman_server.port, authority.context("localhost")) as secured:
        tls = TLS.of({"ca": authority.file})
        with Running(SQLStore(file.url), secured.named("localhost"), tls):
            (id,) = waiting(store)
            with taking(gearman_server.host, store):
                until_state(store, id, State.SUCCEEDED)


def pass_a_minute(store: SQLStore) -> None:
    """Lets jobs look as if they had been handed over earlier, which are left alone for a while."""
    assert store.handed_before(0, 10) == []
    store.confirm([job.id for job in store.handed_before(-60, 10)], -60)


def test_workers_that_refuse_a_job_have_time_to_be_replaced(
    file: Database, gearman_server: Server, blaming: None
) -> None:
    store = file.open()
    with Running(SQLStore(file.url), gearman_server.host):
        (id,) = waiting(store)
        with taking(gearman_server.host, None) as old:
            until(lambda: (id, 2) in old.got, "another hand-over")
        with taking(gearman_server.host, file.open()) as new:
            pass_a_minute(store)
            until_state(store, id, State.SUCCEEDED)
    assert (old.got, new.got) == ([(id, 1), (id, 2)], [(id, 3)])


def test_what_no_worker_claims_fails(
    file: Database, gearman_server: Server, blaming: None, caplog: pytest.LogCaptureFixture
) -> None:
    store = file.open()
    with (
        Running(SQLStore(file.url), gearman_server.host),
        taking(gearman_server.host, None) as taker,
    ):
        (id,) = waiting(store)
        for number in (2, 3):
            until(lambda number=number: (id, number) in taker.got, "another hand-over")
            pass_a_minute(store)
        found = until_state(store, id, State.FAILED)
    assert taker.got == [(id, 1), (id, 2), (id, 3)]
    assert found.error is not None
    assert "no worker claimed it" in found.error
    assert "no worker claimed it" in caplog.text


def test_what_gearmand_lost_before_a_dispatcher_came_is_handed_over_at_once_and_blames_nobody(
    file: Database, gearman_server: Server
) -> None:
    """Both have been killed, as with their host; the job was known to wait at the job server."""
    store = file.open()
    (submitted,) = store.submit([NewJob("f")])
    store.confirm([submitted.id], CONFIRMED_FOR)
    store.hand_over_again(store.handed_before(-60, 10))  # it may fail the next time but one
    store.confirm([submitted.id], CONFIRMED_FOR)
    with (
        Running(SQLStore(file.url), gearman_server.host),
        taking(gearman_server.host, store) as taker,
    ):
        until_state(store, submitted.id, State.SUCCEEDED)
    assert taker.got == [(submitted.id, 3)]


def test_a_place_that_becomes_free_is_taken_at_once(
    postgres_database: dict[str, Any],
    gearman_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a dispatcher that would not look at all limits before the end of this test."""
    monkeypatch.setattr(dispatcher, "_REST_FROM_LIMITS", 1e9)
    monkeypatch.setitem(schedule.EVERY, Chore.RELEASE, 1000.0)
    monkeypatch.setattr(limits, "_LOOK_EVERY", 1000.0)
    with (
        contextlib.closing(Database(url_of(postgres_database))) as database,
        Running(database.open(), gearman_server.host),
        running(Limited(hosts=[gearman_server.host], records=database.open())),
    ):
        caller = Caller(database.open(), gearman_server)
        ids = [caller.call("limited_one") for _ in range(3)]
        for id in ids:
            caller.until(id, State.SUCCEEDED)


class Limited(BaseWorker):
    name = "limited"
    concurrency = 3

    @task(max_running=1)
    async def task_one(self) -> None:
        await asyncio.sleep(0.1)  # while the others are claimed
