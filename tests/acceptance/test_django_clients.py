"""The clients of a Django project as objects: copied, pickled, given to templates."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from django.template import Context, Engine
from django.test import override_settings

from gearmanny.client import SimpleClient
from gearmanny.contrib.django import aio_client, async_client, client, raw_client
from gearmanny.worker import BaseWorker, RawWorker
from tests.support.servers import RunWorker, Server

CLIENTS = [client, async_client, raw_client, aio_client]


class Orders(BaseWorker):
    name = "orders"
    deleted = 0

    def task_delete(self) -> str:
        Orders.deleted += 1
        return "deleted"


class Upper(BaseWorker):
    name = "upper"
    work_class = RawWorker

    def task_case(self, payload: bytes) -> bytes:
        return payload.upper()


@pytest.fixture(autouse=True)
def project(gearman_server: Server) -> Iterator[None]:
    with override_settings(GEARMANNY={"HOSTS": [gearman_server.host]}):
        yield
        for each in (client, async_client, raw_client):
            each.close()


@pytest.mark.parametrize("lazy", CLIENTS, ids=repr)
def test_a_copy_is_the_same_object(lazy: Any) -> None:
    assert copy.copy(lazy) is lazy
    assert copy.deepcopy([lazy]) == [lazy]
    assert pickle.loads(pickle.dumps(lazy)) is lazy


def test_a_raw_client_sends_bytes(gearman_worker: RunWorker) -> None:
    gearman_worker(Upper)
    assert raw_client.upper_case(b"abc") == b"ABC"


def rendered(source: str, **context: Any) -> str:
    return Engine().from_string(source).render(Context(context))


def test_a_template_runs_no_job(gearman_worker: RunWorker, gearman_client: SimpleClient) -> None:
    gearman_worker(Orders)
    before = Orders.deleted
    typed = Orders.using(gearman_client)
    for given in (client, gearman_client):
        assert rendered("{{ client.orders_delete }}", client=given) == ""
        assert rendered("{% if client.nobody_home %}yes{% endif %}", client=given) == ""
    assert rendered("{{ orders.delete }}", orders=typed) == ""
    assert Orders.deleted == before


def test_a_template_neither_closes_a_client_nor_cancels_a_job(gearman_client: SimpleClient) -> None:
    work = gearman_client.using(background=True).submit("orders_delete")
    assert rendered("{{ client.close }}{{ work.cancel }}", client=gearman_client, work=work) == ""
    assert work.cancel()
