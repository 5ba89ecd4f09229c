"""The fixtures for pytest, in runs of their own, as a user's project has them."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pymongo
import pytest

from tests.support.servers import ROOT, find_program, mongodb
from tools.postgres import Postgres

pytest_plugins = ["pytester"]

INSTALLED = entry_points(group="pytest11", name="gearmanny")
OPTIONS = [
    *([] if INSTALLED else ["-p", "gearmanny.pytest_plugin"]),
    *("-W", "error::ResourceWarning", "-W", "error::pytest.PytestUnraisableExceptionWarning"),
]

NOTHING_IS_LEFT = """
import os, threading
import pytest

def left():
    "The threads, sockets and children of this process."
    opened = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            opened.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            pass
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return (
            set(threading.enumerate()),
            {name for name in opened if name.startswith("socket:")},
            children.read(),
        )

@pytest.fixture(autouse=True)
def nothing_is_left():
    before = left()
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):  # asgiref's, which nobody waited for
            thread.join(20)
    assert left() == before
"""

WORKERS = """
import os
from gearmanny.worker import BaseWorker

class Text(BaseWorker):
    name = "text"

    def setUp(self):
        self.calls = 0

    def task_echo(self, value):
        self.calls += 1
        return value

    def task_pid(self):
        return os.getpid()
"""

LIVE = """
import asyncio
import os
import pytest
from gearmanny.admin import JobServer
from workers import Text

def test_a_worker_serves_event_loops(gearman_worker, gearman_aio_client):
    gearman_worker(Text)

    async def echo():
        async with gearman_aio_client as client:
            return await client.text_echo(value=3)

    assert asyncio.run(echo()) == 3

def test_a_worker_serves_the_clients(gearman_worker, gearman_client, gearman_async_client):
    worker = gearman_worker(Text)
    assert gearman_client.text_echo(value=1) == 1
    assert gearman_async_client.text_echo(value=2).get_result(timeout=20) == 2
    assert worker.calls == 2
    assert gearman_client.text_pid() == os.getpid()

def test_a_worker_in_a_process(gearman_worker, gearman_client):
    gearman_worker(Text, process=True)
    assert gearman_client.text_pid() != os.getpid()

@pytest.mark.parametrize("number", range(3))
def test_each_test_is_alone(gearman_server, gearman_worker, gearman_client, number):
    assert JobServer(gearman_server.host).status() == []
    assert gearman_worker(Text).calls == 0
    gearman_client.using(background=True).text_nobody(value=number)
    assert gearman_client.text_echo(value=number) == number

def test_a_class_that_no_process_can_import(gearman_worker):
    class Local(Text): pass
    with pytest.raises(ValueError, match="Move it to the top level of a module"):
        gearman_worker(Local, process=True)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with a worker, whose tests may leave nothing behind."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    pytester.makeconftest(NOTHING_IS_LEFT)
    pytester.makepyfile(workers=WORKERS)
    return pytester


def test_live_fixtures_serve_each_test_alone_and_leave_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(LIVE)
    project.runpytest_subprocess(*OPTIONS, "-p", "no:django").assert_outcomes(passed=7)


def test_live_fixtures_run_side_by_side(project: pytest.Pytester) -> None:
    project.makepyfile(LIVE)
    result = project.runpytest_subprocess(*OPTIONS, "-p", "no:django", "-n", "2", "-k", "alone")
    result.assert_outcomes(passed=3)


def test_live_fixtures_over_gearmand(project: pytest.Pytester) -> None:
    find_program("gearmand", "gearman-job-server")
    project.makepyfile(LIVE)
    project.makepyfile(
        test_version="""
        import pytest
        from gearmanny.admin import JobServer

        def test_version(gearman_server):
            assert JobServer(gearman_server.host).version()[0] in "12"

        @pytest.mark.gearmand("--job-retries=2")
        def test_marked(gearman_server):
            gearman_server.stop()
            gearman_server.start()
            assert JobServer(gearman_server.host).version()[0] in "12"
        """
    )
    result = project.runpytest_subprocess(*OPTIONS, "-p", "no:django", "--gearmand")
    result.assert_outcomes(passed=9)
    result = project.runpytest_subprocess(*OPTIONS, "-p", "no:django", "-k", "marked")
    result.assert_outcomes(passed=1, deselected=8)


