"""Plain mistakes: what is given instead of what is meant, and what a program is told of it."""

from __future__ import annotations

import abc
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gearmanny.admin import JobServer
from gearmanny.client import JsonClient, SimpleClient
from gearmanny.errors import InvalidOption, InvalidTask
from gearmanny.testing import Eager, Gearmand, eager, running, running_process
from gearmanny.worker import BaseWorker, JsonWorker
from gearmanny.workrunner import WorkRunner
from tests.support.servers import PATIENCE, ROOT, RunWorker, Server


class Mail(BaseWorker):
    name = "mail"

    def task_send(self) -> None: ...


class Abstract(BaseWorker, abc.ABC):
    name = "abstract"

    @abc.abstractmethod
    def task_send(self) -> None: ...


class Uninitialized(BaseWorker):
    name = "uninitialized"

    def __init__(self) -> None:
        self.ready = True


class SetUpLater(BaseWorker):
    name = "later"

    async def setUp(self) -> None: ...  # type: ignore[override]


class SetUpInSteps(BaseWorker):
    name = "steps"

    def setUp(self) -> Any:
        yield


class Wordy(BaseWorker):
    name = "wordy"
    send_tracebacks = "no"  # type: ignore[assignment]


class Workless(BaseWorker):
    name = "workless"
    work_class = "JsonWorker"  # type: ignore[assignment]


NO_NAME = 'called by its name, a string such as "myworker_add", not by <Gearman function mail_send'

PLAIN = r"setUp\(\) must be a plain function: nobody would await it"

NO_WORK_CLASS = r"must be a subclass of gearman.GearmanWorker, such as JsonWorker, not 'JsonWorker'"

IN_A_LIST = r"WorkRunner takes a list of worker classes\. Write WorkRunner\(\[Mail\]\)\."

UNINITIALIZED = (
    r"Uninitialized\.__init__\(\) does not take hosts, verbosity, gearman_worker, with which every "
    r"worker is made\. Open what the tasks need in setUp\(\) instead"
)


def uninitialized() -> None:
    with eager([Uninitialized]):
        pass


