"""Running out of memory, in processes that really have little: it fails one job, or one call."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gearmanny.client import AsyncClient, RawClient, SimpleClient
from gearmanny.errors import JobServerError, TaskError
from gearmanny.testing import running
from gearmanny.worker import BaseWorker, RawWorker
from tests.support.memory import MIB
from tests.support.servers import ROOT, RunWorker, Server, end, free_port, until, workers_of

if sys.platform != "linux":
    pytest.skip("limits of memory are those of Linux", allow_module_level=True)

LONG = 60.0
"""Seconds for what moves tens of MiB on a busy machine."""


@pytest.fixture
def with_little_memory(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a program that may take so many MiB."""
    programs: list[subprocess.Popen[str]] = []

    def start(what: str, room: int, host: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.memory_script", what, str(room), host],
            cwd=ROOT,
            # Else each thread would reserve an arena of 64 MiB.
            env={**os.environ, "MALLOC_ARENA_MAX": "1"},
            stdin=subprocess.PIPE,
            text=True,
        )
        programs.append(program)
        return program

    yield start
    for program in programs:
        end(program)


@pytest.fixture
def worker_host(
    gearman_server: Server, with_little_memory: Callable[..., subprocess.Popen[str]]
) -> str:
    """A job server with a worker that has 64 MiB."""
    with_little_memory("worker", 64, gearman_server.host)
    until(lambda: workers_of(gearman_server, "heavy_pid"))
    until(lambda: workers_of(gearman_server, "raw_length"))
    return gearman_server.host


@pytest.mark.parametrize("function", ["heavy_length", "heavy_later"])
@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (80 * MIB, r"not enough memory for its 838860\d\d bytes on this side"),
        (40 * MIB, r"cannot decode a payload of 419430\d\d bytes: there is not enough memory"),
    ],
    ids=["cannot be received", "cannot be decoded"],
)
def test_an_argument_that_a_worker_has_no_memory_for_is_answered_with_the_reason(
    worker_host: str, function: str, size: int, reason: str
) -> None:
    with SimpleClient([worker_host], timeout=LONG) as client:
        pid = client.heavy_pid()
        for _ in range(2):
            with pytest.raises(TaskError, match=reason) as caught:
                client.call(function, text="x" * size)
            assert caught.value.type == "gearmanny.errors.EncodingError"
            assert client.heavy_pid() == pid
        assert client.call(function, text="abc") == 3


def test_a_result_that_a_worker_has_no_memory_for_is_answered_with_the_reason(
    worker_host: str,
) -> None:
    with SimpleClient([worker_host], timeout=LONG) as client:
        pid = client.heavy_pid()
        with pytest.raises(TaskError, match=r"cannot encode this str: there is not enough memory"):
            client.heavy_grow(size=40 * MIB)
        with pytest.raises(TaskError) as caught:
            client.heavy_grow(size=100 * MIB)
        assert caught.value.type == "builtins.MemoryError"
        assert client.heavy_pid() == pid


def test_a_result_that_there_is_memory_for_once_is_sent(worker_host: str) -> None:
    with (
        SimpleClient([worker_host], timeout=LONG) as client,
        RawClient([worker_host], timeout=LONG) as raw,
    ):
        pid = client.heavy_pid()
        assert raw.call("raw_grow", b"%d" % (40 * MIB)) == bytes(40 * MIB)
        assert raw.call("raw_length", bytes(40 * MIB)) == b"%d" % (40 * MIB)
        assert client.heavy_pid() == pid


def test_a_task_that_fills_all_memory_fails_and_its_worker_goes_on(worker_host: str) -> None:
    with SimpleClient([worker_host], timeout=LONG) as client:
        pid = client.heavy_pid()
        with pytest.raises(TaskError) as caught:
            client.heavy_fill()
        assert caught.value.type == "builtins.MemoryError"
        assert client.heavy_pid() == pid
        assert client.heavy_length(text="x" * (4 * MIB)) == 4 * MIB


def test_a_failure_that_there_is_no_memory_to_log_does_not_end_its_worker(worker_host: str) -> None:
    with SimpleClient([worker_host], timeout=LONG) as client:
        pid = client.heavy_pid()
        with pytest.raises(TaskError) as caught:
            client.heavy_raise(size=20 * MIB)
        assert caught.value.type == "builtins.ValueError"
        assert client.heavy_pid() == pid


class Big(BaseWorker):
    name = "big"

    def task_length(self, text: str) -> int:
        return len(text)

    def task_grow(self, size: int) -> str:
        return "x" * size


class BigRaw(BaseWorker):
    name = "bigraw"
    work_class = RawWorker

    def task_length(self, data: bytes) -> bytes:
        return b"%d" % len(data)


@pytest.mark.parametrize("kind", ["client", "aio"])
def test_a_call_that_a_client_has_no_memory_for_fails_alone(
    gearman_server: Server,
    gearman_worker: RunWorker,
    with_little_memory: Callable[..., subprocess.Popen[str]],
    kind: str,
) -> None:
    gearman_worker(Big)
    gearman_worker(BigRaw)
    assert with_little_memory(kind, 64, gearman_server.host).wait(2 * LONG) == 0


def test_a_job_server_without_memory_for_a_job_refuses_that_job(
    with_little_memory: Callable[..., subprocess.Popen[str]],
) -> None:
    port = free_port()
    host = f"127.0.0.1:{port}"
    with_little_memory("server", 64, host)
    with AsyncClient([host]) as client, SimpleClient([host], timeout=LONG) as other:

        def is_up() -> bool:
            try:
                return bool(other.using(background=True).nobody())
            except Exception:
                return False

        until(is_up)
        first = client.big_length(text="abc")
        refused = client.big_length(text="x" * (80 * MIB))
        second = client.big_length(text="abcd")
        with pytest.raises(JobServerError, match=r"not enough memory for its 838860\d\d bytes"):
            refused.get_result(LONG)
        with running(Big(hosts=[host])):
            assert first.get_result(LONG) == 3
            assert second.get_result(LONG) == 4
            # In memory once, and passed on to a worker, and back, without a second copy.
            assert client.big_length(text="x" * (40 * MIB)).get_result(LONG) == 40 * MIB
            assert len(client.big_grow(size=40 * MIB).get_result(LONG)) == 40 * MIB