def test_eager_fixtures(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        from gearmanny.client import AsyncClient, SimpleClient
        from gearmanny.errors import TaskTimeout
        from workers import Text

        client = SimpleClient(["127.0.0.1:1"])

        @pytest.mark.parametrize("number", range(2))
        def test_calls_run_here(gearman_eager, gearman_outbox, number):
            gearman_eager(Text)
            assert client.text_echo(value=number) == number
            assert AsyncClient().text_echo(value=1).is_done()
            client.using(background=True).text_echo(value=number)
            assert [sent.arguments for sent in gearman_outbox] == [{"value": number}]

        def test_no_worker_is_left_from_other_tests(gearman_eager):
            with pytest.raises(TaskTimeout, match="offered: none"):
                client.text_echo(value=1)

        def test_without_the_fixture_calls_need_a_server():
            with pytest.raises(ConnectionError):
                client.text_echo(value=1)
        """)
    project.runpytest_subprocess(*OPTIONS, "-p", "no:django").assert_outcomes(passed=4)


DJANGO_SETTINGS = """
SECRET_KEY = "for tests only"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "gearmanny.contrib.django", "shop"
]
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": "db"}}
GEARMANNY = {"HOSTS": ["127.0.0.1:1"], "TIMEOUT": 20}
USE_TZ = True
"""

DJANGO_WORKERS = """
from datetime import UTC, datetime
from gearmanny.worker import BaseWorker

class Shop(BaseWorker):
    name = "shop"

    def task_groups(self):
        from django.contrib.auth.models import Group
        return sorted(Group.objects.values_list("name", flat=True))

    def task_add(self, name):
        from django.contrib.auth.models import Group
        Group.objects.create(name=name)

    async def task_add_async(self, name):
        from django.contrib.auth.models import Group
        await Group.objects.acreate(name=name)

    def task_when(self):
        return datetime(2026, 11, 23, tzinfo=UTC)
"""

DJANGO_TESTS = """
from contextlib import contextmanager
import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from gearmanny.aio import AioClient
from gearmanny.contrib.django import client
from gearmanny.contrib.django.testing import eager
from gearmanny.errors import TaskError
from gearmanny.testing import outbox
from gearmanny.worker import BaseWorker, task
from shop.workers import Shop

class Leaving(BaseWorker):
    name = "leaving"

    async def task_now(self):
        raise SystemExit(3)

noted = []

@contextmanager
def note(job):
    noted.append(job.task)
    yield

@pytest.mark.django_db
def test_eager_jobs_share_the_transaction(gearman_eager):
    gearman_eager(Shop)
    Group.objects.create(name="of the test")
    client.shop_add(name="of the task")
    assert client.shop_groups() == ["of the task", "of the test"]
    assert client.shop_when() == "2026-11-23T00:00:00Z"

@pytest.mark.django_db
def test_nothing_is_left_in_the_database():
    assert not Group.objects.exists()

@pytest.mark.django_db
def test_a_live_worker_needs_a_test_without_a_transaction(gearman_worker):
    with pytest.raises(ValueError, match=r"django_db\\(transaction=True\\)"):
        gearman_worker(Shop)

@pytest.mark.django_db(transaction=True)
def test_a_live_worker_sees_what_is_committed(gearman_worker):
    gearman_worker(Shop)
    Group.objects.create(name="of the test")
    client.shop_add(name="of the task")
    assert client.shop_groups() == ["of the task", "of the test"]
    assert client.shop_when() == "2026-11-23T00:00:00Z"

def test_a_process_would_use_the_real_database(gearman_worker):
    with pytest.raises(pytest.UsageError, match="the project's database"):
        gearman_worker(Shop, process=True)

