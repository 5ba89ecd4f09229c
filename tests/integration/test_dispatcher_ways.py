"""The ways between a dispatcher, its database and its job servers: a pooler, and TLS."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gearmanny.dispatching.dispatcher import Dispatcher
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.net.hosts import parse_hosts
from gearmanny.net.tls import TLS
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import State
from gearmanny.records.values import Claimed
from tests.contract.records.conftest import Database, url_of
from tests.contract.records.test_pooler import pooler
from tests.integration.test_dispatcher import look, taking, until_state, waiting
from tests.support.servers import PATIENCE, Server
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
    gearman_server: Server, authority: Authority, tmp_path: Any
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'jobs.db'}")
    store = database.open()
    with proxy(gearman_server.port, authority.context("localhost")) as secured:
        tls = TLS.of({"ca": authority.file})
        with Running(SQLStore(database.url), secured.named("localhost"), tls):
            (id,) = waiting(store)
            with taking(gearman_server.host, store):
                until_state(store, id, State.SUCCEEDED)
    database.close()
