"""The documents are true: their Python runs and prints what it says, and their tables
are those of the code."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

import gearmanny
from gearmanny import errors
from gearmanny.client import SimpleClient
from gearmanny.contrib.django.management.commands import runworkers
from gearmanny.contrib.django.sections import CacheSettings, RecordsSettings
from gearmanny.contrib.django.settings import Settings, get_settings
from gearmanny.embedded import JobServer
from gearmanny.payload.fields import options_of
from gearmanny.records.sql import SQLStore
from gearmanny.records.states import State
from gearmanny.running.options import RunnerOptions
from gearmanny.running.pools import PoolOptions
from gearmanny.schedules.timetable import OptionsOfTimetable
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tests.support.servers import (
    PATIENCE,
    ROOT,
    Server,
    end,
    find_program,
    mongodb,
    until,
    workers_of,
)
from tests.support.tls import Authority
from tools.proxies import proxy

ELSEWHERE = {"deploy.md", "embedded.md", "hooks.md", "tasks.md", "testing.md"}
"""Of docs/, the pages whose Python other modules run."""

PAGES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
BLOCKS: dict[str, list[str]] = {
    page: re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    for page, text in PAGES.items()
    if page not in ELSEWHERE
}
EXAMPLES = [block for block in BLOCKS["calls.md"] if "office_" in block]
"""Of docs/calls.md, those that say in comments what they print."""

FIRST_STEPS = ["README.md", "quickstart.md"]
DJANGO = {"README.md": "runworkers", "quickstart.md": "runworkers", "django.md": "runshop"}
"""The pages that show a Django project, with the command that runs its workers here."""

ACTION = re.compile("`([a-z]+_[a-z_]+|[a-z]+ing)`")
FILE = re.compile(r"# (\S+\.py)\n")


def block(mark: str, **replaced: str) -> str:
    """Returns the block that holds a mark, with addresses of our own servers."""
    (found,) = [block for page in BLOCKS.values() for block in page if mark in block]
    for old, new in replaced.items():
        assert {"gearmand": "localhost:4730", "mongodb": "localhost:27017"}[old] in found
        found = found.replace(
            {"gearmand": "localhost:4730", "mongodb": "localhost:27017"}[old], new
        )
    return found


def run(code: str, *arguments: str, folder: Path = ROOT) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def said_by(code: str) -> list[str]:
    """Returns what a block says that it prints: its comments that end a line, or are one."""
    return re.findall(r"(?:^ +| {2})# (.*)$", code, re.M)


def table(page: str, head: str) -> list[list[str]]:
    """Returns the cells of the table with that head, row by row."""
    (rows,) = re.findall(rf"^\| {re.escape(head)}.*\n\|-.*\n((?:\|.*\n)+)", PAGES[page], re.M)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows.splitlines()]


def test_the_readme_is_short_and_begins_with_a_worker_and_its_answer() -> None:
    lines = PAGES["README.md"].splitlines()
    assert len(lines) <= 130
    assert any("# 25" in line for line in lines[:40])
    worker = BLOCKS["README.md"][0].splitlines()
    assert len([line for line in worker if line.strip()]) <= 12


def test_every_python_block_is_run_here() -> None:
    assert {page: len(found) for page, found in BLOCKS.items() if found} == {
        "README.md": 2 + 4,  # the first steps, and a project of Django
        "quickstart.md": 2 + 4,
        "django.md": 4 + 1 + 1 + 1 + 1,  # the last two in test_django_records.py
        "durable.md": 2 + 2,  # the last two in test_durable_document.py
        "workers.md": 1 + 2,
        "calls.md": 1 + 1 + len(EXAMPLES) + 4 + 2,
        "connections.md": 1,
        "cache.md": 1 + 2,
        "logging.md": 1,
        "commands.md": 1,  # in test_django_health.py
        "schedules.md": 2,
        "explorer.md": 2,  # in admin_cases.py of the app `recorded`
    }


def test_links_lead_to_files_and_headings_that_exist() -> None:
    for page, text in PAGES.items():
        folder = ROOT if page == "README.md" else ROOT / "docs"
        for target in re.findall(r"\]\(((?!http)[^)]+)\)", text):
            name, _, heading = target.partition("#")
            path = folder / name if name else folder / page
            assert path.exists(), (page, target)
            titles = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.M) if heading else []
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert not heading or heading in slugs, (page, target)


@pytest.mark.parametrize("page", ["README.md", "index.md"])
def test_every_page_is_in_the_tables_of_pages(page: str) -> None:
    linked = [
        name.rpartition("/")[2] for name in re.findall(r"^\| \[.*?\]\((.*?)\)", PAGES[page], re.M)
    ]
    for_contributors = {"reliability-tests.md"} if page == "README.md" else set()
    assert sorted(linked) == sorted({*PAGES} - {"README.md", "index.md"} - for_contributors)


@pytest.mark.parametrize("page", FIRST_STEPS)
def test_the_first_steps_print_what_they_say(
    gearman_server: Server, tmp_path: Path, page: str
) -> None:
    worker, call = (
        code.replace("localhost:4730", gearman_server.host)
        .replace("MyWorker()", f"MyWorker([{gearman_server.host!r}])")
        .replace("SimpleClient()", f"SimpleClient([{gearman_server.host!r}], timeout=20)")
        for code in BLOCKS[page][:2]
    )
    (tmp_path / "myworker.py").write_text(worker)
    process = subprocess.Popen([sys.executable, "myworker.py"], cwd=tmp_path, text=True)
    try:
        assert "25" in said_by(call)
        assert run(call) == said_by(call)
    finally:
        end(process)


@pytest.mark.parametrize("page", DJANGO)
def test_the_projects_of_django_answer_what_they_say(
    gearman_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """The files of the page are put into a new project, the settings at the end of its own."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "mysite.settings")
    for command in (["startproject", "mysite", "."], ["startapp", "shop"]):
        subprocess.run(
            [sys.executable, "-m", "django", *command], cwd=tmp_path, check=True, timeout=PATIENCE
        )
    settings = tmp_path / "mysite" / "settings.py"
    written = settings.read_text()
    if page == "django.md":  # where this is said in words
        written += 'INSTALLED_APPS += ["gearmanny.contrib.django", "shop"]\n'
    for code in BLOCKS[page]:
        if (file := FILE.match(code)) and "/" in file[1]:
            path = tmp_path / file[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            text = code.replace("localhost:4730", gearman_server.host)
            path.write_text(written + text if path == settings else text)
    calls = re.findall(r'^    curl "http://localhost:8000(\S+)" +# (.*)$', PAGES[page], re.M)
    assert calls
    workers = subprocess.Popen([sys.executable, "manage.py", DJANGO[page]], cwd=tmp_path)
    try:
        until(lambda: workers_of(gearman_server, "shop_price") == 1, "a worker")
        code = (
            "import django\n"
            "django.setup()\n"
            "from django.test import Client\n"
            "client = Client(headers={'host': 'localhost'})\n"
            f"for path in {[path for path, _ in calls]}:\n"
            "    print(client.get(path).content.decode())\n"
        )
        assert run(code, folder=tmp_path) == [answer for _, answer in calls]
    finally:
        workers.terminate()
        assert workers.wait(PATIENCE) == 0


@pytest.fixture
def text_workers(gearman_server: Server, tmp_path: Path) -> Iterator[None]:
    script = tmp_path / "text_workers.py"
    script.write_text(block("class TextWorker"))
    process = subprocess.Popen([sys.executable, str(script), gearman_server.host], text=True)
    try:
        until(lambda: workers_of(gearman_server, "text_echo") == 2, "two workers")
        yield
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


@pytest.mark.usefixtures("text_workers")
def test_the_clients_print_what_they_say(gearman_server: Server) -> None:
    assert run(block("client.text_help()", gearmand=gearman_server.host)) == [
        "hihi",
        "Echoes the text",
        "text_echo() is missing required argument: 'text'. It takes text, double.",
        "Progress(done=1, total=2)",
        "Data(value='one')",
        "Progress(done=2, total=2)",
        "Data(value='two')",
        "True ['one', 'two']",
        "49995000",
        f"No answer from nobody_home() within 0.1 s. No worker offers it on "
        f"{gearman_server.host}. Start one that does, or look whether the name and the host are "
        "right.",
    ]


def test_the_options_of_a_task_work_as_they_are_shown(
    gearman_server: Server, tmp_path: Path
) -> None:
    script = tmp_path / "fetch_workers.py"
    script.write_text(block("class FetchWorker", gearmand=gearman_server.host))
    worker = subprocess.Popen([sys.executable, str(script)], text=True)
    try:
        example = block("client.fetch_size", gearmand=gearman_server.host)
        assert run(example) == said_by(example) == ["5"]
    finally:
        end(worker)


@pytest.mark.usefixtures("text_workers")
def test_the_tls_of_connections_works(gearman_server: Server, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.client_files()
    demanding = authority.context("127.0.0.1", wants_certificate=True)
    with proxy(gearman_server.port, demanding) as running:
        assert run(block("tls = {", gearmand=running.host), folder=tmp_path) == ["hi"]


def test_the_logging_that_is_shown_shows_every_job() -> None:
    record = "logging.getLogger('gearmanny.worker').info('text_echo answered')\n"
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS["logging.md"][0] + record],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr.endswith("INFO text_echo answered\n")


def test_typed_calls_work_as_their_document_says(gearman_server: Server, tmp_path: Path) -> None:
    host = gearman_server.host
    script = tmp_path / "typed_workers.py"
    script.write_text(block("class MathWorker", gearmand=host))
    (tmp_path / "math_interface.py").write_text(block("class Math(Interface)"))
    worker = subprocess.Popen([sys.executable, str(script)], text=True)
    try:
        assert run(block("submit = MathWorker", gearmand=host), folder=tmp_path) == [
            "3",
            "[0, 1, 4, 9]",
            "math_add() got unexpected argument: 'c'. It takes a, b.",
            "1",
            "3",
            "3",
        ]
        assert run(block("check_interface(Math,", gearmand=host), folder=tmp_path) == ["3"]
    finally:
        end(worker)


def test_the_cache_works() -> None:
    with mongodb(own=True) as uri:  # where nothing has been counted yet
        host = uri.removeprefix("mongodb://").rstrip("/")
        assert run(block("count_words(", mongodb=host)) == ["3 3", "1"]


def test_cached_tasks_work_as_they_are_shown(
    gearman_server: Server, mongodb_uri: str, tmp_path: Path
) -> None:
    host = mongodb_uri.removeprefix("mongodb://").rstrip("/")
    script = tmp_path / "report_workers.py"
    script.write_text(block("class ReportWorker", gearmand=gearman_server.host, mongodb=host))
    worker = subprocess.Popen([sys.executable, str(script)], text=True)
    try:
        until(lambda: workers_of(gearman_server, "reports_report") == 1, "a worker")
        example = block("ReportWorker.using(client)", gearmand=gearman_server.host)
        assert run(example, folder=tmp_path) == ["{'year': 2026}"] * 2
    finally:
        end(worker)


def test_the_standalone_example_works(gearman_server: Server) -> None:
    script = str(ROOT / "examples" / "standalone.py")
    workers = subprocess.Popen([sys.executable, script, "work", gearman_server.host], text=True)
    try:
        done = subprocess.run(
            [sys.executable, script, "call", gearman_server.host],
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
    finally:
        workers.terminate()
        assert workers.wait(PATIENCE) == 0
    assert done.stdout.splitlines() == [
        "functions: prime_factors, prime_upto",
        "360 = 2 × 2 × 2 × 3 × 3 × 5",
        "prime_factors() failed on its worker: builtins.ValueError: 0 has no prime factors",
        "91, 97: [[7, 13], [97]]",
        "up to 20: [2, 3, 5, 7, 11, 13, 17, 19], after 27 updates",
    ], done.stderr


def test_the_durable_example_works_with_nothing_but_gearmanny(tmp_path: Path) -> None:
    script = (ROOT / "examples" / "durable.py").read_text(encoding="utf-8")
    with JobServer() as server:
        (id,) = run(script, "order", server.host, folder=tmp_path)
        assert run(script, "show", id, folder=tmp_path) == ["shop_deliver: queued "]
        workers = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / "durable.py"), "work", server.host],
            cwd=tmp_path,
            text=True,
        )
        try:
            done = ['shop_deliver: succeeded "6 pieces of tea, cups"']
            until(lambda: run(script, "show", id, folder=tmp_path) == done, "the end of the order")
        finally:
            workers.terminate()
            assert workers.wait(PATIENCE) == 0