class TestCoroutines(TestCase):
    async def test_jobs_of_an_event_loop_share_the_transaction(self):
        await Group.objects.acreate(name="of the test")
        with eager([Shop]):
            async with AioClient() as aio_client:
                await aio_client.shop_add(name="of the task")
                await aio_client.shop_add_async(name="of the coroutine")
                groups = await aio_client.shop_groups()
        assert groups == ["of the coroutine", "of the task", "of the test"]

    def test_coroutines_share_the_transaction_of_their_caller(self):
        with eager([Shop]):
            client.shop_add_async(name="of the coroutine")
            assert client.shop_groups() == ["of the coroutine"]

    async def test_a_blocking_client_in_a_coroutine(self):
        with eager([Shop]), self.assertRaisesRegex(TaskError, "SynchronousOnlyOperation"):
            client.shop_groups()

    def test_an_exit_is_the_failure_of_its_job(self):
        # The traceback in a log record that is kept would keep a thread of asgiref's.
        with eager([Leaving]), self.assertLogs("gearmanny.worker"):
            with self.assertRaisesRegex(TaskError, "SystemExit: 3"):
                client.leaving_now()

class Interrupted(BaseWorker):
    name = "interrupted"

    @task(timeout=0.05)
    def task_add(self, name):
        transaction.atomic().__enter__()  # an interruption may come before it is left for sure
        Group.objects.create(name=name)
        while True:
            pass

    def add_twice(self):
        Group.objects.create(name="before")
        with eager([Interrupted]), self.assertRaisesRegex(TaskError, "TaskTimeLimitExceeded"):
            client.interrupted_add(name="of the task")
        Group.objects.create(name="after")
        assert sorted(Group.objects.values_list("name", flat=True)) == ["after", "before"]
        return connection.in_atomic_block

class TestInterruptions(TestCase):
    def test_the_transaction_of_a_test_goes_on(self):
        assert Interrupted.add_twice(self)

class TestInterruptionsWithoutATransaction(TransactionTestCase):
    def test_no_transaction_is_left(self):
        assert not Interrupted.add_twice(self)

class TestHooks(TestCase):
    def test_those_of_the_project_run_save_the_one_that_cleans_up(self):
        hooks = ["gearmanny.contrib.django.hooks.healthy_connections", "test_shop.note"]
        with override_settings(GEARMANNY={"HOOKS": hooks}), eager([Shop]):
            with self.assertNumQueries(1):
                client.shop_add(name="of the task")
        assert noted == ["shop_add"]

@override_settings(GEARMANNY={"EAGER": True})
class TestSettings(TestCase):
    def setUp(self):
        outbox.clear()

    def test_the_workers_of_the_project_do_the_jobs(self):
        client.shop_add(name="of the task")
        assert Group.objects.get().name == "of the task"

    def test_a_call_on_commit_waits_for_the_commit(self):
        def call():
            client.using(background=True).shop_add(name="later")

        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            with transaction.atomic():
                transaction.on_commit(call)
            assert not outbox and not Group.objects.exists()
        assert len(callbacks) == len(outbox) == Group.objects.count() == 1

    def test_a_call_on_commit_is_not_made_without_one(self):
        transaction.on_commit(lambda: client.using(background=True).shop_add(name="later"))
        assert not outbox
"""


FRESH_WORKERS = """
import django.test, unittest
from gearmanny.contrib.django import client

def count(test):
    assert client.shop_count() == 1
    assert client.shop_count() == 2

def language(test):
    from django.utils import translation
    with translation.override("de"):
        assert client.shop_language() == "en-us"
        assert translation.get_language() == "de"

class TestFirst(django.test.SimpleTestCase):
    test_one, test_another, test_language = count, count, language

class TestSecond(django.test.SimpleTestCase):
    test_one = count
"""

FRESH_FUNCTIONS = """
import pytest
from gearmanny.client import SimpleClient
from gearmanny.testing import eager
from shop.workers import Shop

@pytest.fixture(scope="module")
def lasting():
    with eager([Shop]), SimpleClient() as client:
        yield client

@pytest.mark.parametrize("number", [1, 2])
def test_count(lasting, number):
    assert lasting.shop_count() == 1
    assert lasting.shop_count() == 2
"""


@pytest.mark.parametrize("django_runner", [True, False])
def test_a_test_has_fresh_workers(project: pytest.Pytester, django_runner: bool) -> None:
    settings = f"{DJANGO_SETTINGS}\nGEARMANNY = {{'EAGER': True}}"
    project.makepyfile(project_settings=settings, test_fresh=FRESH_WORKERS)
    (project.mkpydir("shop") / "workers.py").write_text(
        """
from django.utils import translation
from gearmanny.worker import BaseWorker

