"""One client in the processes and threads of web servers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, ROOT, Server, end, free_port, until, working

REQUESTS = 200

GUNICORN = ["gunicorn", "--preload", "--workers", "2", "--threads", "4", "--bind"]
UVICORN = ["uvicorn", "--host", "127.0.0.1", "--port"]


class Web(BaseWorker):
    name = "web"

    def task_echo(self, value: Any) -> Any:
        return value


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        answer: str = response.read().decode()
        return answer


@contextlib.contextmanager
def serving(command: list[str], port: int, gearman_server: Server) -> Iterator[int]:
    """Runs a web server; yields its pid."""
    server = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "GEARMAN_HOST": gearman_server.host},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def answers() -> bool:
        assert server.poll() is None, "the web server ended"
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return bool(get(f"http://127.0.0.1:{port}/?0"))
        return False

    try:
        until(answers, "the web server answering")
        yield server.pid
    finally:
        end(server)


@pytest.mark.parametrize("kind", ["gunicorn", "uvicorn"])
def test_a_preloaded_client_serves_every_process_and_thread(
    gearman_server: Server, kind: str
) -> None:
    port = free_port()
    if kind == "gunicorn":
        command = [*GUNICORN, f"127.0.0.1:{port}", "tests.acceptance.preloaded:wsgi"]
    else:
        command = [*UVICORN, str(port), "tests.acceptance.preloaded:asgi"]
    with (
        working(Web([gearman_server.host])),
        serving(command, port, gearman_server) as master,
        ThreadPoolExecutor(16) as pool,
    ):
        urls = (f"http://127.0.0.1:{port}/?{number}" for number in range(REQUESTS))
        answers = [answer.split() for answer in pool.map(get, urls)]
        assert [int(number) for _, number in answers] == list(range(REQUESTS))
        pids = {int(pid) for pid, _ in answers}
        assert (master in pids) == (kind == "uvicorn")  # gunicorn answers in children
