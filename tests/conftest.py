"""Fixtures: servers of our own, shared by the tests of a session where that cannot be noticed."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator

import pytest

from gearmanny.client import AsyncClient, SimpleClient
from tests.servers import Gearmand, gearmand, mongodb

_numbers = itertools.count()


@pytest.fixture(autouse=True, scope="session")
def no_settings_of_the_outside() -> None:
    """Removes what a developer's shell may say about servers."""
    for name in ("GEARMAN_HOSTS", "MONGODB_URI"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def job_server() -> Iterator[Gearmand]:
    """A gearmand for all tests: give workers names of their own."""
    with gearmand() as server:
        yield server


@pytest.fixture
def own_job_server() -> Iterator[Gearmand]:
    """A gearmand that a test may stop, kill and start again."""
    with gearmand() as server:
        yield server


@pytest.fixture
def unique_name() -> str:
    """A name that no other test uses."""
    return f"test{next(_numbers)}"


@pytest.fixture
def client(job_server: Gearmand) -> Iterator[SimpleClient]:
    """A blocking client that gives up before a test hangs."""
    with SimpleClient([job_server.host], timeout=20) as client:
        yield client


@pytest.fixture
def async_client(job_server: Gearmand) -> Iterator[AsyncClient]:
    """A client that returns work objects."""
    with AsyncClient([job_server.host]) as client:
        yield client


@pytest.fixture(scope="session")
def mongodb_uri() -> Iterator[str]:
    """The URI of a MongoDB for all tests: use names of your own."""
    with mongodb() as uri:
        yield uri


@pytest.fixture(autouse=True)
def usual_log_levels() -> Iterator[None]:
    """Takes back the levels that a verbosity set."""
    yield
    for name in ("gearmanny", "gearmanny.cache"):
        logging.getLogger(name).setLevel(logging.NOTSET)
