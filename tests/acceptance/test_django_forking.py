"""Worker processes do not share connections to databases and caches."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from tests.support.servers import PATIENCE, Server, Start
from tools.postgres import Postgres

BACKENDS = {
    "failing": "tests.djangoapps.sharing.caches.Failing",
    "default": "django.core.cache.backends.memcached.PyMemcacheCache",
    "unclosed": "tests.djangoapps.sharing.caches.Unclosed",
}


@pytest.fixture
def start_sharing(start_command: Start, postgres_database: dict[str, Any], memcached: str) -> Start:
    """Starts a command of a project with pools of database connections and with caches."""
    pooled = {**postgres_database, "OPTIONS": {"pool": {"min_size": 1, "max_size": 2}}}
    databases = {
        "default": pooled,
        "other": pooled,
        "threaded": pooled,
        "single": postgres_database,
    }
    return partial(
        start_command,
        TEST_APP="tests.djangoapps.sharing",
        TEST_DATABASES=json.dumps(databases),
        TEST_CACHES=json.dumps(
            {alias: {"BACKEND": each, "LOCATION": memcached} for alias, each in BACKENDS.items()}
        ),
    )


def use(server: Server, folder: Path) -> list[dict[str, Any]]:
    """Lets two processes use everything at the same time; returns what they tell."""
    folder.mkdir()
    with AsyncClient([server.host]) as client:
        works = [client.sharing_use(folder=str(folder), processes=2) for _ in range(2)]
        return [work.get_result(timeout=PATIENCE) for work in works]


def sockets(pid: int, port: int) -> set[str]:
    """Returns the connections of a process to a port: a copy of one by a fork is the same."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    connections = {row[9] for row in rows if int(row[2].split(":")[1], 16) == port}
    descriptors = Path(f"/proc/{pid}/fd").iterdir()
    return {
        name.removeprefix("socket:[").removesuffix("]") for name in map(os.readlink, descriptors)
    } & connections


def check(told: list[dict[str, Any]], ports: list[int], *others: int) -> None:
    """Fails when processes share a connection, or when one got an answer that it did not ask for.

    Args:
        told: what `use` returned.
        ports: of the servers.
        others: the ids of further processes, which may have connections too.
    """
    first, second = told
    assert first["pid"] != second["pid"]
    assert not set(first["backends"]) & set(second["backends"])
    for port in ports:
        of_each = [sockets(pid, port) for pid in (first["pid"], second["pid"], *others)]
        assert all(of_each[:2])
        assert sum(map(len, of_each)) == len(set().union(*of_each)), f"port {port} is shared"
    assert (first["wrong"], second["wrong"]) == ([], [])


@pytest.fixture
def ports(postgres: Postgres, memcached: str) -> list[int]:
    return [postgres.port, int(memcached.rpartition(":")[2])]


@pytest.mark.parametrize("command", [["runworkers", "--threads", "2"], ["ownrunner"]], ids=" ".join)
def test_processes_have_connections_of_their_own(
    start_sharing: Start,
    gearman_server: Server,
    tmp_path: Path,
    ports: list[int],
    command: list[str],
) -> None:
    process = start_sharing(*command)
    told = use(gearman_server, tmp_path / "first")
    check(told, ports, process.pid)
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_processes_that_are_forked_later_have_connections_of_their_own(
    start_sharing: Start, gearman_server: Server, tmp_path: Path, ports: list[int]
) -> None:
    process = start_sharing("runworkers", "--threads", "2")
    for each in use(gearman_server, tmp_path / "first"):
        os.kill(each["pid"], signal.SIGKILL)
    told = use(gearman_server, tmp_path / "second")
    check(told, ports, process.pid)


def test_what_cannot_be_closed_is_logged(
    start_sharing: Start, gearman_server: Server, tmp_path: Path
) -> None:
    start_sharing("runworkers", "--threads", "2")
    use(gearman_server, tmp_path / "first")
    log = (tmp_path / "stderr").read_text()
    assert "a cache of the backend Failing could not be closed before a fork" in log
    assert "OSError: as told" in log


def test_a_database_without_a_driver_is_no_obstacle(
    start_command: Start, gearman_client: SimpleClient, tmp_path: Path
) -> None:
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "database")}
    databases = {"default": sqlite, "archive": {"ENGINE": "tests.no_such_backend"}}
    # The checks of Django 6.1 need the drivers of all databases.
    start_command("runworkers", "--skip-checks", TEST_DATABASES=json.dumps(databases))
    assert gearman_client.good_query() == [True, 0]
    assert "could not be closed" not in (tmp_path / "stderr").read_text()
