"""Management commands that run in processes of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.servers import ROOT, Server, Start, end


@pytest.fixture
def start_command(gearman_server: Server, tmp_path: Path) -> Iterator[Start]:
    """Starts a management command: `start_command("runworkers", "--threads", "2", TEST_DEBUG="1")`.

    Keywords are environment variables. What it prints is in the files `stdout` and `stderr`.
    """
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "django", *arguments],
                cwd=ROOT,
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "tests.django_settings",
                    "TEST_HOSTS": gearman_server.host,
                    "TEST_DATABASE": str(tmp_path / "database"),
                    **environment,
                },
                stdout=stack.enter_context((tmp_path / "stdout").open("w")),
                stderr=stack.enter_context((tmp_path / "stderr").open("w")),
                text=True,
            )
            stack.callback(end, process)
            return process

        yield start


@pytest.fixture
def start_runworkers(start_command: Start) -> Start:
    """Starts `runworkers`."""
    return partial(start_command, "runworkers")
