"""The document docs/tasks.md is true: its Python runs, and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import django
import pytest

from tests.support.servers import PATIENCE, ROOT, Server, end, until, workers_of

DOCUMENT = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")

SETTINGS, *BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.M | re.S)

FILES = [code for code in BLOCKS if code.startswith("# ")]

PACKAGE = "django.tasks" if find_spec("django.tasks") else "django_tasks"

TAKES_KEYWORDS = not find_spec("django.tasks") or django.VERSION >= (6, 1)

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
    for name in ("shop/tasks.py", "enqueue.py", "shop/tests.py"):
        (tmp_path / name).write_text(code_of(name)[0])
    return tmp_path


def code_of(name: str) -> list[str]:
    """Returns what the page has for a file."""
    return [
        code.replace("django.tasks import", f"{PACKAGE} import")
        for code in FILES
        if code.startswith(f"# {name}\n")
    ]


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
    check_printed(project, gearman_server, code_of("enqueue.py")[0])


def check_printed(project: Path, server: Server, code: str) -> None:
    """Checks that code prints what its comments say, beside workers of the project."""
    output(project, "migrate")
    workers = start(project, "runworkers", "-v0")
    try:
        until(lambda: workers_of(server, "tasks_mail"), "the worker of the queues")
        printed = output(project, "shell", "-v0", "-c", code)
    finally:
        end(workers)
    assert printed.splitlines() == re.findall(r"^ *print\(.*\)  # (.*)$", code, re.M)


@pytest.mark.parametrize("where", ["keywords", "OPTIONS"])
def test_tasks_are_tried_again_and_limited_as_the_page_says(
    project: Path, gearman_server: Server, where: str
) -> None:
    (code,) = code_of("retries.py")
    tasks = code_of("shop/tasks.py")[1]
    if where == "OPTIONS":
        tasks = re.sub(r"@task\((takes_context=True)?.*\)", r"@task(\1)", tasks)
        with (project / "shop" / "settings.py").open("a") as file:
            file.write(code_of("shop/settings.py")[0])
    elif not TAKES_KEYWORDS:
        pytest.skip("Django 6.0 takes no keywords")
    (project / "shop" / "tasks.py").write_text(tasks)
    (project / "shop" / "tests.py").unlink()
    check_printed(project, gearman_server, code)


def test_tests_run_as_the_page_says(project: Path) -> None:
    assert "Ran 1 test" in output(project, "test")
