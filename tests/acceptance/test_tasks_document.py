"""The document docs/tasks.md is true: its Python runs, and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.servers import PATIENCE, ROOT, Server, end, until, workers_of

DOCUMENT = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")

SETTINGS, *BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.M | re.S)

FILES = [code for code in BLOCKS if code.startswith("# ")]

MORE = """
SECRET_KEY = "for tests only"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}}
"""


@pytest.fixture
def project(gearman_server: Server, tmp_path: Path) -> Path:
    """The folder of the project that the page shows."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    settings = SETTINGS.replace("localhost:4730", gearman_server.host) + MORE
    if not find_spec("django.tasks"):
        settings += 'INSTALLED_APPS += ["django_tasks"]\n'
    (tmp_path / "shop" / "settings.py").write_text(settings)
    package = "django.tasks" if find_spec("django.tasks") else "django_tasks"
    for code in FILES:
        name = code.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(code.replace("django.tasks", package))
    return tmp_path


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "django", *arguments],
        cwd=project,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(project: Path, *arguments: str) -> str:
    process = start(project, *arguments)
    try:
        printed, _ = process.communicate(timeout=PATIENCE * 2)
    finally:
        end(process)
    assert process.returncode == 0, printed
    return printed


def test_tasks_run_as_the_page_says(project: Path, gearman_server: Server) -> None:
    output(project, "migrate")
    workers = start(project, "runworkers", "-v0")
    try:
        until(lambda: workers_of(gearman_server, "tasks_mail"), "the worker of the queues")
        code = (project / "enqueue.py").read_text()
        printed = output(project, "shell", "-v0", "-c", code)
    finally:
        end(workers)
    assert printed.splitlines() == re.findall(r"^ *print\(.*\)  # (.*)$", code, re.M)


def test_tests_run_as_the_page_says(project: Path) -> None:
    assert "Ran 1 test" in output(project, "test")