def test_schedules_work_as_they_are_shown(gearman_server: Server, tmp_path: Path) -> None:
    script = tmp_path / "report_workers.py"
    script.write_text(block("class Reports(", gearmand=gearman_server.host))
    runner = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, text=True)
    try:
        until(lambda: workers_of(gearman_server, "reports_nightly") == 1, "a worker")
        example = block("client.schedules", gearmand=gearman_server.host)
        assert run(example, folder=tmp_path) == said_by(example)
    finally:
        runner.terminate()
        assert runner.wait(PATIENCE) == 0


def test_the_options_of_schedules_are_listed() -> None:
    listed = [row[0].strip("|` ") for row in table("schedules.md", "option")]
    assert listed == list(OptionsOfTimetable.__annotations__)


def test_durable_jobs_work_as_their_document_says(gearman_server: Server, tmp_path: Path) -> None:
    script = tmp_path / "orders.py"
    script.write_text(block("class OrderWorker", gearmand=gearman_server.host))
    id, state = run(script.read_text(), folder=tmp_path)[0].split()
    assert (len(id), state) == (36, "queued")
    with working_program(script, "work"):
        look_at = f"from orders import STORE; print(STORE.look({id!r}).result)"
        until(lambda: run(look_at, folder=tmp_path) == ['"2 items"'], "the end of the order")


