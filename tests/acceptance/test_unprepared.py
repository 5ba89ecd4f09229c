"""Tests of a Django project that nothing prepared for calls: none reaches a real job server."""

from __future__ import annotations

import sys

import pytest

from gearmanny.admin import JobServer
from tests.acceptance.test_pytest_plugin import OPTIONS
from tests.support.servers import Server

pytest_plugins = ["pytester"]

SETTINGS = """
import os
SECRET_KEY = "x"
INSTALLED_APPS = ["gearmanny.contrib.django", "shop"]
DATABASES = {}
GEARMANNY = {
    "HOSTS": [os.environ["TEST_HOST"]],
    "TIMEOUT": 20,
    "LIVE_IN_TESTS": bool(os.environ.get("LIVE")),
}
"""

WORKERS = """
from gearmanny.worker import BaseWorker

class Shop(BaseWorker):
    name = "shop"

    def task_price(self):
        return 25
"""

TESTS = """
import asyncio
import os
from django.test import SimpleTestCase, override_settings
from gearmanny.aio import AioClient
from gearmanny.client import AsyncClient, RawClient, SimpleClient
from gearmanny.contrib.django import aio_client, async_client, client, raw_client
from gearmanny.contrib.django.testing import eager
from gearmanny.embedded import JobServer
from shop.workers import Shop

REFUSED = "This test calls the job server .*, because nothing has prepared it"

async def call_by_hand():
    async with AioClient([os.environ["TEST_HOST"]], timeout=20) as client:
        await client.using(background=True).shop_price()

async def call():
    async with aio_client as client:
        await client.using(background=True).shop_price()

class TestCalls(SimpleTestCase):
    def test_nothing_is_sent(self):
        later = {"background": True}
        for each in (client, async_client, raw_client):
            with self.assertRaisesRegex(AssertionError, REFUSED):
                each.using(**later).shop_price()
        with self.assertRaisesRegex(AssertionError, REFUSED):
            asyncio.run(call())

    def test_eager_mode_prepares_it(self):
        with eager([Shop]):
            self.assertEqual(client.shop_price(), 25)

    @override_settings(GEARMANNY={"EAGER": True})
    def test_so_does_the_setting(self):
        self.assertEqual(client.shop_price(), 25)

    def test_and_job_servers_of_the_test(self):
        with override_settings(GEARMANNY={"HOSTS": [os.environ["TEST_HOST"]], "TIMEOUT": 20}):
            client.using(background=True).nobody_home()
            client.close()

    def test_nothing_is_sent_afterwards(self):
        self.test_nothing_is_sent()

    def test_clients_of_its_own_send_nothing_either(self):
        for kind in (SimpleClient, AsyncClient, RawClient):
            with kind([os.environ["TEST_HOST"]], timeout=20) as each:
                with self.assertRaisesRegex(AssertionError, REFUSED):
                    each.using(background=True).shop_price()
        with self.assertRaisesRegex(AssertionError, REFUSED):
            asyncio.run(call_by_hand())

    def test_they_may_call_a_job_server_of_the_test(self):
        with JobServer() as server, SimpleClient([server.host], timeout=20) as each:
            each.using(background=True).shop_price()
"""

LIVE = """
from django.test import SimpleTestCase
from gearmanny.contrib.django import client

class TestCalls(SimpleTestCase):
    def test_it_is_sent(self):
        client.using(background=True).shop_price()
        client.close()
"""

OUTBOX = """
import pytest
from gearmanny.client import SimpleClient
from gearmanny.testing import outbox
from gearmanny.worker import BaseWorker
from django.test import SimpleTestCase, override_settings
from gearmanny.contrib.django import client

@override_settings(GEARMANNY={"EAGER": True})
class TestOutbox(SimpleTestCase):
    def test_one(self):
        client.using(background=True).shop_price()
        assert [sent.function for sent in outbox] == ["shop_price"]

    def test_two(self):
        assert outbox == []
        self.test_one()
"""


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, gearman_server: Server
) -> pytest.Pytester:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings")
    monkeypatch.setenv("TEST_HOST", gearman_server.host)
    pytester.makepyfile(settings=SETTINGS)
    pytester.mkpydir("shop").joinpath("workers.py").write_text(WORKERS)
    return pytester


def queued(server: Server) -> dict[str, int]:
    return {row.function: row.total for row in JobServer(server.host).status()}


def test_calls_are_refused_under_pytest(project: pytest.Pytester, gearman_server: Server) -> None:
    project.makepyfile(test_calls=TESTS)
    project.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=7)
    assert queued(gearman_server) == {"nobody_home": 1}


def test_calls_are_refused_under_the_test_runner_of_django(
    project: pytest.Pytester, gearman_server: Server
) -> None:
    project.makepyfile(test_calls=TESTS)
    result = project.run(sys.executable, "-m", "django", "test", "test_calls")
    assert result.ret == 0, result.stderr.str()
    assert "Ran 7 tests" in result.stderr.str()
    assert queued(gearman_server) == {"nobody_home": 1}


@pytest.mark.parametrize("command", [["pytest", *OPTIONS], ["django", "test", "test_calls"]])
def test_a_project_may_let_its_tests_call(
    project: pytest.Pytester,
    gearman_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    monkeypatch.setenv("LIVE", "1")
    project.makepyfile(test_calls=LIVE)
    result = project.run(sys.executable, "-m", *command)
    assert result.ret == 0, result.stderr.str()
    assert queued(gearman_server) == {"shop_price": 1}


def test_the_outbox_is_empty_at_the_beginning_of_each_test(project: pytest.Pytester) -> None:
    project.makepyfile(test_outbox=OUTBOX)
    project.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=2)
    result = project.run(sys.executable, "-m", "django", "test", "test_outbox")
    assert result.ret == 0, result.stderr.str()
    assert "Ran 2 tests" in result.stderr.str()
