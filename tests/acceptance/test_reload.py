"""`runworkers --reload`: it starts again when code has changed, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gearmanny.admin import JobServer as Admin
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import GearmanException
from gearmanny.net.loopback import free_port
from tests.support.servers import PATIENCE, ROOT, Server, end, until

MANAGE = """
import ctypes, os, sys
if "FIRST" in os.environ:  # as the first process of a container: it inherits orphans
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
if "MOVE" in os.environ:
    os.chdir(os.environ["MOVE"])
if "FIRST_LOOK" in os.environ:
    import pathlib, time
    from django.utils.autoreload import StatReloader
    looking, go_on = map(pathlib.Path, os.environ["FIRST_LOOK"].split(":"))
    snapshot_files = StatReloader.snapshot_files
    def held_up(self):
        looking.touch()
        while not go_on.exists():
            time.sleep(0.01)
        return snapshot_files(self)
    StatReloader.snapshot_files = held_up
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""

SETTINGS = """
import os
DEBUG = "NO_DEBUG" not in os.environ
SECRET_KEY = "for tests only"
INSTALLED_APPS = ["gearmanny.contrib.django", "shop"]
GEARMANNY = {"HOSTS": [os.environ["HOST"]]}
"""

WORKERS = """
import os, subprocess, sys, time
from pathlib import Path
from gearmanny.worker import BaseWorker

class Shop(BaseWorker):
    name = "shop"

    def task_price(self):
        from shop import prices
        return prices.APPLE

    def task_how(self):
        "The pids of the process and of its runner, and how Python was started"
        return [os.getpid(), os.getppid(), sys.warnoptions, sys._xoptions, sys.argv]

    def task_leave(self):
        "Leaves a process whose parent ends before it"
        code = "import os; print(os.getpid(), flush=True); os.read(0, 1)"
        program = f"{sys.executable} -c '{code}' &"
        with subprocess.Popen(["sh", "-c", program], stdin=subprocess.DEVNULL, stdout=-1) as shell:
            return int(shell.stdout.readline())

    def task_wait_for(self, path):
        Path(f"{path}.started").touch()
        while not Path(path).exists():
            time.sleep(0.01)
        return "done"
"""


class Project:
    """A project, and the commands that run in it."""

    def __init__(self, folder: Path, host: str, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.host = host
        self._stack = stack
        (folder / "shop").mkdir(parents=True)
        for name, text in {
            "manage.py": MANAGE,
            "settings.py": SETTINGS,
            "shop/__init__.py": "",
            "shop/prices.py": "APPLE = 25",
            "shop/workers.py": WORKERS,
        }.items():
            (folder / name).write_text(text)

    def start(
        self,
        *arguments: str,
        python: tuple[str, ...] = ("manage.py",),
        cwd: Path | None = None,
        command: str = "runworkers",
        **environment: str,
    ) -> subprocess.Popen[str]:
        with (self.folder / "output").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *python, command, *arguments],
                cwd=cwd or self.folder,
                env={**os.environ, "HOST": self.host, "PYTHONPATH": str(ROOT), **environment},
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self._stack.callback(end, process)
        return process

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    def write(self, name: str, text: str) -> None:
        """Changes a file, whose time is another one then."""
        path = self.folder / name
        before = path.stat().st_mtime_ns if path.exists() else 0
        path.write_text(text)
        if path.stat().st_mtime_ns <= before:
            os.utime(path, ns=(before + 1000, before + 1000))

    def wait_for(self, text: str, times: int = 1) -> None:
        until(lambda: self.output.count(text) >= times, f"{text!r} in {self.output}")


@pytest.fixture
def project(gearman_server: Server, tmp_path: Path) -> Iterator[Project]:
    with contextlib.ExitStack() as stack:
        yield Project(tmp_path / "project", gearman_server.host, stack)


def lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("file", ["workers.py", "prices.py"], ids=["imported", "by a task"])
def test_a_change_is_served_soon(project: Project, gearman_client: SimpleClient, file: str) -> None:
    process = project.start()
    assert gearman_client.shop_price() == 25
    old, runner, *_ = gearman_client.shop_how()
    assert runner != process.pid
    if file == "prices.py":
        project.write("shop/prices.py", "APPLE = 30")
    else:
        project.write("shop/workers.py", WORKERS.replace("prices.APPLE", "prices.APPLE + 5"))
    until(lambda: gearman_client.shop_price() == 30, "the new price")
    assert f"{file} has changed: starting again." in project.output
    assert not lives(old)
    assert not lives(runner)
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_so_is_one_that_comes_while_all_files_are_looked_at_for_the_first_time(
    project: Project, gearman_client: SimpleClient, tmp_path: Path
) -> None:
    looking, go_on = tmp_path / "looking", tmp_path / "go_on"
    project.start(FIRST_LOOK=f"{looking}:{go_on}")
    until(looking.exists, "the first look")
    assert gearman_client.shop_price() == 25
    project.write("shop/prices.py", "APPLE = 30")
    go_on.touch()
    until(lambda: gearman_client.shop_price() == 30, "the new price")


def test_a_job_under_way_is_finished_first(project: Project, tmp_path: Path) -> None:
    project.start()
    path = tmp_path / "go"
    with AsyncClient([project.host]) as client:
        work = client.shop_wait_for(path=str(path))
        until(Path(f"{path}.started").exists, "the job")
        project.write("shop/prices.py", "APPLE = 30")
        project.wait_for("has changed")
        project.write("shop/prices.py", "APPLE = 35")  # the second change ends nothing at once
        project.wait_for("finishing the current jobs")
        path.touch()
        assert work.get_result(timeout=PATIENCE) == "done"
        assert client.shop_price().get_result(timeout=PATIENCE) == 35
    assert "ending at once" not in project.output


def test_a_mistake_waits_for_the_next_change(
    project: Project, gearman_client: SimpleClient
) -> None:
    process = project.start()
    assert gearman_client.shop_price() == 25
    project.write("shop/workers.py", WORKERS + "def (")
    project.wait_for("runworkers has ended (exit code 1). It starts again when its code has ch")
    assert "SyntaxError" in project.output
    assert process.poll() is None
    project.write("shop/workers.py", WORKERS.replace("prices.APPLE", "prices.APPLE + 5"))
    assert gearman_client.shop_price() == 30


