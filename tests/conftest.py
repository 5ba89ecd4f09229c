"""Fixtures beside those of `gearmanny.pytest_plugin`, which tests have their job servers from."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from gearmanny.helpers.switch import switch
from tests.support.servers import Server, find_program, memcached, mongodb
from tools.postgres import Postgres

_numbers = itertools.count()

_OF_DJANGO_6 = ["acceptance/test_django_suite.py", "acceptance/test_overseer.py"]

collect_ignore = [] if find_spec("django.tasks") else _OF_DJANGO_6
"""Tests for which this version of Django is too old."""


def pytest_report_header() -> list[str]:
    """Says what is not collected."""
    return [f"not collected, as it needs Django 6: {path}" for path in collect_ignore]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips at home what needs a gearmand, where there is none."""
    if item.get_closest_marker("gearmand"):
        find_program("gearmand", "gearman-job-server")


@pytest.fixture(autouse=True, scope="session")
def no_settings_of_the_outside() -> None:
    """Removes what a developer's shell may say about servers."""
    for name in ("GEARMAN_HOSTS", "MONGODB_URI"):
        os.environ.pop(name, None)


@pytest.fixture
def gearman_django() -> bool:
    """The workers of these tests are not those of a Django project, though one is set up."""
    return False


@pytest.fixture
def second_server(gearman_server: Server) -> Iterator[Server]:
    """One more of the same kind."""
    with type(gearman_server)() as server:
        yield server


@pytest.fixture
def caches_on(gearman_server: Server) -> Iterator[None]:
    """Caches are off in tests that have a job server: this one is about them."""
    with switch.set_to(True):
        yield


@pytest.fixture
def unique_name() -> str:
    """A name that no other test uses, nor one of another process of `pytest -n`: of what tests
    share, a MongoDB and the servers of some."""
    return f"test{os.environ.get('PYTEST_XDIST_WORKER', '')}{next(_numbers)}"


@pytest.fixture(scope="session")
def mongodb_uri() -> Iterator[str]:
    """The URI of a MongoDB for all tests: use names of your own."""
    with mongodb() as uri:
        yield uri


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for all tests: do not stop it."""
    find_program("postgres", "postgresql")
    with Postgres() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL for this test alone, which may stop and start it."""
    find_program("postgres", "postgresql")
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres_database(postgres: Postgres, unique_name: str) -> Iterator[dict[str, Any]]:
    """The entry in Django's DATABASES of an empty database for this test alone."""
    with postgres.database(unique_name) as entry:
        yield entry


@pytest.fixture(scope="session", name="memcached")
def run_memcached() -> Iterator[str]:
    """The address of a memcached for all tests: use keys of your own."""
    with memcached() as address:
        yield address


@pytest.fixture(autouse=True)
def usual_log_levels() -> Iterator[None]:
    """Takes back the levels that a verbosity set."""
    yield
    for name in ("gearmanny", "gearmanny.cache"):
        logging.getLogger(name).setLevel(logging.NOTSET)
