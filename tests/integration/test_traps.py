"""The log names the known traps of a job server once, and nothing waits for that."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from gearmanny.aio import AioClient
from gearmanny.client import SimpleClient
from gearmanny.embedded import JobServer
from gearmanny.net import once
from gearmanny.testing import Gearmand
from tests.support.servers import PATIENCE, ROOT, until, working
from tests.support.workers import Called
from tools.proxies import Proxy


@pytest.fixture(autouse=True)
def _nobody_asked() -> None:
    once.forget_all()


def call(host: str) -> None:
    with SimpleClient([host], timeout=PATIENCE) as client:
        client.using(background=True).called_echo(value=1)


def call_in_a_loop(host: str) -> None:
    async def calling() -> None:
        async with AioClient([host], timeout=PATIENCE) as client:
            await client.using(background=True).called_echo(value=1)

    asyncio.run(calling())


def work(host: str) -> None:
    with working(Called([host])), SimpleClient([host], timeout=PATIENCE) as client:
        client.called_echo(value=1)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.name, record.getMessage())
        for record in caplog.records
        if getattr(record, "action", "") == "server_traps"
    ]


@pytest.mark.parametrize(
    ("connect", "logger"),
    [
        (call, "gearmanny.client"),
        (call_in_a_loop, "gearmanny.client"),
        (work, "gearmanny.worker"),
    ],
)
def test_they_are_named_once(
    caplog: pytest.LogCaptureFixture, connect: Callable[[str], None], logger: str
) -> None:
    with caplog.at_level(logging.INFO, logger), Gearmand() as server:
        connect(server.host)
        until(lambda: said(caplog), "the line")
        connect(server.host)
        (name, line), *more = said(caplog)
    assert name == logger
    assert not more
    assert "http_obeyed" in line
    assert f"gearmanny status {server.host}" in line


def test_a_job_server_without_traps_is_not_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gearmanny"), JobServer() as plain, Gearmand() as server:
        call(plain.host)
        call(server.host)
        until(lambda: said(caplog), "the line")
    assert len(said(caplog)) == 1


def test_nobody_is_asked_where_nobody_would_read_the_answer(
    network: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "gearmanny")
    call(network.host)
    call_in_a_loop(network.host)
    work(network.host)
    assert network.accepted == 4


def test_a_runner_with_many_processes_says_it_once() -> None:
    with Gearmand() as server:
        done = subprocess.run(
            [sys.executable, "-c", RUNNER, server.host],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has known traps") == 1


RUNNER = """
import os, signal, sys, threading
from gearmanny.admin import JobServer
from gearmanny.workrunner import WorkRunner
from tests.support.servers import until
from tests.support.workers import Called

host = sys.argv[1]

def stop_when_all_are_there():
    def workers():
        return {row.function: row.workers for row in JobServer(host).status()}
    until(lambda: workers().get("called_echo") == 4, "four processes")
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=stop_when_all_are_there).start()
WorkRunner([Called], hosts=[host], verbosity=1).start(threads=4)
"""
