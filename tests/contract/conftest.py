"""Every test of this folder runs over gearmand and over our own job server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gearmanny.admin import JobServer as Admin
from gearmanny.client import SimpleClient
from gearmanny.embedded import JobServer
from tests.contract.wire import Wire
from tests.support.servers import Gearmand


@pytest.fixture(scope="session", params=["gearmand", "embedded"])
def server(request: pytest.FixtureRequest) -> Iterator[Gearmand | JobServer]:
    """A job server for all tests: give functions names of your own."""
    with Gearmand() if request.param == "gearmand" else JobServer() as server:
        yield server


@pytest.fixture
def is_gearmand(server: Gearmand | JobServer) -> bool:
    """For what our own does better, on purpose."""
    return isinstance(server, Gearmand)


@pytest.fixture
def has_trap(server: Gearmand | JobServer, is_gearmand: bool) -> Callable[[str], bool]:
    """Tells whether the server has a trap that later versions of gearmand do not have."""
    traps = {trap.name for trap in Admin(server.host).traps()} if is_gearmand else set()
    return traps.__contains__


@pytest.fixture
def client(server: Gearmand | JobServer) -> Iterator[SimpleClient]:
    """A blocking client that gives up before a test hangs."""
    with SimpleClient([server.host], timeout=20) as client:
        yield client


@pytest.fixture
def caller(server: Gearmand | JobServer) -> Iterator[Wire]:
    """A raw connection, for the part of a client."""
    with Wire(server.port) as wire:
        yield wire


@pytest.fixture
def worker(server: Gearmand | JobServer) -> Iterator[Wire]:
    """A raw connection, for the part of a worker."""
    with Wire(server.port) as wire:
        yield wire


@pytest.fixture
def admin(server: Gearmand | JobServer) -> Iterator[Wire]:
    """A raw connection, for text commands."""
    with Wire(server.port) as wire:
        yield wire


@pytest.fixture
def function(unique_name: str) -> bytes:
    """The name of a function that no other test uses."""
    return unique_name.encode()