def test_atomic_tasks_work_as_their_document_says(gearman_server: Server, tmp_path: Path) -> None:
    script = tmp_path / "accounts.py"
    plain = "records=STORE, transaction"
    code = block("class AccountWorker")
    assert plain in code
    script.write_text(code.replace(plain, f"[{gearman_server.host!r}], {plain}"))
    with contextlib.closing(sqlite3.connect(tmp_path / "bank.db")) as bank:
        bank.execute("CREATE TABLE payments (account, cents)")
        store = SQLStore(f"sqlite:///{tmp_path / 'bank.db'}")
        with SimpleClient([gearman_server.host], records=store) as client:
            work = client.using(background=True).account_pay(account=7, cents=100)
        with working_program(script):
            until(lambda: has_succeeded(store, work.id), "the end of the payment")
            thanks = "SELECT result FROM gearmanny_jobs WHERE result LIKE '\"Thank%'"
            until(lambda: bank.execute(thanks).fetchall(), "the thanks")
            assert bank.execute(thanks).fetchall() == [('"Thank you, 7."',)]
        store.close()
        assert bank.execute("SELECT * FROM payments").fetchall() == [(7, 100)]


def has_succeeded(store: SQLStore, id: str | None) -> bool:
    record = store.look(id or "")
    return record is not None and record.state is State.SUCCEEDED


