"""What a job leaves behind in a Django project is gone before the next one, as after a request."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pymemcache
import pytest

from gearmanny.client import AsyncClient, SimpleClient
from tests.acceptance.test_django_databases import query_postgres
from tests.support.servers import PATIENCE, Server, Start, until

kinds = pytest.mark.parametrize("later", ["", "_later"])


@pytest.fixture
def start(start_runworkers: Start) -> Start:
    """Starts `runworkers` of workers that leave much behind."""

    def start(**environment: str) -> subprocess.Popen[str]:
        return start_runworkers(TEST_APP="tests.djangoapps.leaving", **environment)

    return start


@pytest.mark.parametrize("function", ["language", "language_again", "language_later"])
def test_language_and_time_zone_are_those_of_the_settings(
    start: Start, gearman_client: SimpleClient, function: str
) -> None:
    start()
    found = [gearman_client.call(f"leaving_{function}") for _ in range(2)]
    assert found == [["en-us", "America/Chicago"]] * 2


def test_the_log_of_queries_is_that_of_one_job_also_beside_others(
    start: Start, gearman_client: SimpleClient, gearman_server: Server, tmp_path: Path
) -> None:
    start(TEST_DEBUG="1")
    assert [gearman_client.leaving_query() for _ in range(2)] == [1, 1]
    assert [gearman_client.leaving_query_later() for _ in range(2)] == [1, 1]
    with AsyncClient([gearman_server.host]) as client:
        path = tmp_path / "idle"
        work = client.leaving_idle(path=str(path))
        until(path.exists, "a neighbour")
        assert [gearman_client.leaving_query_later() for _ in range(2)] == [1, 1]
        path.unlink()
        work.get_result(timeout=PATIENCE)


@kinds
def test_caches_are_closed_and_used_again(
    start: Start, gearman_client: SimpleClient, memcached: str, unique_name: str, later: str
) -> None:
    host, port = memcached.split(":")
    statistics = pymemcache.Client((host, int(port)), timeout=PATIENCE)

    def connections() -> int:
        return int(statistics.stats()[b"curr_connections"])

    cache = {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache"}
    before = connections()
    start(TEST_CACHES=json.dumps({"default": {**cache, "LOCATION": memcached}}))
    ids = {gearman_client.call(f"leaving_remember{later}", key=unique_name)[0] for _ in range(5)}
    assert len(ids) == 1
    until(lambda: connections() == before, "no connection")
    statistics.close()


def backends(entry: dict[str, Any]) -> int:
    statement = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )
    return int(query_postgres(entry, statement)[0][0])


@kinds
def test_connections_of_threads_that_have_ended_are_closed(
    start: Start, postgres_database: dict[str, Any], gearman_client: SimpleClient, later: str
) -> None:
    start(TEST_DATABASES=json.dumps({"default": postgres_database}))
    for _ in range(5):
        gearman_client.call(f"leaving_query_in_a_thread{later}")
    until(lambda: backends(postgres_database) == 0, "no connection")


def test_a_thread_that_keeps_a_connection_is_named(
    start: Start, postgres_database: dict[str, Any], gearman_client: SimpleClient, tmp_path: Path
) -> None:
    start(TEST_DATABASES=json.dumps({"default": postgres_database}))
    gearman_client.leaving_leave_a_thread()
    gearman_client.leaving_query()
    log = (tmp_path / "stderr").read_text()
    assert log.count("a task left the thread 'the lingerer', which keeps a connection") == 1
