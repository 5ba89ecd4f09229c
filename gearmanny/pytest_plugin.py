"""Fixtures for pytest: job servers, workers and clients, live and in eager mode.

Every test has its own job server, so that tests cannot call each other's functions, even in
parallel processes of pytest-xdist. Nothing is imported or started until a test requests it.
"""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gearmanny.aio import AioClient
    from gearmanny.client import AsyncClient, SimpleClient
    from gearmanny.eager.outbox import Sent
    from gearmanny.embedded import JobServer
    from gearmanny.testing import Gearmand
    from gearmanny.worker import BaseWorker

TIMEOUT = 30.0
"""Seconds after which calls of the clients below fail, so that no test hangs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option `--gearmand`.

    Args:
        parser: pytest's parser.
    """
    parser.getgroup("gearmanny").addoption(
        "--gearmand",
        action="store_true",
        help="run gearman_server as a real gearmand instead of a server in this process",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Registers `@pytest.mark.gearmand`.

    Args:
        config: pytest's configuration.
    """
    config.addinivalue_line(
        "markers",
        "gearmand(*options): run gearman_server as a real gearmand, with these extra options",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Gives each test worker objects of its own, also where eager mode outlives a test, and an
    empty outbox.

    Args:
        item: the test.
    """
    joined = sys.modules.get("gearmanny.eager.joined")
    if joined is not None:
        joined.renew_all()
    outbox = sys.modules.get("gearmanny.eager.outbox")
    if outbox is not None:
        outbox.outbox.clear()


@pytest.fixture
def gearman_django() -> bool:
    """Whether the tests run in a Django project that has the app installed.

    Override it to return False for tests of workers that `runworkers` does not run.
    """
    # Not imported here: a project that uses Django has imported it.
    registry = sys.modules.get("django.apps")
    return (
        registry is not None
        and registry.apps.ready
        and registry.apps.is_installed("gearmanny.contrib.django")
    )


@pytest.fixture
def gearman_server(
    request: pytest.FixtureRequest, gearman_django: bool
) -> Iterator[JobServer | Gearmand]:
    """A job server for this test only. Its address is `gearman_server.host`.

    It can be stopped and started again, and keeps its port. In a Django project, the clients of
    `gearmanny.contrib.django` use it while the test runs. Caches are off: see `gearman_cache`.
    """
    from gearmanny.embedded import JobServer  # noqa: PLC0415
    from gearmanny.helpers.switch import switch  # noqa: PLC0415
    from gearmanny.testing import Gearmand  # noqa: PLC0415

    marked = request.node.get_closest_marker("gearmand")
    real = marked is not None or request.config.getoption("gearmand")
    made = Gearmand(*(marked.args if marked else ())) if real else JobServer()
    with switch.set_to(False), made as server:
        if not gearman_django:
            yield server
            return
        from gearmanny.contrib.django.testing import clients_connected_to  # noqa: PLC0415

        with clients_connected_to(server.host):
            yield server


@pytest.fixture
def gearman_worker(
    gearman_server: JobServer | Gearmand, gearman_django: bool
) -> Iterator[Callable[..., Any]]:
    """A function that runs workers until the test ends: `gearman_worker(MyWorker)`.

    It returns the worker, which runs in a thread and is ready; with `process=True`, it returns the
    process that runs the worker. Other arguments are passed to the worker class.
    """
    from gearmanny.running.factory import check_kind  # noqa: PLC0415
    from gearmanny.testing import running, running_process  # noqa: PLC0415

    make = _new_worker
    if gearman_django:
        from gearmanny.contrib.django.testing import new_worker as make  # noqa: PLC0415

    with contextlib.ExitStack() as workers:

        def run(kind: type[BaseWorker], *, process: bool = False, **options: Any) -> Any:
            check_kind(kind)
            if process:
                if gearman_django:
                    raise pytest.UsageError(
                        "A worker process would use the project's database, not the test "
                        "database. Remove process=True to run the worker in a thread."
                    )
                return workers.enter_context(running_process(kind, gearman_server.host))
            return workers.enter_context(running(make(kind, gearman_server.host, **options)))

        yield run


def _new_worker(kind: type[BaseWorker], host: str, **options: Any) -> BaseWorker:
    return kind(hosts=[host], **options)


@pytest.fixture
def gearman_client(gearman_server: JobServer | Gearmand) -> Iterator[SimpleClient]:
    """A `SimpleClient` of `gearman_server`."""
    from gearmanny.client import SimpleClient  # noqa: PLC0415

    with SimpleClient([gearman_server.host], timeout=TIMEOUT) as client:
        yield client


@pytest.fixture
def gearman_async_client(gearman_server: JobServer | Gearmand) -> Iterator[AsyncClient]:
    """An `AsyncClient` of `gearman_server`."""
    from gearmanny.client import AsyncClient  # noqa: PLC0415

    with AsyncClient([gearman_server.host], timeout=TIMEOUT) as client:
        yield client


@pytest.fixture
def gearman_aio_client(gearman_server: JobServer | Gearmand) -> AioClient:
    """An `AioClient` of `gearman_server`, bound to the first event loop that uses it.

    Close it in that loop: `async with gearman_aio_client as client`.
    """
    from gearmanny.aio import AioClient  # noqa: PLC0415

    return AioClient([gearman_server.host], timeout=TIMEOUT)


@pytest.fixture
def gearman_eager(gearman_django: bool) -> Iterator[Callable[..., None]]:
    """Makes all clients run their calls in this process until the test ends.

    `gearman_eager(MyWorker)` adds a worker for them.
    """
    from gearmanny.testing import Eager, calls_run_in  # noqa: PLC0415

    if gearman_django:
        from gearmanny.contrib.django.eager import new_eager  # noqa: PLC0415

        eager = new_eager()
    else:
        eager = Eager()
    with calls_run_in(eager):
        yield eager.add


@pytest.fixture
def gearman_cache() -> Iterator[None]:
    """Turns the caches on until the test ends: in a database of MongoDB that is empty at first, and
    deleted at the end. Without this fixture they are off in eager mode, and in tests that use the
    fixtures above, so that no test gets the answer of another one."""
    from gearmanny.helpers.switch import switch  # noqa: PLC0415

    with switch.isolated(f"gearmanny_test_{uuid.uuid4().hex}"):
        yield


@pytest.fixture
def gearman_outbox() -> list[Sent]:
    """The background calls that this test makes in eager mode."""
    from gearmanny.testing import outbox  # noqa: PLC0415

    outbox.clear()
    return outbox
