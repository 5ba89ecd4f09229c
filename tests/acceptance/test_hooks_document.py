"""The document docs/hooks.md is true: its Python runs, and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from gearmanny.client import SimpleClient
from gearmanny.errors import TaskError
from tests.support.servers import PATIENCE, ROOT, Server, end, free_port, until, workers_of

DOCUMENT = (ROOT / "docs" / "hooks.md").read_text()

BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.M | re.S)

Run = Callable[..., IO[str]]


@pytest.fixture
def run(gearman_server: Server, tmp_path: Path) -> Iterator[Run]:
    """Runs a block as a program, against a job server of ours; returns what it prints."""
    processes: list[subprocess.Popen[str]] = []

    def start(number: int, port: int = 9100) -> IO[str]:
        script = tmp_path / f"block{number}.py"
        code = BLOCKS[number].replace("localhost:4730", gearman_server.host)
        script.write_text(code.replace("9100", str(port)))
        processes.append(
            subprocess.Popen(
                [sys.executable, "-u", "-W", "error", str(script)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        pipe = processes[-1].stdout
        assert pipe is not None
        return pipe

    yield start
    for process in processes:
        end(process)


def test_every_python_block_is_run_here() -> None:
    assert len(BLOCKS) == 4


def test_hooks_time_and_reject(run: Run, gearman_client: SimpleClient) -> None:
    printed = run(0)
    assert gearman_client.orders_ship(amount=3) == "3 are on their way"
    with pytest.raises(TaskError, match="Call us") as rejected:
        gearman_client.orders_ship(amount=300)
    assert rejected.value.type == "gearmanny.errors.RejectJob"
    for line in (printed.readline().strip(), printed.readline().strip()):
        what, _, _ = line.rpartition(", in less than ")
        assert f"`{what}" in DOCUMENT.replace("\n", " ")


def test_metrics_are_served(run: Run, gearman_client: SimpleClient, gearman_server: Server) -> None:
    port = free_port()
    run(1, port)
    assert gearman_client.orders_ship(amount=3)
    until(lambda: workers_of(gearman_server, "orders_ship") == 4, "4 processes")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        told = answer.read().decode()
    named = set(re.findall(r"^\| `(gearmanny_\w+)`", DOCUMENT, re.M))
    # These are there once a cache was used, and where jobs are recorded.
    others = {name for name in named if name.startswith(("gearmanny_cache", "gearmanny_records"))}
    assert named - others - {"gearmanny_store_up"} == {
        name.removesuffix("_bucket")
        for name in re.findall(r"^(gearmanny_\w+)\{", told, re.M)
        if not name.endswith(("seconds_count", "seconds_sum"))
    }


def test_jobs_are_spans(run: Run, gearman_client: SimpleClient) -> None:
    exported = run(2)
    assert run(3).read() == "3 are on their way\n"
    lines = iter(exported.readline, "}\n")
    span = "".join(lines)
    assert '"name": "process orders_ship"' in span
    assert '"shop.amount": 3' in span
