"""Clients of each kind, for tests of what they promise together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clients import KINDS, Client, MakeClient
from tests.support.servers import PATIENCE, Server


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Makes clients of a kind: a test that uses it runs once with each."""
    maker = MakeClient(KINDS[request.param])
    yield maker
    maker.close()


@pytest.fixture
def client(make: MakeClient, gearman_server: Server) -> Client:
    return make(gearman_server.host, timeout=PATIENCE)
