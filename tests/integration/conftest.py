"""Clients of each kind, and what they call, for tests of what they promise together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from gearmanny.testing import eager
from tests.support import servers
from tests.support.clients import KINDS, Client, MakeClient
from tests.support.servers import PATIENCE, RunWorker, Server
from tests.support.tls import Authority
from tests.support.workers import Called, Gate
from tools.proxies import Proxy, proxy


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Makes clients of a kind: a test that uses it runs once with each."""
    with contextlib.closing(MakeClient(KINDS[request.param])) as maker:
        yield maker


@pytest.fixture
def client(make: MakeClient, gearman_server: Server) -> Client:
    """A client of each kind."""
    return make(gearman_server.host, timeout=PATIENCE)


@pytest.fixture
def workers(gearman_worker: RunWorker) -> None:
    """Two workers that serve `called_…`, at the job server."""
    for _ in range(2):
        gearman_worker(Called)


@pytest.fixture(params=["job server", "eager"])
def served(request: pytest.FixtureRequest, make: MakeClient) -> Iterator[Client]:
    """A client of each kind whose `called_…` are served: by workers, or in eager mode."""
    if request.param == "job server":
        request.getfixturevalue("workers")
        yield request.getfixturevalue("client")
    else:
        with eager([Called]):
            yield make("127.0.0.1:1", timeout=PATIENCE)


@pytest.fixture
def closed_gate() -> Iterator[Gate]:
    """Holds back called_pass(), called_held() and called_rows()."""
    Called.gate = Gate()
    yield Called.gate
    Called.gate.opened.set()


@pytest.fixture
def gate(workers: None, closed_gate: Gate) -> Gate:
    """The gate of workers that run."""
    return closed_gate


@pytest.fixture
def network(gearman_server: Server) -> Iterator[Proxy]:
    """A network between a client and the job server, which breaks on demand."""
    with proxy(gearman_server.port) as made:
        yield made


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A host that neither accepts nor refuses connections."""
    with servers.black_hole() as host:
        yield host


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose certificates no system trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))
