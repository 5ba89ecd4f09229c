"""Importing the package: what it needs, what it pulls in, and the names that never move."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.servers import PATIENCE

BLOCK = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
"""

CORE = "import gearmanny, gearmanny.client, gearmanny.worker, gearmanny.workrunner\n"


def python(code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter, in which some modules cannot be imported."""
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:gearmanny", "-c",
         BLOCK.format(blocked=blocked) + code],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )  # fmt: skip


EXTRAS = ("django", "psycopg", "pymongo", "bson", "prometheus_client", "opentelemetry")


def test_the_core_works_without_any_extra() -> None:
    done = python(CORE, *EXTRAS)
    assert done.returncode == 0, done.stderr


def test_the_core_pulls_in_nothing_that_it_does_not_use() -> None:
    unused = {*EXTRAS, "asyncio", "sqlite3"}
    done = python(f"{CORE}print(sorted({unused} & sys.modules.keys()))")
    assert done.stdout.strip() == "[]", done.stderr


def test_the_package_itself_imports_next_to_nothing() -> None:
    done = python(
        "import gearmanny; print(*sorted(m for m in sys.modules if m.startswith('gearman')))"
    )
    assert done.stdout.split() == ["gearmanny"], done.stderr


CLIENTS = ("gearmanny.client", "gearmanny.results", "gearmanny.blocking", "gearmanny.calling")
WORKERS = ("gearmanny.worker", "gearmanny.working", "gearmanny.tasks", "gearmanny.running")


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        ("import gearmanny.worker", (*CLIENTS, "gearmanny.aio")),
        ("import gearmanny.interface", (*CLIENTS, *WORKERS[:2], "gearmanny.aio", "gearman")),
        ("import gearmanny.aio", (*CLIENTS[:3], *WORKERS, "gearmanny.admin", "gearmanny.records")),
        ("import gearmanny.client", ("gearmanny.aio", *WORKERS, "gearmanny.records")),
        ("import gearmanny.embedded", (*CLIENTS, "gearmanny.aio", *WORKERS, "gearman")),
        (
            "import contextlib, gearmanny.cli\n"
            "with contextlib.suppress(SystemExit): gearmanny.cli.main(['server', '--help'])",
            (*CLIENTS, "gearmanny.aio", *WORKERS, "gearman"),
        ),
        (
            "import contextlib, gearmanny.cli\n"
            "with contextlib.suppress(SystemExit): gearmanny.cli.main(['dispatch'])",
            (*CLIENTS, "gearmanny.aio", *WORKERS, "gearman", "psycopg"),
        ),
    ],
    ids=["worker", "interface", "aio", "client", "embedded", "command", "dispatch"],
)
def test_a_side_does_not_load_the_other_one(code: str, unused: tuple[str, ...]) -> None:
    done = python(f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)")
    loaded = done.stderr.split()
    assert "gearmanny.errors" in loaded, done.stderr
    assert [name for name in loaded if f"{name}.".startswith(tuple(f"{u}." for u in unused))] == []


@pytest.mark.parametrize("blocked", [("pymongo",), ("bson",), ("pymongo", "bson")])
def test_the_cache_without_pymongo_names_the_extra_to_install(blocked: tuple[str, ...]) -> None:
    done = python("import gearmanny.helpers.cache_mongodb", *blocked)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "gearmanny[mongo]" in last


@pytest.mark.parametrize(
    ("module", "needed", "extra"),
    [
        ("gearmanny.contrib.prometheus", "prometheus_client", "prometheus"),
        ("gearmanny.contrib.opentelemetry", "opentelemetry", "opentelemetry"),
    ],
)
def test_hooks_that_need_an_extra_name_it(module: str, needed: str, extra: str) -> None:
    done = python(f"import {module}", needed)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f"gearmanny[{extra}]" in last


def test_tracing_without_opentelemetry_names_the_extra_to_install() -> None:
    done = python(
        "from gearmanny.calling.tracing import start_span; start_span('f')", "opentelemetry"
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("gearmanny.errors.InvalidOption: ")
    assert "gearmanny[opentelemetry]" in last


def test_a_call_has_no_trace_where_opentelemetry_is_not_set_up() -> None:
    done = python("from gearmanny.calling.tracing import start_span; print(start_span('f').unique)")
    assert done.stdout.strip() == "b''", done.stderr


def test_a_store_without_psycopg_names_the_extra_to_install() -> None:
    done = python(
        "from gearmanny.records.sql import SQLStore; SQLStore('postgresql:///jobs')", "psycopg"
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("gearmanny.errors.InvalidOption: ")
    assert "gearmanny[postgres]" in last


def test_a_store_loads_the_driver_of_its_database_alone() -> None:
    done = python(
        "import sys; from gearmanny.records.sql import SQLStore\n"
        "assert not {'sqlite3', 'psycopg'} & sys.modules.keys()\n"
        "SQLStore('sqlite:///jobs.db'); assert 'psycopg' not in sys.modules\n"
        "assert not [name for name in sys.modules if name.startswith(('gearmanny.calling',"
        " 'gearmanny.working', 'gearman.', 'asyncio'))]"
    )
    assert (done.returncode, done.stderr) == (0, "")


PUBLIC = [
    ("gearmanny.worker", "BaseWorker, Hook, JsonWorker"),
    ("gearmanny.hooks", "Hook, RejectJob"),
    ("gearmanny.errors", "RejectJob"),
    ("gearmanny.contrib.prometheus", "QueueCollector, metrics, serve_metrics"),
    ("gearmanny.contrib.opentelemetry", "spans"),
    ("gearmanny.workrunner", "WorkRunner"),
    ("gearmanny.client", "SimpleClient, AsyncClient"),
    ("gearmanny.aio", "AioClient, AioWorkResult"),
    ("gearmanny.helpers.cache_mongodb", "cacheBuilder"),
    ("gearmanny.base", "JSONDataEncoder, GearmanException, HOSTS"),
    ("gearmanny.contrib.django", "client, async_client, cachewrap"),
]


@pytest.mark.parametrize(("module", "names"), PUBLIC)
def test_public_names_are_where_they_always_were(module: str, names: str) -> None:
    done = python(f"from {module} import {names}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("names", ["client, async_client", "cachewrap"])
def test_the_names_for_django_may_be_imported_without_mongodb_and_settings(names: str) -> None:
    done = python(f"from gearmanny.contrib.django import {names}", "pymongo", "bson")
    assert (done.returncode, done.stderr) == (0, "")


def test_old_names_are_the_same_objects() -> None:
    done = python(
        "from gearmanny import base, errors, worker\n"
        "from gearmanny.net import hosts\n"
        "from gearmanny.vocabulary import encoders\n"
        "assert base.JSONDataEncoder is encoders.JSONDataEncoder\n"
        "assert base.GearmanException is errors.GearmanException\n"
        "assert base.HOSTS is hosts.HOSTS\n"
        "import gearman\n"
        "assert issubclass(worker.JsonWorker, gearman.GearmanWorker)\n"
        "assert worker.BaseWorker.work_class is worker.JsonWorker\n"
    )
    assert done.returncode == 0, done.stderr