@contextlib.contextmanager
def working_program(script: Path, *arguments: str) -> Iterator[None]:
    workers = subprocess.Popen(
        [sys.executable, str(script), *arguments], cwd=script.parent, text=True
    )
    try:
        yield
    finally:
        end(workers)


def test_the_settings_of_records_are_those_of_the_code() -> None:
    rows = table("durable.md", "without Django")
    described = {row[1].strip("`"): row[2].strip("`").strip('"') for row in rows}
    defaults = dataclasses.asdict(RecordsSettings())
    assert described == {name: str(value) for name, value in defaults.items()}


@pytest.fixture
def office(gearman_server: Server, tmp_path: Path) -> Iterator[None]:
    script = tmp_path / "call_workers.py"
    script.write_text(block("class Office", gearmand=gearman_server.host))
    process = subprocess.Popen([sys.executable, str(script)], text=True)
    try:
        until(lambda: workers_of(gearman_server, "office_copy") == 1, "a worker")
        yield
    finally:
        end(process)


@pytest.mark.usefixtures("office")
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_calls_print_what_they_say(
    gearman_server: Server, example: str, tmp_path: Path
) -> None:
    assert said_by(example)
    code = example.replace("localhost:4730", gearman_server.host)
    assert run(code, folder=tmp_path) == said_by(example)


def test_the_workers_of_bytes_print_what_they_say(gearman_server: Server, tmp_path: Path) -> None:
    script = tmp_path / "blobs.py"
    script.write_text(block("class Blobs", gearmand=gearman_server.host))
    find_program("gearman", "gearman-tools")
    port = gearman_server.host.rpartition(":")[2]
    processes = [
        subprocess.Popen([sys.executable, str(script)], text=True),
        subprocess.Popen(
            ["gearman", "-h", "127.0.0.1", "-p", port, "-w", "-f", "their_count", "--", "wc", "-c"],
            text=True,
        ),
    ]
    try:
        for function in ("blobs_sha256", "their_count"):
            until(lambda name=function: workers_of(gearman_server, name) == 1, function)
        example = block("blobs_sha256(b")
        assert run(example.replace("localhost:4730", gearman_server.host)) == said_by(example)
    finally:
        for process in processes:
            end(process)


