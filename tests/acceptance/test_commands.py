"""`status` and `call`, of `gearmanny` and of `manage.py gearmanny`."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from gearmanny import cli
from gearmanny.client import SimpleClient
from gearmanny.commands.conditions import _OPERATORS
from gearmanny.commands.overview import METRICS, RECORDED_METRICS
from gearmanny.records.sql import SQLStore
from gearmanny.testing import running
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, ROOT, RunWorker, Server, Start, end, free_port, until
from tests.support.tls import Authority
from tools.proxies import proxy

GEARMANNY = [sys.executable, "-W", "error", "-m", "gearmanny"]


class Shop(BaseWorker):
    name = "shop"

    def task_echo(self, value: Any = None) -> Any:
        return value

    def task_count(self, to: int) -> int:
        for _ in self.progress(range(to)):
            pass
        self.warn("that was all")
        return to

    def task_fail(self) -> None:
        raise ValueError("no luck")


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GEARMANNY, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **options,
    )


def in_a_terminal(
    *command: str, lines: int = 24, until: bytes | None = None, **environment: str
) -> str:
    """Returns what a command writes to a terminal of 80 columns, until it ends, or until it has
    written something three times and gets Ctrl-C."""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (lines, 80))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env={**kept, "TERM": "xterm", **environment},
    )
    os.close(inner)
    written = b""
    try:
        with contextlib.suppress(OSError):  # EIO at the end
            while chunk := os.read(outer, 65536):
                written += chunk
                if until is not None and written.count(until) > 2:
                    process.send_signal(signal.SIGINT)
                    until = None
    finally:
        process.wait(PATIENCE)
        os.close(outer)
    return written.decode()


class TestStatus:
    def test_marks_functions_that_wait_without_a_worker(
        self, gearman_server: Server, gearman_worker: RunWorker, gearman_client: SimpleClient
    ) -> None:
        gearman_worker(Shop)
        gearman_client.using(background=True).orders_nightly()
        done = run("status", gearman_server.host)
        assert (done.returncode, done.stderr) == (0, "")
        assert "\033" not in done.stdout
        lines = done.stdout.splitlines()
        assert lines[0].startswith(f"{gearman_server.host}: ")
        assert [line.split() for line in lines[2:8]] == [
            ["FUNCTION", "WAITING", "RUNNING", "WORKERS"],
            ["!", "orders_nightly", "1", "0", "0"],
            ["shop_count", "0", "0", "1"],
            ["shop_echo", "0", "0", "1"],
            ["shop_fail", "0", "0", "1"],
            ["shop_help", "0", "0", "1"],
        ]
        assert lines[8] == "! no worker offers it"

    def test_a_job_server_that_is_away_fails_and_the_others_are_shown(
        self, gearman_server: Server, gearman_worker: RunWorker
    ) -> None:
        gearman_worker(Shop)
        away = f"127.0.0.1:{free_port()}"
        done = run("status", gearman_server.host, away)
        assert done.returncode == 1
        assert f"\n{away}: connection refused\n" in done.stdout
        assert "shop_echo" in done.stdout

    @pytest.mark.parametrize(
        ("conditions", "met"),
        [
            (["waiting>0"], ["waiting>0: orders_nightly has 1"]),
            (["waiting>1", "shop_echo:workers<1"], []),
            (["orders_nightly:workers<1"], ["orders_nightly:workers<1: orders_nightly has 0"]),
            (["nobody:workers<1", "running>0"], ["nobody:workers<1: nobody has 0"]),
        ],
    )
    def test_conditions_decide_on_the_exit_code(
        self,
        conditions: list[str],
        met: list[str],
        gearman_server: Server,
        gearman_worker: RunWorker,
        gearman_client: SimpleClient,
    ) -> None:
        gearman_worker(Shop)
        gearman_client.using(background=True).orders_nightly()
        options = [word for condition in conditions for word in ("--fail-when", condition)]
        done = run("status", gearman_server.host, *options)
        assert done.returncode == (1 if met else 0)
        assert done.stderr.splitlines() == [f"gearmanny: {line}" for line in met]
        done = run("status", gearman_server.host, "--json", *options)
        assert done.returncode == (1 if met else 0)
        assert json.loads(done.stdout)["failed"] == met

    @pytest.mark.parametrize(
        ("condition", "code", "said"),
        [
            ("wating>1", 2, "'wating>1' is not a condition. Write [FUNCTION:]METRIC OPERATOR"),
            ("failed>1", 2, "'failed>1' is about recorded jobs, and there is no database"),
        ],
    )
    def test_a_condition_that_is_none_is_refused(
        self, condition: str, code: int, said: str
    ) -> None:
        done = run("status", "--fail-when", condition)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr

    def test_records_and_processes_are_shown(
        self, gearman_server: Server, gearman_worker: RunWorker, tmp_path: Path
    ) -> None:
        url = f"sqlite:///{tmp_path}/jobs.db"
        with contextlib.closing(SQLStore(url)) as store:
            worker = Shop([gearman_server.host])
            worker.worker_options = worker.worker_options.__class__(
                **{**vars(worker.worker_options), "records": store}
            )
            with running(worker), SimpleClient([gearman_server.host], records=store) as client:
                client.using(background=True, delay=3600).shop_echo(value=1)
                done = run("status", gearman_server.host, "--records", url)
                found = run("status", gearman_server.host, "--records", url, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        rows = [line.split() for line in done.stdout.splitlines()]
        assert ["RECORDS", "OF", "RECORDED", "SCHEDULED", "FAILED", "OLDEST"] in rows
        assert ["shop_echo", "0", "1", "0"] in rows
        assert re.search(rf"^  shop-{os.getpid()}@\S+ +\d+s$", done.stdout, re.M)
        described = json.loads(found.stdout)
        (process,) = described["records"]["processes"]
        assert process["pid"] == os.getpid()
        (row,) = (each for each in described["functions"] if each["function"] == "shop_echo")
        assert (row["recorded"], row["scheduled"], row["workers"]) == (0, 1, 1)

    def test_a_database_that_is_away_fails_and_the_rest_is_shown(
        self, gearman_server: Server
    ) -> None:
        url = f"postgresql://a:b@127.0.0.1:{free_port()}/c"
        done = run("status", gearman_server.host, "--records", url)
        assert done.returncode == 1
        assert done.stdout.startswith(f"{gearman_server.host}: ")
        assert "\nrecords: " in done.stdout

    def test_200_functions_fit_into_80_columns_and_are_red_in_a_terminal(
        self, gearman_server: Server, gearman_client: SimpleClient
    ) -> None:
        jobs = gearman_client.using(background=True)
        names = [f"function_{number}_{'x' * (number % 60)}" for number in range(200)]
        for name in names:
            jobs.call(name)
        command = [*GEARMANNY, "status", gearman_server.host]
        colored = in_a_terminal(*command)
        assert len(re.findall("\033\\[31m! function", colored)) == 200
        plain = in_a_terminal(*command, NO_COLOR="1")
        assert "\033" not in plain
        assert len(re.findall("^! function", plain, re.M)) == 200
        assert max(map(len, plain.splitlines())) <= 80

    @pytest.mark.parametrize("arguments", [["--watch", "0.1"], ["--watch", "0.1", "--json"]])
    def test_is_watched_until_ctrl_c(self, arguments: list[str], gearman_server: Server) -> None:
        process = subprocess.Popen(
            [*GEARMANNY, "status", gearman_server.host, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            seen = 0
            while seen < 3:
                line = process.stdout.readline()
                assert line
                seen += gearman_server.host in line
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            end(process)
            process.stdout.close()

    def test_a_screen_is_not_overflown_while_it_is_watched(
        self, gearman_server: Server, gearman_client: SimpleClient
    ) -> None:
        for number in range(30):
            gearman_client.using(background=True).call(f"function_{number}")
        command = [*GEARMANNY, "status", gearman_server.host, "--watch", "0.1"]
        written = in_a_terminal(*command, lines=10, until=b"\033[H\033[2J")
        first, second, *_ = written.split("\033[H\033[2J")[1:]
        for screen in (first, second):
            assert len(screen.splitlines()) == 9
            assert re.fullmatch(r"… 2\d more lines", screen.splitlines()[-1])

    def test_whoever_reads_may_have_read_enough(
        self, gearman_server: Server, gearman_client: SimpleClient
    ) -> None:
        command = ["status", gearman_server.host, "--watch", "0.1"]
        process = subprocess.Popen(
            [*GEARMANNY, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 1
        assert process.stderr.read() == ""
        process.stderr.close()

    def test_watching_and_conditions_exclude_each_other(self) -> None:
        done = run("status", "--watch", "--fail-when", "waiting>0")
        assert done.returncode == 2
        assert "--watch does not have" in done.stderr


class TestCall:
    @pytest.fixture(autouse=True)
    def worker(self, gearman_worker: RunWorker) -> None:
        gearman_worker(Shop)

    def call(self, server: Server, *arguments: str, **options: Any) -> Any:
        return run("call", "--host", server.host, *arguments, **options)

    @pytest.mark.parametrize(
        ("arguments", "printed"),
        [
            (["value=2026-01-01"], '"2026-01-01"'),
            (["value=5"], "5"),
            (['value={"ü": [null, true]}'], '{"ü": [null, true]}'),
            (["--arguments", '{"value": 7}'], "7"),
            (["--timeout", "10", "value=8"], "8"),
            ([], "null"),
        ],
    )
    def test_prints_the_result_as_json(
        self, arguments: list[str], printed: str, gearman_server: Server
    ) -> None:
        done = self.call(gearman_server, "shop_echo", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{printed}\n", "")

    def test_reads_arguments_from_stdin(self, gearman_server: Server) -> None:
        done = self.call(gearman_server, "shop_echo", "--arguments", "-", input='{"value": [1]}')
        assert (done.returncode, done.stdout) == (0, "[1]\n")

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["shop_fail"], 1, "gearmanny: shop_fail() failed on its worker: builtins.ValueError"),
            (["shop_echo", "other=1"], 1, "unexpected argument: 'other'"),
            (["nobody", "--timeout", "0.1"], 1, "No worker offers it on"),
            (["shop_echo", "value"], 2, "NAME=VALUE"),
            (["shop_echo", "--timeout", "1", "value"], 2, "NAME=VALUE"),
            (["shop_echo", "value=1", "value=2"], 2, "'value' is given twice"),
            (["shop_echo", "--nonsense", "value=2"], 2, "unrecognized arguments: --nonsense"),
            (["shop count"], 2, "argument FUNCTION: "),
            (["shop_echo", "--arguments", "[1]"], 2, "must be a JSON object"),
            (["shop_echo", "--background", "--progress"], 2, "tells nobody of background jobs"),
        ],
    )
    def test_a_failure_has_an_exit_code_and_a_reason(
        self, arguments: list[str], code: int, said: str, gearman_server: Server
    ) -> None:
        done = self.call(gearman_server, *arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr

    def test_progress_and_warnings_are_on_stderr(self, gearman_server: Server) -> None:
        done = self.call(gearman_server, "shop_count", "to=50")
        assert (done.returncode, done.stdout) == (0, "50\n")
        assert done.stderr == 'gearmanny: warning: "that was all"\n'
        done = self.call(gearman_server, "shop_count", "to=50", "--progress")
        *progress, warning = done.stderr.splitlines()
        assert progress[-1] == "100%  50 of 50"
        assert warning == 'gearmanny: warning: "that was all"'
        command = [*GEARMANNY, "call", "--host", gearman_server.host, "shop_count", "to=50"]
        bar = in_a_terminal(*command, "--progress")
        assert f"\r\033[K[{'#' * 30}] 100%  50 of 50\r\n" in bar

    @pytest.mark.parametrize("manage", [False, True])
    def test_ctrl_c_ends_the_wait_without_a_traceback(
        self, manage: bool, gearman_server: Server, gearman_client: SimpleClient
    ) -> None:
        command = [*GEARMANNY, "call", "--host", gearman_server.host]
        if manage:
            command = [sys.executable, "-m", "django", "gearmanny", "call"]
        settings = {
            "DJANGO_SETTINGS_MODULE": "tests.django_settings",
            "TEST_HOSTS": gearman_server.host,
        }
        process = subprocess.Popen(
            [*command, "nobody_home"],
            cwd=ROOT,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until(lambda: "nobody_home" in run("status", gearman_server.host).stdout)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            end(process)
        assert (process.returncode, out) == (130, "")
        assert "Traceback" not in err

    def test_a_background_job_is_only_accepted(
        self, gearman_server: Server, gearman_client: SimpleClient
    ) -> None:
        done = self.call(gearman_server, "somebody_later", "--background", "a=1")
        assert done.returncode == 0
        printed = json.loads(done.stdout)
        assert printed["id"] is None
        assert gearman_client.status(printed["unique"]).state == "queued"
        away = run("call", "--host", f"127.0.0.1:{free_port()}", "shop_echo", "--background")
        assert away.returncode == 1
        assert "No Gearman job server reached" in away.stderr


def test_a_recorded_call_is_followed_to_its_end(gearman_server: Server, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    recorded = ["call", "--host", gearman_server.host, "--records", url, "--background"]
    with contextlib.closing(SQLStore(url)) as store:
        worker = Shop([gearman_server.host])
        worker.worker_options = worker.worker_options.__class__(
            **{**vars(worker.worker_options), "records": store}
        )
        with running(worker), dispatched(url, gearman_server.host):
            done = run(*recorded, "shop_count", "to=3", "--progress")
            assert (done.returncode, done.stdout) == (0, "3\n")
            done = run(*recorded, "shop_fail", "--progress")
            assert (done.returncode, done.stdout) == (1, "")
            assert "ValueError: no luck" in done.stderr
            done = run(*recorded, "shop_echo", "value=1")
            id = json.loads(done.stdout)["id"]
            until(lambda: "succeeded" in run("jobs", "--records", url, "show", id).stdout)


def test_a_job_server_behind_tls_is_reached_with_certificates_alone(
    gearman_server: Server, gearman_worker: RunWorker, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    files = authority.client_files()
    tls = [text for name, path in files.items() for text in (f"--tls-{name}", path)]
    context = authority.context("127.0.0.1", wants_certificate=True)
    url = f"sqlite:///{tmp_path}/jobs.db"
    gearman_worker(Shop)
    with proxy(gearman_server.port, context) as secured:
        done = run("call", "--host", secured.host, *tls, "shop_echo", "value=1")
        assert (done.returncode, done.stdout) == (0, "1\n")
        done = run("status", secured.host, *tls)
        assert (done.returncode, "shop_echo" in done.stdout) == (0, True)
        with (
            dispatched(url, secured.host, *tls),
            contextlib.closing(SQLStore(url)) as store,
            SimpleClient(["127.0.0.1:1"], records=store) as client,
        ):
            client.using(background=True).orders_nightly()
            until(
                lambda: "orders_nightly" in run("status", gearman_server.host).stdout,
                "the job, which is handed over",
            )
        for less in (["--tls"], ["--tls-ca", files["ca"]], []):
            done = run("status", secured.host, *less)
            assert (done.returncode, "shop_echo" in done.stdout) == (1, False)


@contextlib.contextmanager
def dispatched(url: str, host: str, *options: str) -> Iterator[None]:
    process = subprocess.Popen(
        [*GEARMANNY, "dispatch", "--records", url, "--host", host, *options],
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield
    finally:
        end(process)


class TestManagePy:
    def manage(self, *arguments: str) -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()
        call_command("gearmanny", *arguments, stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    def test_status_knows_the_job_servers_and_the_functions_of_the_project(
        self, gearman_server: Server
    ) -> None:
        with override_settings(GEARMANNY={"HOSTS": [gearman_server.host]}):
            out, err = self.manage("status")
            assert err == ""
            assert re.search(r"^! good_pid +0 +0 +0$", out, re.M)
            assert "\033" not in out
            described = json.loads(self.manage("status", "--json")[0])
            assert [server["host"] for server in described["servers"]] == [gearman_server.host]
            with pytest.raises(SystemExit) as exited:
                self.manage("status", "--fail-when", "good_pid:workers<1")
            assert exited.value.code == 1
            with pytest.raises(CommandError, match="is not a condition"):
                self.manage("status", "--fail-when", "nonsense")

    def test_workers_that_cannot_be_imported_are_named_and_the_rest_is_shown(
        self, gearman_server: Server
    ) -> None:
        apps = ["gearmanny.contrib.django", "tests.djangoapps.broken"]
        settings = {"HOSTS": [gearman_server.host]}
        with override_settings(INSTALLED_APPS=apps, GEARMANNY=settings):
            out, err = self.manage("status")
        assert out.startswith(f"{gearman_server.host}: ")
        assert "cannot be imported" in err

    def test_call_encodes_as_the_project_does(
        self, gearman_server: Server, start_runworkers: Start
    ) -> None:
        start_runworkers("good")
        with override_settings(GEARMANNY={"HOSTS": [gearman_server.host]}):
            out, _ = self.manage("call", "good_values")
            assert json.loads(out)["price"] == "1.50"
            with pytest.raises(CommandError, match="ValueError: as told"):
                self.manage("call", "good_fail", "--progress")
            with pytest.raises(CommandError, match="NAME=VALUE"):
                self.manage("call", "good_fail", "a")
            assert json.loads(self.manage("call", "good_pid", "--background")[0])["id"] is None


PAGE = (ROOT / "docs/commands.md").read_text(encoding="utf-8")


def keys_of(value: Any) -> Any:
    """Returns the names in a JSON value, with those of the first item of each list."""
    if isinstance(value, dict):
        return {key: keys_of(inner) for key, inner in value.items()}
    return [keys_of(value[0])] if isinstance(value, list) and value else None


def test_the_commands_that_the_document_shows_are_understood() -> None:
    lines = re.findall(r"^    (gearmanny .*?)(?: {2,}#.*| < .*)?$", PAGE, re.M)
    assert len(lines) == 13
    for line in lines:
        _, command, *arguments = shlex.split(line)
        parser = argparse.ArgumentParser()
        cli._COMMANDS[command].load().add_arguments(parser)
        parser.parse_args(arguments)


def test_the_json_of_a_status_is_as_the_document_says(
    gearman_server: Server, gearman_client: SimpleClient, tmp_path: Path
) -> None:
    shown, _ = re.findall(r"^```json\n(.*?)^```", PAGE, re.M | re.S)
    url = f"sqlite:///{tmp_path}/jobs.db"
    gearman_client.using(background=True).mail_send()
    with contextlib.closing(SQLStore(url)) as store:
        store.register()
        done = run(
            *("status", gearman_server.host, "--records", url, "--json"),
            *("--fail-when", "waiting>0"),
        )
        store.leave()
    expected, found = keys_of(json.loads(shown)), keys_of(json.loads(done.stdout))
    if not json.loads(done.stdout)["servers"][0]["traps"]:  # of our own job server
        found["servers"][0]["traps"] = [None]
    assert found == expected


def test_the_table_of_a_status_is_as_the_document_says() -> None:
    head = ["FUNCTION", "WAITING", "RUNNING", "WORKERS"]
    assert head in [line.split() for line in PAGE.splitlines()]
    assert all(name in PAGE for name in (*METRICS, *RECORDED_METRICS, *_OPERATORS))