class Shop(BaseWorker):
    name = "shop"

    def setUp(self):
        self.calls = 0

    def task_count(self):
        self.calls += 1
        return self.calls

    async def task_language(self):
        return translation.get_language()
"""
    )
    if django_runner:
        command = [sys.executable, "-m", "django", "test", "--settings", "project_settings"]
        assert project.run(*command).ret == 0
    else:
        project.makepyfile(test_functions=FRESH_FUNCTIONS)
        result = project.runpytest_subprocess(*OPTIONS, "--ds=project_settings")
        result.assert_outcomes(passed=6)


def test_a_django_project(project: pytest.Pytester) -> None:
    project.makepyfile(project_settings=DJANGO_SETTINGS, test_shop=DJANGO_TESTS)
    (project.mkpydir("shop") / "workers.py").write_text(DJANGO_WORKERS)
    result = project.runpytest_subprocess(*OPTIONS, "--ds=project_settings")
    result.assert_outcomes(passed=15)


LIVE_TESTS = """
import pytest
from django.contrib.auth.models import Group
from gearmanny.contrib.django import client
from shop.workers import Shop

@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("function", ["shop_add", "shop_add_async"])
def test_a_live_worker(gearman_worker, function):
    gearman_worker(Shop)
    client.call(function, name="of the task")
    assert Group.objects.get().name == "of the task"
"""


INTERRUPTED_TESTS = """
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import TestCase
from gearmanny.contrib.django import client
from gearmanny.contrib.django.testing import eager
from gearmanny.errors import TaskError
from gearmanny.worker import BaseWorker, task

committed = []

class Interrupted(BaseWorker):
    name = "interrupted"

    @task(timeout=0.1)
    def task_wait(self):
        Group.objects.create(name="of the task")
        transaction.on_commit(lambda: committed.append(1))
        connection.cursor().execute("SELECT pg_sleep(60)")

    @task(timeout=60)
    def task_write(self, name):
        Group.objects.create(name=name)

class TestInterruptions(TestCase):
    def test_the_transaction_of_a_test_goes_on(self):
        Group.objects.create(name="before")
        with eager([Interrupted]), self.captureOnCommitCallbacks(execute=True):
            for number in range(3):
                with self.assertRaisesRegex(TaskError, "TaskTimeLimitExceeded"):
                    client.interrupted_wait()
                client.interrupted_write(name=str(number))
        Group.objects.create(name="after")
        names = sorted(Group.objects.values_list("name", flat=True))
        assert names == ["0", "1", "2", "after", "before"]
        assert committed == []

    def test_no_query_is_counted_that_a_task_did_not_make(self):
        with eager([Interrupted]), self.assertNumQueries(1):
            client.interrupted_write(name="one")
"""


def test_an_interrupted_query_does_not_spoil_the_transaction_of_a_test(
    pytester: pytest.Pytester, postgres: Postgres
) -> None:
    databases = {"default": postgres.settings()}
    settings = f"{DJANGO_SETTINGS}\nDATABASES = {databases}"
    pytester.makepyfile(project_settings=settings, test_interrupted=INTERRUPTED_TESTS)
    (pytester.mkpydir("shop") / "workers.py").write_text(DJANGO_WORKERS)
    result = pytester.runpytest_subprocess(*OPTIONS, "--ds=project_settings", "--create-db")
    result.assert_outcomes(passed=2)


def test_a_test_database_can_be_removed_after_live_workers(
    pytester: pytest.Pytester, postgres: Postgres
) -> None:
    databases = {"default": postgres.settings(CONN_MAX_AGE=None)}
    settings = f"{DJANGO_SETTINGS}\nDATABASES = {databases}"
    pytester.makepyfile(project_settings=settings, test_live=LIVE_TESTS)
    (pytester.mkpydir("shop") / "workers.py").write_text(DJANGO_WORKERS)
    result = pytester.runpytest_subprocess(*OPTIONS, "--ds=project_settings", "--create-db")
    result.assert_outcomes(passed=2)
    result.stderr.no_fnmatch_line("*being accessed by other users*")
    assert "being accessed" not in result.stdout.str()


def test_the_plugin_imports_nothing_before_it_is_used() -> None:
    code = (
        "import pytest, sys; before = set(sys.modules); import gearmanny.pytest_plugin\n"
        "print(*sorted(sys.modules.keys() - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["gearmanny", "gearmanny.pytest_plugin"]


CACHED = """
import itertools
import pytest
from gearmanny.helpers.cache_mongodb import cacheBuilder
from gearmanny.worker import BaseWorker