def test_the_settings_that_are_shown_are_the_defaults() -> None:
    shown: dict[str, Any] = {}
    exec(block("GEARMANNY = {\n"), shown)
    defaults = dataclasses.asdict(Settings())
    assert shown["GEARMANNY"] == defaults
    assert list(shown["GEARMANNY"]) == list(defaults)
    for key in ("RECORDS", "CACHE"):
        assert list(shown["GEARMANNY"][key]) == list(defaults[key])


def test_the_settings_are_described_as_in_the_help_of_runworkers() -> None:
    shown = {
        name or below: comment or above
        for above, below, name, comment in re.findall(
            r'^ +# (.*)\n +"(\w+)"|^ +"(\w+)": .*?  # (.*)$', block("GEARMANNY = {\n"), re.M
        )
    }
    options = {**options_of(Settings), **options_of(RecordsSettings), **options_of(CacheSettings)}
    assert {
        name: comment.partition("; see ")[0] for name, comment in shown.items() if name in options
    } == {name: str(option) for name, option in options.items()}


def test_the_options_of_pools_are_described_as_in_the_code() -> None:
    rows = table("django.md", "option | description")
    assert {row[0].strip("|` "): row[1].rstrip("| ") for row in rows} == {
        name: option.help for name, option in options_of(PoolOptions).items()
    }


def test_the_pools_that_are_shown_are_valid() -> None:
    shown: dict[str, Any] = {}
    exec(block("POOLS = {\n"), shown)
    with override_settings(GEARMANNY={"POOLS": shown["POOLS"]}):
        assert shown["POOLS"] == get_settings().POOLS


def test_the_exit_codes_are_those_of_runworkers() -> None:
    rows = {int(row[0].strip("| ")): row[1] for row in table("django.md", "exit code")}
    assert list(rows) == [0, 1, 2, 3, 4, 5]
    assert "--connect-timeout" in rows[runworkers._NO_JOB_SERVER]
    assert "crashed again" in rows[runworkers._CRASH_LOOP]
    assert "a job failed" in rows[runworkers._JOBS_FAILED]


def test_the_options_of_runworkers_that_are_shown_exist() -> None:
    parser = runworkers.Command().create_parser("manage.py", "runworkers")
    lines = re.findall(r"^    manage\.py runworkers(.*?)(?: +#.*)?$", PAGES["django.md"], re.M)
    assert len(lines) == 11
    for line in lines:
        parser.parse_args(line.replace("#", " #").partition("#")[0].split())


def test_the_options_of_workrunner_have_the_defaults_that_are_shown() -> None:
    rows = table("workers.md", "option of `WorkRunner`")
    shown = [option.partition("=")[::2] for row in rows for option in re.findall("`(.*?)`", row[0])]
    parameters = inspect.signature(WorkRunner.__init__).parameters
    assert [name for name, _ in shown] == list(options_of(RunnerOptions))
    assert {name: ast.literal_eval(value) for name, value in shown} == {
        name: parameters[name].default for name, _ in shown
    }


def test_the_options_of_a_worker_that_are_shown_exist() -> None:
    class Named(BaseWorker):
        name = "named"

    rows = table("workers.md", "in a worker class")
    names = [name for row in rows for name in re.findall(r"`(?:self\.)?(\w+)", row[0])]
    assert len(names) > 12
    assert [name for name in names if not hasattr(Named, name)] == []


def test_the_errors_that_are_shown_exist() -> None:
    rows = table("calls.md", "error")
    assert len(rows) == 8
    assert {row[0].strip("|` ") for row in rows} <= set(errors.__all__)


def test_every_action_that_is_logged_is_listed_and_no_other() -> None:
    listed = {name for row in table("logging.md", "logger") for name in ACTION.findall(row[2])}
    code = "".join(
        path.read_text(encoding="utf-8") for path in Path(gearmanny.__file__).parent.rglob("*.py")
    )
    logged = set(re.findall(r'"action": "(\w+)"', code))
    logged |= {f"job_{name}" for name in re.findall(r'\babout\("(\w+)"', code)}
    steps = ("hit", "miss", "stale", "served_stale", "refresh", "write")
    logged |= {f"cache_{name}" for name in steps}
    assert listed == logged