@pytest.mark.parametrize(
    ("mistake", "error", "text"),
    [
        (lambda: WorkRunner(Mail), InvalidTask, IN_A_LIST),  # type: ignore[arg-type]
        (lambda: WorkRunner(Mail()), InvalidTask, IN_A_LIST),  # type: ignore[arg-type]
        (lambda: WorkRunner([Mail()]), InvalidTask, r"Give the class, Mail; a single worker runs"),  # type: ignore[list-item]
        (lambda: WorkRunner([str]), InvalidTask, r"Derive it from gearmanny\.worker\.BaseWorker"),  # type: ignore[list-item]
        (lambda: WorkRunner("Mail"), InvalidTask, "a list of worker classes, not 'Mail'"),  # type: ignore[arg-type]
        (lambda: WorkRunner(1), InvalidTask, "a list of worker classes, not 1"),  # type: ignore[arg-type]
        (
            lambda: WorkRunner([Abstract]),
            InvalidTask,
            "Abstract is an abstract class: it leaves task_send",
        ),
        (lambda: eager(Mail).__enter__(), InvalidTask, r"Write eager\(\[Mail\]\)"),  # type: ignore[arg-type]
        (uninitialized, InvalidTask, UNINITIALIZED),
        (
            lambda: Mail(1),
            InvalidOption,
            r'hosts must be a list, such as \["localhost:4730"\], not 1',
        ),  # type: ignore[arg-type]
        (
            lambda: Mail(gearman_worker=JsonWorker),
            InvalidOption,
            r"such as JsonWorker\(\), not <class",
        ),  # type: ignore[arg-type]
        (lambda: SimpleClient(4730), InvalidOption, "hosts must be a list"),  # type: ignore[arg-type]
        (SetUpLater, InvalidTask, PLAIN),
        (
            lambda: pickle.dumps(Mail().task_send),
            TypeError,
            r"A Mail cannot be sent to another process.* Give that process a static method of Mail",
        ),
        (SetUpInSteps, InvalidTask, PLAIN),
        (Wordy, InvalidOption, r"Wordy\.send_tracebacks must be True or False, not 'no'"),
        (Workless, InvalidOption, rf"Workless\.work_class {NO_WORK_CLASS}"),
        (lambda: WorkRunner([Workless]), InvalidOption, NO_WORK_CLASS),
        (lambda: WorkRunner([Mail], default_work_class="JsonWorker"), InvalidOption, NO_WORK_CLASS),  # type: ignore[arg-type]
        (lambda: WorkRunner([Mail], send_tracebacks="no"), InvalidOption, "not 'no'"),  # type: ignore[arg-type]
        (lambda: WorkRunner([Mail], health_file=""), InvalidOption, "the path of a file, or None"),
        (lambda: WorkRunner([Mail], stall_timeout=0), InvalidOption, "seconds above 0, or None"),
        (lambda: SimpleClient(data_encoder="json"), InvalidOption, "class methods encode and dec"),  # type: ignore[arg-type]
        (lambda: SimpleClient().call(SimpleClient().mail_send), InvalidTask, NO_NAME),  # type: ignore[arg-type]
        (lambda: SimpleClient().map(SimpleClient().mail_send, []), InvalidTask, NO_NAME),  # type: ignore[arg-type]
        (lambda: SimpleClient().status(1), InvalidOption, "The unique id of a job is a string"),  # type: ignore[arg-type]
        (
            lambda: SimpleClient().mail_send.delay,
            AttributeError,
            r"write client\.using\(background=True\)\.mail_send\(…\)",
        ),
        (
            lambda: SimpleClient().mail_send.submit,
            AttributeError,
            r"Write client\.submit\('mail_send', …\)",
        ),
        (lambda: Eager(hooks=None), InvalidOption, "hooks must be a list of functions"),  # type: ignore[arg-type]
        (lambda: running_process(1, "").__enter__(), InvalidTask, "1 is not a worker class"),  # type: ignore[arg-type]
        (lambda: running(Mail).__enter__(), InvalidOption, r"such as MyWorker\(hosts=\[...\]\)"),  # type: ignore[arg-type]
    ],
)
def test_a_mistake_is_answered_with_what_to_write(
    mistake: Callable[[], object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        mistake()


def test_a_runner_takes_any_iterable_of_classes() -> None:
    (slot,) = WorkRunner(kind for kind in [Mail]).slots(1)  # type: ignore[arg-type]
    assert slot.workers == (Mail,)


def output_of(code: str, **environment: str) -> str:
    """What a program writes to stderr."""
    program = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return program.stderr


ONE_JOB = """
from tests.acceptance.test_misuse import Mail
from gearmanny.testing import eager
from gearmanny.client import SimpleClient
import logging
{before}
with eager():
    pass
Mail(verbosity=1)
{after}
logging.getLogger("gearmanny.worker").info("answered")
"""


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("", "", 1),
        ("logging.basicConfig()", "", 1),
        ("", "logging.basicConfig()", 1),
        ("logging.getLogger('gearmanny').addHandler(logging.NullHandler())", "", 0),
    ],
)
def test_a_log_that_was_asked_for_is_written_once(before: str, after: str, lines: int) -> None:
    written = output_of(ONE_JOB.format(before=before, after=after))
    assert written.count("answered") == lines


def test_the_debug_option_of_the_cache_shows_its_log() -> None:
    written = output_of(
        "from gearmanny.helpers.cache_mongodb import MongoCache\n"
        "import logging\n"
        "MongoCache(DEBUG=1)\n"
        "logging.getLogger('gearmanny.cache').info('a hit')\n"
    )
    assert written.endswith(" INFO a hit\n")


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "gearmanny", "--help"],
        ["-m", "gearmanny", "server", "--help"],
        ["-m", "django", "runworkers", "--help"],
        ["-m", "django", "runworkers", "--list"],
        ["-m", "django", "gearmanny", "--help"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_commands_print_in_any_locale(command: list[str], encoding: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.django_settings",
            "TEST_APP": "tests.djangoapps.foreign",
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONIOENCODING": encoding,
        },
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_gearmand_is_found_without_a_path(
    monkeypatch: pytest.MonkeyPatch, gearman_server: Server
) -> None:
    if not isinstance(gearman_server, Gearmand):
        pytest.skip("needs a gearmand")
    monkeypatch.delenv("PATH")
    assert Gearmand().port


def test_processes_name_themselves_to_their_job_server(
    gearman_worker: RunWorker, gearman_server: Server
) -> None:
    gearman_worker(Mail)
    names = [row.client_id for row in JobServer(gearman_server.host).workers() if row.functions]
    assert names == [f"mail-{os.getpid()}@{os.uname().nodename}"]


def test_a_name_that_was_given_stays(gearman_worker: RunWorker, gearman_server: Server) -> None:
    shared: Any = JsonWorker()
    shared.worker_client_id = "mine"
    gearman_worker(Mail, gearman_worker=shared)
    names = [row.client_id for row in JobServer(gearman_server.host).workers() if row.functions]
    assert names == ["mine"]


def test_old_code_finds_the_client_under_its_name() -> None:
    assert JsonClient is SimpleClient