cachewrap = cacheBuilder("MONGODB", "developers", "own", timeout=10)
runs = itertools.count(1)

class Costly(BaseWorker):
    name = "costly"

    @cachewrap("costly")
    def task_run(self, n):
        return next(runs)

    @cachewrap("acostly")
    async def task_arun(self, n):
        return next(runs)
"""

CACHED_TESTS = """
import os
import pytest
from cached_workers import Costly, runs
from gearmanny.client import SimpleClient

@pytest.mark.parametrize("again", range(2))
def test_eager_without(gearman_eager, again):
    gearman_eager(Costly)
    client = SimpleClient()
    assert client.costly_run(n=1) != client.costly_run(n=1)

@pytest.mark.parametrize("again", range(2))
def test_live_without(gearman_worker, gearman_client, again):
    gearman_worker(Costly)
    assert gearman_client.costly_run(n=1) != gearman_client.costly_run(n=1)

@pytest.mark.parametrize("name", ["run", "arun"])
@pytest.mark.parametrize("again", range(2))
def test_eager_with(gearman_cache, gearman_eager, name, again):
    gearman_eager(Costly)
    client = SimpleClient()
    before = next(runs)
    assert client.call(f"costly_{name}", n=1) == client.call(f"costly_{name}", n=1) == before + 1

@pytest.mark.parametrize("name", ["run", "arun"])
@pytest.mark.parametrize("again", range(2))
def test_live_with(gearman_worker, gearman_client, gearman_cache, name, again):
    gearman_worker(Costly)
    before = next(runs)
    call = gearman_client.call
    assert call(f"costly_{name}", n=1) == call(f"costly_{name}", n=1) == before + 1

@pytest.mark.parametrize("again", range(2))
def test_process_without(gearman_worker, gearman_client, again):
    gearman_worker(Costly, process=True)
    assert [gearman_client.costly_run(n=1) for _ in range(2)] == [1, 2]

@pytest.mark.parametrize("again", range(2))
def test_process_with(gearman_cache, gearman_worker, gearman_client, again):
    gearman_worker(Costly, process=True)
    assert [gearman_client.costly_run(n=1) for _ in range(2)] == [1, 1]
    assert Costly.task_run.cached(n=1) == 1
"""


def test_caches_are_off_unless_a_test_turns_them_on(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mongodb(own=True) as uri, pymongo.MongoClient(uri) as client:
        pytester.makepyfile(cached_workers=CACHED.replace("MONGODB", uri), test_cached=CACHED_TESTS)
        monkeypatch.setenv("PYTHONPATH", f"{pytester.path}:{ROOT}")
        result = pytester.runpytest_subprocess(*OPTIONS, "-p", "no:django")
        result.assert_outcomes(passed=16)
        assert not {"developers"} & set(client.list_database_names())
        assert not [name for name in client.list_database_names() if "gearmanny_test" in name]


def test_a_django_project_in_eager_mode_has_no_cache_either(
    pytester: pytest.Pytester, mongodb_uri: str, unique_name: str
) -> None:
    cache = {"HOST": mongodb_uri, "DBNAME": unique_name, "TIMEOUT": 10}
    pytester.makepyfile(
        project_settings=DJANGO_SETTINGS.replace(', "shop"', "")
        + f'GEARMANNY = {{"EAGER": True, "CACHE": {cache!r}}}\n',
        test_cached="""
        import itertools
        from gearmanny.contrib.django import cachewrap
        runs = itertools.count(1)
        costly = cachewrap("costly")(lambda n: next(runs))

        def test_without():
            assert [costly(1), costly(1)] == [1, 2]

        def test_with(gearman_cache):
            assert [costly(1), costly(1)] == [3, 3]

        def test_without_again():
            assert [costly(1), costly(1)] == [4, 5]
        """,
    )
    result = pytester.runpytest_subprocess(*OPTIONS, "--ds=project_settings")
    result.assert_outcomes(passed=3)