def test_so_does_one_that_is_there_at_the_start_and_one_in_a_new_module(
    project: Project, gearman_client: SimpleClient
) -> None:
    project.write("shop/workers.py", "from shop import added\n" + WORKERS)
    project.write("shop/added.py", "def (")
    process = project.start()
    project.wait_for("It starts again when its code has changed.")
    project.write("shop/added.py", "")
    assert gearman_client.shop_price() == 25
    project.write("settings.py", SETTINGS + "def (")
    project.wait_for("It starts again when its code has changed.", 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_signal_ends_everything_after_the_job(
    project: Project, tmp_path: Path, number: signal.Signals, whole_group: bool
) -> None:
    process = project.start()
    path = tmp_path / "go"
    with AsyncClient([project.host]) as client:
        pids = client.shop_how().get_result(timeout=PATIENCE)[:2]
        work = client.shop_wait_for(path=str(path))
        until(Path(f"{path}.started").exists, "the job")
        (os.killpg if whole_group else os.kill)(process.pid, number)
        project.wait_for("finishing the current jobs")
        path.touch()
        assert work.get_result(timeout=PATIENCE) == "done"
    assert process.wait(PATIENCE) == 0
    assert not any(map(lives, pids))
    assert "ending at once" not in project.output


def test_a_second_signal_ends_it_at_once(project: Project, tmp_path: Path) -> None:
    process = project.start()
    path = tmp_path / "go"
    with AsyncClient([project.host]) as client:
        client.shop_wait_for(path=str(path))
        until(Path(f"{path}.started").exists, "the job")
        process.send_signal(signal.SIGINT)
        project.wait_for("finishing the current jobs")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert "ending at once" in project.output


def test_a_signal_after_a_change_does_not_end_the_job(project: Project, tmp_path: Path) -> None:
    process = project.start()
    path = tmp_path / "go"
    with AsyncClient([project.host]) as client:
        work = client.shop_wait_for(path=str(path))
        until(Path(f"{path}.started").exists, "the job")
        project.write("shop/prices.py", "APPLE = 30")
        project.wait_for("finishing the current jobs")
        process.send_signal(signal.SIGINT)
        until(lambda: process.poll() is None, "the watcher waiting")
        path.touch()
        assert work.get_result(timeout=PATIENCE) == "done"
    assert process.wait(PATIENCE) == 0
    assert "ending at once" not in project.output


def test_nothing_survives_a_killed_watcher(project: Project, gearman_client: SimpleClient) -> None:
    process = project.start()
    pids = gearman_client.shop_how()[:2]
    process.kill()
    until(lambda: not any(map(lives, pids)), "the end of the children")


@pytest.mark.skipif(sys.platform != "linux", reason="a process asks for orphans, as Linux has it")
def test_the_first_process_of_a_container_buries_orphans_and_goes_on(
    project: Project, gearman_client: SimpleClient
) -> None:
    process = project.start(FIRST="1")
    orphan = gearman_client.shop_leave()
    until(lambda: not Path(f"/proc/{orphan}").exists(), "the orphan being buried")
    project.write("shop/prices.py", "APPLE = 30")
    until(lambda: gearman_client.shop_price() == 30, "the new price")
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_sighup_and_sigusr1_are_passed_on(project: Project, gearman_client: SimpleClient) -> None:
    process = project.start()
    old, runner, *_ = gearman_client.shop_how()
    process.send_signal(signal.SIGUSR1)
    project.wait_for("the stacks of process shop-1")
    process.send_signal(signal.SIGHUP)
    until(lambda: gearman_client.shop_how()[0] != old, "a fresh process")
    assert gearman_client.shop_how()[1] == runner


@pytest.mark.parametrize(
    ("arguments", "environment", "watches"),
    [
        ([], {}, True),
        (["--no-reload"], {}, False),
        ([], {"NO_DEBUG": "1"}, False),
        (["--reload"], {"NO_DEBUG": "1"}, True),
    ],
)
def test_it_is_the_default_under_debug(
    project: Project,
    gearman_client: SimpleClient,
    arguments: list[str],
    environment: dict[str, str],
    watches: bool,
) -> None:
    process = project.start(*arguments, **environment)
    assert (gearman_client.shop_how()[1] != process.pid) is watches
    assert ("Watching for changes of code" in project.output) is watches


def test_python_is_started_as_it_was(project: Project, gearman_client: SimpleClient) -> None:
    project.start(python=("-W", "error::ImportWarning", "-X", "dev", "manage.py"))
    _, _, warnings, x_options, _ = gearman_client.shop_how()
    assert (warnings[-1], x_options) == ("error::ImportWarning", {"dev": True})


def test_as_a_module(project: Project, gearman_client: SimpleClient) -> None:
    project.start(python=("-m", "django"), DJANGO_SETTINGS_MODULE="settings")
    assert gearman_client.shop_price() == 25
    project.write("shop/prices.py", "APPLE = 30")
    until(lambda: gearman_client.shop_price() == 30, "the new price")


def test_by_another_path_and_after_a_change_of_folders(
    project: Project, gearman_client: SimpleClient, tmp_path: Path
) -> None:
    project.start(python=("project/manage.py",), cwd=tmp_path, MOVE="/")
    assert gearman_client.shop_price() == 25
    project.write("shop/prices.py", "APPLE = 30")
    until(lambda: gearman_client.shop_price() == 30, "the new price")


def test_the_embedded_job_server_keeps_its_jobs(project: Project, tmp_path: Path) -> None:
    project.host = f"127.0.0.1:{free_port()}"
    process = project.start("--embedded")
    project.wait_for("Ready")
    go = tmp_path / "go"
    with AsyncClient([project.host]) as client:
        first = client.using(background=True).shop_wait_for(path=str(go))
        assert first
        until(Path(f"{go}.started").exists, "the first job")
        client.using(background=True).shop_wait_for(path=str(tmp_path / "second"))
        project.write("shop/prices.py", "APPLE = 30")
        project.wait_for("finishing the current jobs")
        go.touch()
        until((tmp_path / "second.started").exists, "the job that waited")
        (tmp_path / "second").touch()
        assert client.shop_price().get_result(timeout=PATIENCE) == 30
    assert project.output.count("Started an embedded job server") == 1
    assert "already" not in project.output
    process.terminate()
    assert process.wait(PATIENCE) == 0
    with pytest.raises(GearmanException):
        Admin(project.host).version()


def test_one_that_is_killed_is_replaced(project: Project) -> None:
    project.host = f"127.0.0.1:{free_port()}"
    process = project.start("--embedded")
    project.wait_for("Ready")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(min(map(int, children)), signal.SIGKILL)
    project.wait_for("the embedded job server has ended; another one was started.")
    with SimpleClient([project.host], timeout=PATIENCE) as client:
        assert client.shop_price() == 25
        project.write("shop/prices.py", "APPLE = 30")
        until(lambda: client.shop_price() == 30, "the new price")


def test_an_end_that_no_change_mends_is_its_end(project: Project) -> None:
    project.host = f"127.0.0.1:{free_port()}"
    assert project.start("--connect-timeout", "0.2").wait(PATIENCE) == 3


def test_what_is_wrong_with_the_command_line_or_the_settings_ends_it(project: Project) -> None:
    assert project.start("--no-such-option").wait(PATIENCE) == 2
    project.write("settings.py", SETTINGS + 'GEARMANNY["THREADS"] = 0\n')
    assert project.start().wait(PATIENCE) == 1
    assert "GEARMANNY['THREADS'] must be a whole number" in project.output


def test_a_killed_runner_waits_for_a_change(project: Project, gearman_client: SimpleClient) -> None:
    project.start()
    os.kill(gearman_client.shop_how()[1], signal.SIGKILL)
    project.wait_for("runworkers has ended (SIGKILL)")
    project.write("shop/prices.py", "APPLE = 30")
    assert gearman_client.shop_price() == 30


def test_it_does_not_watch_inside_of_djangos_autoreload(
    project: Project, gearman_client: SimpleClient
) -> None:
    process = project.start("--reload", RUN_MAIN="true")
    assert process.wait(PATIENCE) == 1
    assert "not inside of Django's own autoreload" in project.output
    process = project.start(RUN_MAIN="true")
    assert gearman_client.shop_how()[1] == process.pid


def test_code_that_calls_the_command_is_not_started_again(
    project: Project, gearman_client: SimpleClient
) -> None:
    folder = project.folder / "shop" / "management" / "commands"
    folder.mkdir(parents=True)
    (folder / "runshop.py").write_text(
        "from django.core.management import call_command\n"
        "from django.core.management.base import BaseCommand\n"
        "class Command(BaseCommand):\n"
        "    def handle(self, **options):\n"
        "        call_command('runworkers')\n"
    )
    process = project.start(command="runshop")
    assert gearman_client.shop_how()[1] == process.pid


def test_list_is_not_watched(project: Project) -> None:
    assert project.start("--list", "--reload").wait(PATIENCE) == 0
    assert re.search(r"shop\.workers\.Shop \(shop\): ", project.output)
    assert "Watching" not in project.output
