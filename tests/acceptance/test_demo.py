"""`make demo`: it works, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from tests.support.servers import PATIENCE, ROOT, find_program, until

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

COMMAND = [sys.executable, "example_project/demo.py"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The demo keeps its temporary files where we see them, and marks its processes."""
    return os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}


def processes_with(tmp_path: Path) -> set[int]:
    """Returns the processes that have a folder of temporary files in their environment: what the
    demo started, and what that started."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if f"TMPDIR={tmp_path}".encode() in variables:
            found.add(int(folder.name))
    return found


@pytest.fixture
def serving(
    environment: dict[str, str], tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demo when it serves, and what it printed until then."""
    demo = subprocess.Popen(
        COMMAND,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    with demo:
        try:
            printed = ""
            for line in demo.stdout:
                printed += line
                if line.startswith("Open "):
                    break
            assert "Open http://127.0.0.1:" in printed, printed
            # MongoDB, the site, the workers' parent with a job server, a dispatcher and three
            # children, the demo
            assert len(processes_with(tmp_path)) >= 8
            yield demo, printed
        finally:
            demo.kill()


@pytest.mark.parametrize(
    ("options", "version"), [([], r"gearmanny-\S+"), (["--gearmand"], r"[\d.]+(\+ds)?")], ids=str
)
def test_once_shows_a_result_and_leaves_nothing(
    environment: dict[str, str], tmp_path: Path, options: list[str], version: str
) -> None:
    if options:
        find_program("gearmand", "gearman-job-server")
    demo = subprocess.run(
        [*COMMAND, "--once", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert (demo.returncode, demo.stderr) == (0, "")
    assert re.search(rf"job server 127\.0\.0\.1:\d+  \(version {version}\)\n", demo.stdout)
    assert re.search(r"\d+ files, \d+ lines, \d+ classes, \d+ functions\n", demo.stdout)
    assert re.search(r"longest function: \S+\(\), \d+ lines, in json/\w+\.py:\d+\n", demo.stdout)
    assert processes_with(tmp_path) == set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(
    serving: tuple[subprocess.Popen[str], str], tmp_path: Path, number: signal.Signals
) -> None:
    demo, _ = serving
    demo.send_signal(number)
    assert demo.stdout is not None
    rest = demo.stdout.read()
    assert demo.wait(PATIENCE) == 0
    assert rest.split("\n") == ["", "Stopping", "Everything is stopped.", ""]
    assert processes_with(tmp_path) == set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do that")
def test_being_killed_leaves_no_process(
    serving: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    demo, _ = serving
    demo.kill()
    until(lambda: not processes_with(tmp_path), "everything having ended")


def test_the_user_that_it_tells_of_may_do_everything(
    serving: tuple[subprocess.Popen[str], str],
) -> None:
    _, printed = serving
    told = re.search(r"The explorer: (\S+) – user (\S+), password (\S+)\n", printed)
    assert told
    url, user, password = told.groups()
    browser = build_opener(HTTPCookieProcessor())
    with browser.open(url, timeout=PATIENCE) as form:
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', form.read().decode())
    assert token
    login = {"csrfmiddlewaretoken": token[1], "username": user, "password": password}
    with browser.open(form.url, urlencode(login).encode(), timeout=PATIENCE) as page:
        explorer = page.read().decode()
    assert page.url == url
    assert "corpus_survey" in explorer
    assert "reports_write" in explorer
    assert '<a href="/">View site</a>' in explorer


def test_when_a_part_dies_the_rest_ends_with_a_reason(
    serving: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    demo, _ = serving
    (pid,) = (
        pid
        for pid in processes_with(tmp_path)
        if b"secantus" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    )
    os.kill(pid, signal.SIGKILL)
    assert demo.stdout is not None
    assert "MongoDB ended (exit code -9)." in demo.stdout.read()
    assert demo.wait(PATIENCE) == 1
    assert processes_with(tmp_path) == set()


def test_without_gearmand_it_says_what_to_install(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import runpy, shutil, sys;"
        "sys.path.insert(0, 'example_project');"
        "sys.argv = ['demo.py', '--once', '--gearmand'];"
        "shutil.which = lambda *_, **__: None;"
        "runpy.run_path('example_project/demo.py', run_name='__main__')"
    )
    demo = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert demo.returncode == 1
    assert demo.stderr.count("\n") == 1
    assert "apt-get install gearman-job-server" in demo.stderr
    assert processes_with(tmp_path) == set()
