"""The Django app: settings, clients on first use, discovery, and `manage.py runworkers`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import override_settings

from gearmanny.admin import JobServer
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.contrib.django import aio_client, async_client, cachewrap, client, clients
from gearmanny.contrib.django.discovery import DiscoveryError
from gearmanny.contrib.django.encoding import DjangoJsonWorker
from gearmanny.contrib.django.hooks import healthy_connections
from gearmanny.contrib.django.sections import CacheSettings
from gearmanny.contrib.django.settings import HYGIENE, Settings, get_settings
from gearmanny.errors import EncodingError, TaskError, TaskTimeout
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tests.support.servers import PATIENCE, Server, Start, free_port, until, workers_of
from tests.support.tls import Authority
from tools.proxies import proxy


def runworkers(*arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command("runworkers", *arguments, stdout=output, **options)
    return output.getvalue()


class TestSettings:
    def test_defaults_are_those_that_are_documented(self) -> None:
        with override_settings(GEARMANNY={}):
            settings = get_settings()
        assert settings.HOSTS == ["localhost:4730"]
        assert (settings.TIMEOUT, settings.THREADS, settings.KEEPALIVE) == (60, 1, True)
        assert (settings.GRACE, settings.MAX_JOBS, settings.MAX_MEMORY) == (600, None, None)
        assert (settings.MAX_CRASHES, settings.CRASH_WINDOW) == (7, 60)
        assert (settings.PREFETCH, settings.CONCURRENCY, settings.TLS) == (None, None, None)
        assert settings.HOOKS == ["gearmanny.contrib.django.hooks.healthy_connections"]
        assert (settings.METRICS_PORT, settings.METRICS_ADDRESS) == (None, "127.0.0.1")
        assert (settings.EAGER, settings.EMBEDDED) == (False, False)
        assert settings.CACHE.HOST == "mongodb://localhost:27017/"
        assert settings.CACHE.DBNAME == "GEARMANCACHE"
        assert settings.CACHE.COLLECTION == "gearman_cache_table"
        assert (settings.CACHE.DEBUG, settings.CACHE.washer()) == (False, None)

    @pytest.mark.parametrize("key", [each.name for each in fields(Settings)])
    def test_no_key_takes_everything(self, key: str) -> None:
        with (
            override_settings(GEARMANNY={key: object()}),
            pytest.raises(ImproperlyConfigured, match=rf"GEARMANNY(\['{key}'\])? ?"),
        ):
            get_settings()

    @pytest.mark.parametrize("key", [each.name for each in fields(CacheSettings)])
    def test_nor_does_one_of_the_cache(self, key: str) -> None:
        with (
            override_settings(GEARMANNY={"CACHE": {key: object()}}),
            pytest.raises(ImproperlyConfigured, match=rf"GEARMANNY\['CACHE'\]\['{key}'\]"),
        ):
            get_settings()

    def test_changed_settings_are_read_again(self) -> None:
        with override_settings(GEARMANNY={"THREADS": 3}):
            assert get_settings().THREADS == 3
            with override_settings(GEARMANNY={"THREADS": 4}):
                assert get_settings().THREADS == 4
            assert get_settings().THREADS == 3

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ({"HOST": []}, r"GEARMANNY has no key 'HOST'. It has HOSTS, TIMEOUT, "),
            ({"CACHE": {"URI": ""}}, r"GEARMANNY\['CACHE'\] has no key 'URI'"),
            ({"HOSTS": "localhost:4730"}, r"GEARMANNY\['HOSTS'\]: hosts must be a list"),
            ({"HOSTS": []}, r"GEARMANNY\['HOSTS'\]: hosts is empty"),
            ({"CACHE": {"DEBUG": "yes"}}, r"GEARMANNY\['CACHE'\]\['DEBUG'\] must be True or False"),
            ({"TIMEOUT": "60"}, r"GEARMANNY\['TIMEOUT'\] must be a number of seconds"),
            ({"THREADS": 0}, r"GEARMANNY\['THREADS'\] must be a whole number from 1 to 10000"),
            ({"GRACE": "long"}, r"GEARMANNY\['GRACE'\] must be a number of seconds, 0 or more"),
            ({"MAX_JOBS": 0}, r"GEARMANNY\['MAX_JOBS'\] must be a whole number"),
            ({"CRASH_WINDOW": None}, r"GEARMANNY\['CRASH_WINDOW'\] must be a number of seconds"),
            ({"TLS": {"cafile": "x"}}, r"GEARMANNY\['TLS'\]: tls has no key 'cafile'"),
            ({"KEEPALIVE": 1}, r"GEARMANNY\['KEEPALIVE'\] must be True or False, not 1"),
            ({"METRICS_ADDRESS": ""}, r"\['METRICS_ADDRESS'\] must be an address of this machine"),
            ({"EAGER": "yes"}, r"GEARMANNY\['EAGER'\] must be True or False, not 'yes'"),
            (["localhost"], r"GEARMANNY must be a dict, not list"),
            ({"CACHE": []}, r"GEARMANNY\['CACHE'\] must be a dict, not list"),
            ({"MAX_PACKET": 100}, r"\['MAX_PACKET'\] must be a whole number of bytes from"),
            ({"MAX_PACKET": None}, r"\['MAX_PACKET'\] must be a whole number of bytes"),
            ({"HOOKS": "a.path"}, r"GEARMANNY\['HOOKS'\]: hooks must be a list"),
            ({"HOOKS": [5]}, r"GEARMANNY\['HOOKS'\]: 5 is not a hook"),
            ({"METRICS_PORT": 0}, r"\['METRICS_PORT'\] must be a whole number from 1 to 65535"),
        ],
    )
    def test_what_cannot_be_is_told_by_the_check_and_on_use(self, value: Any, message: str) -> None:
        with override_settings(GEARMANNY=value):
            with pytest.raises(ImproperlyConfigured, match=message):
                get_settings()
            (error,) = run_checks(tags=["gearmanny"])
        assert error.id == "gearmanny.E001"
        assert re.search(message, error.msg)

    @pytest.mark.parametrize(
        "cache", ["mongodb://me:hunter2@host/", {"HOST": "mongodb://me:hunter2@host/", "PORT": 1}]
    )
    def test_a_wrong_cache_is_told_without_its_password(self, cache: Any) -> None:
        with override_settings(GEARMANNY={"CACHE": cache}):
            (error,) = run_checks(tags=["gearmanny"])
            with pytest.raises(CommandError) as caught:
                runworkers()
        assert "hunter2" not in f"{error!r} {caught.value}"

    def test_settings_do_not_show_the_password_of_the_cache(self) -> None:
        with override_settings(GEARMANNY={"CACHE": {"HOST": "mongodb://me:hunter2@host/"}}):
            assert "hunter2" not in repr(get_settings())

    def test_clients_have_the_limit_of_the_settings(self, gearman_server: Server) -> None:
        limited = {"HOSTS": [gearman_server.host], "MAX_PACKET": 10_000}
        with override_settings(GEARMANNY=limited), pytest.raises(EncodingError, match="max_packet"):
            client.anything(text="x" * 10_000)

    @pytest.mark.parametrize(
        ("key", "number"), [("EAGER", "gearmanny.W001"), ("EMBEDDED", "gearmanny.W002")]
    )
    def test_what_is_not_for_production_is_warned_of_where_a_project_is_deployed(
        self, key: str, number: str
    ) -> None:
        with override_settings(GEARMANNY={key: True, "TIMEOUT": 20}):
            assert run_checks(tags=["gearmanny"]) == []
            (warning,) = run_checks(tags=["gearmanny"], include_deployment_checks=True)
        assert warning.id == number

    @pytest.mark.parametrize(
        ("timeout", "words"), [(60, "wait for 60 seconds"), (None, "wait for ever"), (30, "")]
    )
    def test_a_timeout_longer_than_that_of_web_servers_is_warned_of_where_a_project_is_deployed(
        self, timeout: float | None, words: str
    ) -> None:
        with override_settings(GEARMANNY={"TIMEOUT": timeout}):
            assert run_checks(tags=["gearmanny"]) == []
            warnings = run_checks(tags=["gearmanny"], include_deployment_checks=True)
        assert [warning.id for warning in warnings] == ["gearmanny.W008"] * bool(words)
        assert all(words in warning.msg and warning.hint for warning in warnings)

    def test_a_washer_that_leads_nowhere_is_told_by_the_check(self) -> None:
        with override_settings(GEARMANNY={"CACHE": {"RETURNVALUE_WASHER": "no.such.washer"}}):
            (error,) = run_checks(tags=["gearmanny"])
        assert error.msg == (
            "GEARMANNY['CACHE']['RETURNVALUE_WASHER'] cannot be imported: No module named 'no'"
        )


class Echo(BaseWorker):
    name = "echo"

    def task_value(self, value: Any) -> Any:
        return value


class TestClients:
    @pytest.fixture
    def gearman_django(self) -> bool:
        return True

    @pytest.fixture(autouse=True)
    def worker(self, gearman_worker: Callable[..., BaseWorker]) -> None:
        gearman_worker(Echo)

    def test_clients_call_as_the_settings_say(self) -> None:
        assert client.echo_value(value=1) == 1
        assert client.call("echo_value", value=2) == 2
        assert async_client.echo_value(value=3).get_result(timeout=20) == 3

    def test_clients_call_workers_through_their_classes(self) -> None:
        assert Echo.using(client).task_value(value=1) == 1
        assert Echo.using(client.using(timeout=5)).task_value(value=2) == 2
        assert Echo.using(async_client).task_value(value=3).get_result(timeout=20) == 3

    def test_clients_follow_changed_settings(self) -> None:
        assert client.echo_value(value=1) == 1
        with override_settings(GEARMANNY={"HOSTS": ["127.0.0.1:1"]}):
            assert "127.0.0.1:1>" in repr(client._client())
            with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1 "):
                client.echo_value(value=1)
        assert client.echo_value(value=2) == 2

    def test_eager_mode_comes_and_goes_with_the_settings(self) -> None:
        with override_settings(GEARMANNY={"EAGER": True}):
            assert client.good_pid() == os.getpid()
            assert async_client.good_values().is_done()
            with pytest.raises(TaskTimeout, match="offered: good_fail, "):
                client.echo_value(value=1)
        assert client.echo_value(value=2) == 2

    def test_coroutines_have_a_client_for_each_event_loop(self) -> None:
        async def main() -> None:
            assert await aio_client.echo_value(value=1) == 1
            assert await aio_client.using(timeout=20).echo_value(value=2) == 2
            elsewhere = {"HOSTS": ["127.0.0.1:1"]}
            with override_settings(GEARMANNY=elsewhere), pytest.raises(ConnectionError):
                await aio_client.echo_value(value=3)
            with override_settings(GEARMANNY={"EAGER": True}):
                assert await aio_client.good_pid() == os.getpid()
            async with aio_client as same:
                assert await same.echo_value(value=4) == 4
            assert await aio_client.echo_value(value=5) == 5

        asyncio.run(main())
        asyncio.run(main())

    def test_event_loops_of_threads_do_not_get_in_each_others_way(self) -> None:
        async def main(number: int) -> object:
            return await aio_client.echo_value(value=number)

        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda number: asyncio.run(main(number)), range(40)))
        assert answers == list(range(40))
        assert len(cast("Any", aio_client)._clients) <= 5  # those of loops that have ended are gone

    def test_the_client_of_coroutines_is_told_apart_from_the_others(self) -> None:
        with pytest.raises(RuntimeError, match="Use client or async_client"):
            aio_client.echo_value(value=1)

    def test_workers_that_cannot_be_found_in_eager_mode_are_told_of_at_each_call(self) -> None:
        apps = ["gearmanny.contrib.django", "tests.djangoapps.broken"]
        with override_settings(GEARMANNY={"EAGER": True}, INSTALLED_APPS=apps):
            for _ in range(2):
                with pytest.raises(DiscoveryError, match="No module named 'no_such_module'"):
                    client.good_pid()

    def test_arguments_are_encoded_as_django_does(self) -> None:
        moment = datetime(2026, 11, 23, 12, tzinfo=UTC)
        assert client.echo_value(value=moment) == "2026-11-23T12:00:00Z"

    def test_inspecting_a_client_does_not_call(self) -> None:
        with pytest.raises(AttributeError):
            client._ipython_display_  # noqa: B018
        assert not hasattr(async_client, "__wrapped__")


def test_importing_the_clients_needs_no_settings_and_connects_to_nothing() -> None:
    code = (
        "from gearmanny.contrib.django import aio_client, client, async_client, cachewrap\n"
        "print(client, async_client, aio_client)\n"
        "cached = cachewrap('name', max_days_age=0.5)(lambda: 1)\n"
        "from gearmanny.interface import Interface\n"
        "class Echo(Interface):\n"
        "    name = 'echo'\n"
        "    def task_echo(self, value): ...\n"
        "echo = Echo.using(client).task_echo\n"
        "from django.conf import settings; assert not settings.configured\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "<SimpleClient as the settings say, not used yet>" in done.stdout


@pytest.fixture
def caches_closed() -> Iterator[None]:
    """Closes the connections to MongoDB, which a process keeps until it ends."""
    yield
    clients._cache_for.cache_clear()


@pytest.mark.usefixtures("caches_closed")
def test_cachewrap_uses_the_cache_of_the_settings(mongodb_uri: str, unique_name: str) -> None:
    calls: list[int] = []

    @cachewrap(unique_name, max_days_age=1)
    def double(n: int) -> int:
        calls.append(n)
        return n * 2

    cache = {"HOST": mongodb_uri, "COLLECTION": unique_name, "RETURNVALUE_WASHER": "builtins.str"}
    with override_settings(GEARMANNY={"CACHE": cache}):
        assert (double(2), double(n=2), calls) == ("4", "4", [2])
    with override_settings(GEARMANNY={"CACHE": {**cache, "COLLECTION": f"{unique_name}b"}}):
        assert (double(2), calls) == ("4", [2, 2])


@pytest.mark.usefixtures("caches_closed")
def test_what_django_can_write_can_be_cached(mongodb_uri: str, unique_name: str) -> None:
    calls: list[int] = []

    @cachewrap(unique_name)
    def moment(day: datetime) -> dict[str, datetime]:
        calls.append(1)
        return {"noon": day.replace(hour=12)}

    day = datetime(2026, 11, 23, tzinfo=UTC)
    with override_settings(GEARMANNY={"CACHE": {"HOST": mongodb_uri}}):
        for _ in range(2):
            assert moment(day) == {"noon": "2026-11-23T12:00:00Z"}
    assert len(calls) == 1


@pytest.mark.usefixtures("caches_closed")
def test_all_options_of_the_cache_are_settings(mongodb_uri: str, unique_name: str) -> None:
    options = {
        "TIMEOUT": 5,
        "LEASE": 7,
        "STALE_DAYS": 0.5,
        "ENABLED": False,
        "JSON_ENCODER": "json.JSONEncoder",
    }
    with override_settings(GEARMANNY={"CACHE": {"HOST": mongodb_uri, **options}}):
        cache = clients.get_cache()
        assert (cache.storage().limit, cache.stale, cache.is_on) == (5, timedelta(0.5), False)
        assert cache.json_encoder is json.JSONEncoder


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"TIMEOUT": 0}, r"GEARMANNY\['CACHE'\]\['TIMEOUT'\] must be a number of seconds above 0"),
        ({"LEASE": None}, r"\['LEASE'\] must be"),
        ({"STALE_DAYS": -1}, r"\['STALE_DAYS'\] must be a number of days, 0 or more"),
        ({"ENABLED": "yes"}, r"\['ENABLED'\] must be True or False"),
        ({"HOST": ""}, r"\['HOST'\] must be a string, not an empty one"),
        ({"JSON_ENCODER": "builtins.str"}, r"\['JSON_ENCODER'\] must be a class of json.JSONEnc"),
        ({"JSON_ENCODER": "no.such"}, r"\['JSON_ENCODER'\] cannot be imported: No module"),
        ({"RETURNVALUE_WASHER": 5}, r"\['RETURNVALUE_WASHER'\] must be a function"),
    ],
    ids=str,
)
def test_a_wrong_option_of_the_cache_is_told_by_the_check(
    option: dict[str, Any], message: str
) -> None:
    with override_settings(GEARMANNY={"CACHE": option}):
        (error,) = run_checks(tags=["gearmanny"])
    assert error.id == "gearmanny.E001"
    assert re.search(message, error.msg)


@pytest.mark.usefixtures("caches_closed")
class TestTheCommandForTheCache:
    @pytest.fixture
    def cache(self, mongodb_uri: str, unique_name: str) -> Iterator[None]:
        cache = {"HOST": mongodb_uri, "COLLECTION": unique_name, "TIMEOUT": 10}
        with override_settings(GEARMANNY={"CACHE": cache}):
            for name, numbers in (("reports", range(3)), ("words", range(2))):
                count = cachewrap(name)(lambda n: n)
                for n in numbers:
                    count(n)
            yield

    def gearmanny(self, *arguments: str) -> list[str]:
        out = StringIO()
        call_command("gearmanny", *arguments, stdout=out)
        return out.getvalue().splitlines()

    def test_info_shows_what_there_is(self, cache: None) -> None:
        reports, words = self.gearmanny("cache", "info")
        assert re.fullmatch(r"reports: 3 answers, \d+ bytes, newest 20\d\d-.*", reports)
        assert words.startswith("words: 2 answers, ")
        assert self.gearmanny("cache", "info", "words") == [words]
        assert self.gearmanny("cache", "info", "none") == []

    def test_clear_deletes_the_answers_of_one_function_or_all(self, cache: None) -> None:
        assert self.gearmanny("cache", "clear", "reports") == ["3 answers deleted"]
        assert [row.partition(":")[0] for row in self.gearmanny("cache", "info")] == ["words"]
        assert self.gearmanny("cache", "clear") == ["2 answers deleted"]
        assert self.gearmanny("cache", "info") == []

    def test_without_mongodb_it_is_told(self) -> None:
        cache = {"HOST": f"mongodb://127.0.0.1:{free_port()}/", "TIMEOUT": 0.2}
        with (
            override_settings(GEARMANNY={"CACHE": cache}),
            pytest.raises(CommandError, match="MongoDB cannot be used"),
        ):
            self.gearmanny("cache", "info")

    def test_a_verb_is_needed(self) -> None:
        for wrong in ([], ["cache"], ["cache", "fill"], ["queue"]):
            with pytest.raises(CommandError):
                self.gearmanny(*wrong)


def test_all_threads_get_the_same_client_at_first_use(gearman_server: Server) -> None:
    with override_settings(GEARMANNY={"HOSTS": [gearman_server.host]}):
        client.close()
        with ThreadPoolExecutor(16) as pool:
            assert len(set(pool.map(lambda _: id(client._client()), range(64)))) == 1


class TestHooks:
    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("no.such.hook", r"'no\.such\.hook' cannot be imported: ModuleNotFoundError"),
            ("gearmanny.__version__", r"is not a hook"),
        ],
    )
    def test_a_path_that_leads_to_no_hook_is_told_by_the_check_and_by_runworkers(
        self, path: str, message: str
    ) -> None:
        with override_settings(GEARMANNY={"HOOKS": [HYGIENE, path]}):
            (error,) = run_checks(tags=["gearmanny"])
            with pytest.raises(CommandError, match=message):
                runworkers()
        assert error.id == "gearmanny.E001"
        assert re.search(message, error.msg)

    @pytest.mark.parametrize("hygiene", [HYGIENE, healthy_connections])
    def test_to_leave_the_hygiene_of_connections_out_is_warned_of(self, hygiene: Any) -> None:
        mine = "tests.djangoapps.good.hooks.only_pids"
        with override_settings(GEARMANNY={"HOOKS": [mine]}):
            (warning,) = run_checks(tags=["gearmanny"])
        assert (warning.id, HYGIENE in warning.msg) == ("gearmanny.W003", True)
        with override_settings(GEARMANNY={"HOOKS": [hygiene, mine]}):
            assert not run_checks(tags=["gearmanny"])


class TestDiscovery:
    def test_list_names_the_workers_and_their_functions(self) -> None:
        assert runworkers(list=True, no_color=True).splitlines() == [
            "tests.djangoapps.good.workers.Good (good): good_fail, good_meet, good_pid, "
            "good_query, good_values, good_wait_for, good_help",
            "tests.djangoapps.good.workers.Other (other): other_pid, other_help",
        ]

    def test_names_select_workers(self) -> None:
        listed = runworkers("other", list=True, no_color=True)
        assert listed.startswith("tests.djangoapps.good.workers.Other")
        assert "Good" not in listed

    def test_an_unknown_name_is_told_with_the_known_ones(self) -> None:
        with pytest.raises(
            CommandError, match=r"No worker is named 'god'\. There are: good, other\."
        ):
            runworkers("god", list=True)

    @override_settings(INSTALLED_APPS=["gearmanny.contrib.django", "tests.djangoapps.broken"])
    def test_a_module_that_cannot_be_imported_is_named_with_its_app(self) -> None:
        with pytest.raises(CommandError) as caught:
            runworkers()
        assert "The workers of the app 'broken' cannot be imported" in str(caught.value)
        assert "No module named 'no_such_module'" in str(caught.value)
        assert caught.value.returncode == 1

    @override_settings(INSTALLED_APPS=["gearmanny.contrib.django", "tests.djangoapps.empty"])
    def test_a_project_without_workers_is_told_where_to_write_them(self) -> None:
        with pytest.raises(CommandError, match=r"No worker found.*workers\.py of an app"):
            runworkers()


class TestRunworkers:
    def test_it_prints_what_it_runs_and_logs_every_job(
        self,
        start_runworkers: Start,
        gearman_client: SimpleClient,
        gearman_server: Server,
        tmp_path: Path,
    ) -> None:
        process = start_runworkers("good", "--threads", "2", "--no-color")
        assert gearman_client.good_pid() != process.pid

        until(lambda: workers_of(gearman_server, "good_pid") == 2)
        assert workers_of(gearman_server, "other_pid") == 0
        output = (tmp_path / "stdout").read_text()
        assert re.fullmatch(
            r"gearmanny \S+, Django settings 'tests\.django_settings'\n"
            rf"Job servers: {gearman_server.host}\n"
            r"1 worker\(s\) in 2 process\(es\), logging at INFO\n"
            r"tests\.djangoapps\.good\.workers\.Good \(good\): good_fail, .*good_help\n"
            r"Ready; quit with CONTROL-C\.\n",
            output,
        ), output
        process.terminate()
        assert process.wait(PATIENCE) == 0
        log = (tmp_path / "stderr").read_text()
        assert re.search(
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \[\d+\] INFO good_pid answered in \d\.\d{3} s$",
            log,
            re.MULTILINE,
        ), log

    def test_a_class_that_is_the_default_anyway_has_no_processes_of_its_own(self) -> None:
        class Chosen(BaseWorker):
            name = "chosen"
            work_class = DjangoJsonWorker

        class Default(BaseWorker):
            name = "default"

        runner = WorkRunner([Chosen, Default], default_work_class=DjangoJsonWorker)
        assert [str(slot) for slot in runner.slots(2)] == ["chosen+default-1", "chosen+default-2"]

    def test_verbosity_0_is_quiet_but_tells_failures(
        self, start_runworkers: Start, gearman_client: SimpleClient, tmp_path: Path
    ) -> None:
        process = start_runworkers("-v", "0")
        gearman_client.good_pid()
        with pytest.raises(TaskError) as caught:
            gearman_client.good_fail()
        assert caught.value.traceback is None
        process.terminate()
        assert process.wait(PATIENCE) == 0

        assert (tmp_path / "stdout").read_text() == ""
        log = (tmp_path / "stderr").read_text()
        assert "answered" not in log
        assert "ERROR good_fail failed: builtins.ValueError: as told" in log

    def test_tracebacks_travel_under_debug(
        self, start_runworkers: Start, gearman_client: SimpleClient
    ) -> None:
        start_runworkers(TEST_DEBUG="1")
        with pytest.raises(TaskError) as caught:
            gearman_client.good_fail()
        assert 'raise ValueError("as told")' in (caught.value.traceback or "")

    def test_results_are_encoded_as_django_does(
        self, start_runworkers: Start, gearman_client: SimpleClient
    ) -> None:
        start_runworkers()
        assert gearman_client.good_values() == {
            "moment": "2026-11-23T12:00:00Z",
            "price": "1.50",
            "id": "00000000-0000-0000-0000-000000000005",
        }

    def test_every_job_begins_without_a_stale_connection_or_a_grown_log_of_queries(
        self, start_runworkers: Start, gearman_client: SimpleClient
    ) -> None:
        start_runworkers(TEST_DEBUG="1")
        assert [gearman_client.good_query() for _ in range(3)] == [[True, 0]] * 3

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_lets_the_job_finish_and_exits_0(
        self,
        start_runworkers: Start,
        gearman_server: Server,
        tmp_path: Path,
        number: signal.Signals,
    ) -> None:
        process = start_runworkers()
        path = tmp_path / "go"
        with AsyncClient([gearman_server.host]) as client:
            work = client.good_wait_for(path=str(path))
            until(Path(f"{path}.started").exists)
            process.send_signal(number)
            path.touch()
            assert work.get_result(timeout=PATIENCE) == "done"
        assert process.wait(PATIENCE) == 0

    def test_without_keepalive_it_ends_with_its_processes(
        self, start_runworkers: Start, gearman_client: SimpleClient
    ) -> None:
        process = start_runworkers("--no-keepalive")
        os.kill(gearman_client.good_pid(), signal.SIGTERM)
        assert process.wait(PATIENCE) == 0

    def test_without_keepalive_a_bad_end_exits_with_1(
        self, start_runworkers: Start, gearman_client: SimpleClient, tmp_path: Path
    ) -> None:
        process = start_runworkers("--no-keepalive")
        os.kill(gearman_client.good_pid(), signal.SIGKILL)
        assert process.wait(PATIENCE) == 1
        assert "CommandError: A process ended badly" in (tmp_path / "stderr").read_text()

    def test_hooks_of_the_settings_are_around_every_job(
        self, start_runworkers: Start, gearman_client: SimpleClient
    ) -> None:
        start_runworkers(TEST_HOOKS=f"{HYGIENE},tests.djangoapps.good.hooks.only_pids")
        assert gearman_client.good_pid()
        with pytest.raises(TaskError, match="RejectJob: good_query is not wanted here"):
            gearman_client.good_query()

    def test_metrics_are_served_on_one_port(
        self, start_runworkers: Start, gearman_client: SimpleClient, tmp_path: Path
    ) -> None:
        port = free_port()
        process = start_runworkers("--threads", "2", "--metrics-port", str(port))
        assert gearman_client.good_pid()
        url = f"http://127.0.0.1:{port}/metrics"
        assert f"Metrics: {url}\n" in (tmp_path / "stdout").read_text()
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            told = answer.read().decode()
        assert 'gearmanny_jobs_total{function="good_pid",outcome="ok"} 1.0' in told
        assert 'function="good_pid",host=' in told
        process.terminate()
        assert process.wait(PATIENCE) == 0

    def test_a_port_for_metrics_that_is_taken_exits_with_1(
        self, start_runworkers: Start, gearman_server: Server, tmp_path: Path
    ) -> None:
        process = start_runworkers("--metrics-port", str(gearman_server.port))
        assert process.wait(PATIENCE) == 1
        told = (tmp_path / "stderr").read_text()
        assert "CommandError: Metrics cannot be served on port" in told

    def test_a_directory_for_metrics_that_is_none_exits_with_1(
        self, start_runworkers: Start, tmp_path: Path
    ) -> None:
        process = start_runworkers(
            "--metrics-port", str(free_port()), PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "none")
        )
        assert process.wait(PATIENCE) == 1
        log = (tmp_path / "stderr").read_text()
        assert log.startswith("CommandError: The environment variable PROMETHEUS_MULTIPROC_DIR")
        assert "which is no directory. Create it, or remove the variable." in log

    def test_prefetch_is_an_option(
        self, start_runworkers: Start, gearman_server: Server, tmp_path: Path
    ) -> None:
        start_runworkers("good", "--prefetch", "3")
        path = tmp_path / "go"
        with AsyncClient([gearman_server.host]) as several:
            works = [several.good_wait_for(path=str(path)) for _ in range(4)]
            until(
                lambda: any(
                    (row.total, row.running) == (4, 3)
                    for row in JobServer(gearman_server.host).status()
                ),
                "three jobs held",
            )
            path.touch()
            assert [work.get_result(timeout=PATIENCE) for work in works] == ["done"] * 4

    @pytest.mark.parametrize(
        ("setting", "arguments", "together"),
        [("", [], 1), ("3", [], 3), ("2", ["--concurrency", "3"], 3)],
        ids=["as the worker says", "setting", "option"],
    )
    def test_so_many_coroutines_run_at_a_time(
        self,
        start_runworkers: Start,
        gearman_client: SimpleClient,
        setting: str,
        arguments: list[str],
        together: int,
    ) -> None:
        start_runworkers("good", *arguments, TEST_CONCURRENCY=setting)
        counts = gearman_client.map("good_meet", [{"others": together}] * 6)
        assert max(counts) == together

    def test_sighup_replaces_the_processes(
        self, start_runworkers: Start, gearman_client: SimpleClient
    ) -> None:
        process = start_runworkers()
        old = gearman_client.good_pid()
        process.send_signal(signal.SIGHUP)
        until(lambda: gearman_client.good_pid() != old, "the successor serving")
        process.terminate()
        assert process.wait(PATIENCE) == 0

    def test_processes_are_recycled(
        self, start_runworkers: Start, gearman_client: SimpleClient
    ) -> None:
        start_runworkers("--max-jobs", "10", "--max-memory", "4000", "--grace", "5")
        old = gearman_client.good_pid()
        until(lambda: gearman_client.good_pid() != old, "a fresh process")

    def test_a_process_that_crashes_again_and_again_exits_with_4(
        self, start_runworkers: Start, tmp_path: Path
    ) -> None:
        process = start_runworkers("--max-crashes", "2", TEST_APP="tests.djangoapps.crashing")
        assert process.wait(PATIENCE) == 4
        assert "CommandError: A process crashed again and again" in (
            (tmp_path / "stderr").read_text()
        )

    def test_no_job_server_in_time_exits_with_3(
        self, start_runworkers: Start, gearman_server: Server, tmp_path: Path
    ) -> None:
        gearman_server.stop()
        assert start_runworkers("--connect-timeout", "0.5").wait(PATIENCE) == 3
        assert re.search(
            rf"CommandError: No Gearman job server reached: {gearman_server.host} \(.+refused\)",
            (tmp_path / "stderr").read_text(),
        )

    def test_workers_and_clients_reach_a_job_server_over_tls(
        self, start_runworkers: Start, gearman_server: Server, tmp_path: Path
    ) -> None:
        authority = Authority(tmp_path / "authority")
        with proxy(gearman_server.port, authority.context("127.0.0.1")) as running:
            start_runworkers(TEST_HOSTS=running.host, TEST_CA=authority.file)
            setting = {"HOSTS": [running.host], "TIMEOUT": 20, "TLS": {"ca": authority.file}}
            with override_settings(GEARMANNY=setting), client:
                assert client.good_pid()

    def test_hosts_are_taken_from_the_command_line_first(
        self, start_runworkers: Start, gearman_client: SimpleClient, gearman_server: Server
    ) -> None:
        start_runworkers("--hosts", gearman_server.host, TEST_HOSTS="127.0.0.1:1")
        assert gearman_client.other_pid()

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["--threads", "0"], 2, "--threads: must be a whole number from 1 to 10000, not '0'"),
            (["--grace", "-1"], 2, "--grace: must be a number of seconds, 0 or more, not '-1'"),
            (["--max-memory", "1"], 1, "CommandError: max_memory is 1 MiB, but this process"),
            (["--hosts", "localhost:x"], 1, "CommandError: A host must be"),
            (["god"], 1, "CommandError: No worker is named 'god'"),
        ],
    )
    def test_bad_options_exit_with_one_line(
        self,
        start_runworkers: Start,
        tmp_path: Path,
        arguments: list[str],
        code: int,
        message: str,
    ) -> None:
        assert start_runworkers(*arguments).wait(PATIENCE) == code
        log = (tmp_path / "stderr").read_text()
        assert message in log
        assert "Traceback" not in log

    def test_a_broken_app_exits_with_1(self, start_runworkers: Start, tmp_path: Path) -> None:
        assert start_runworkers(TEST_APP="tests.djangoapps.broken").wait(PATIENCE) == 1
        log = (tmp_path / "stderr").read_text()
        assert "(gearmanny.E002) The workers of the app 'broken'" in log
