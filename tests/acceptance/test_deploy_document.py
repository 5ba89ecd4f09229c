"""The files on docs/deploy.md work: each is started, or checked by the program that reads it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from email import message_from_bytes
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from gearmanny.client import SimpleClient
from gearmanny.contrib.django.management.commands.runworkers import Command
from gearmanny.contrib.django.settings import Settings
from gearmanny.contrib.prometheus import records as records  # noqa: PLC0414  defines a counter
from gearmanny.errors import TaskError
from tests.support.servers import (
    PATIENCE,
    ROOT,
    Server,
    Start,
    find_program,
    free_port,
    until,
    workers_of,
)

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def block(language: str, mark: str) -> str:
    """Returns the one block of the page in some language that holds a mark."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    (text,) = [each for each in found if mark in each]
    return str(text)


UNIT = block("ini", "[Service]")
DOCKERFILE = block("dockerfile", "FROM")
COMPOSE: Any = yaml.safe_load(block("yaml", "services:"))
DEPLOYMENT: Any = yaml.safe_load(block("yaml", "kind: Deployment"))
ALERTS = block("yaml", "groups:")

(CONTAINER,) = DEPLOYMENT["spec"]["template"]["spec"]["containers"]


def unit_value(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.M)
    return str(value)


def of_runworkers(command: list[str]) -> list[str]:
    """Returns the arguments of `manage.py runworkers` in a command."""
    assert command[:3] == ["python", "manage.py", "runworkers"]
    return command[3:]


def located(arguments: list[str], file: Path) -> list[str]:
    """Returns arguments with the health file elsewhere."""
    assert "/run/shop/health" in arguments
    return [str(file) if each == "/run/shop/health" else each for each in arguments]


def exec_start() -> list[str]:
    program, *arguments = shlex.split(unit_value("ExecStart"))
    return of_runworkers([Path(program).name, *arguments])


def parsed(arguments: list[str]) -> Any:
    """Parses arguments of `runworkers`."""
    return Command().create_parser("manage.py", "runworkers").parse_args(arguments)


def test_each_block_is_tested_here() -> None:
    languages = re.findall(r"^```(\w+)$", PAGE, re.M)
    assert languages == ["sh", "ini", "dockerfile", "yaml", "yaml", "python", "yaml"]


class TestGearmand:
    def test_starts_with_these_options(self, tmp_path: Path) -> None:
        (params,) = re.findall(r'PARAMS="(.*)"', PAGE)
        given = [option for option in shlex.split(params) if option != "--daemon"]
        log, port = tmp_path / "log", free_port()
        given = [f"--log-file={log}" if "--log-file" in option else option for option in given]
        given = ["--listen=127.0.0.1" if "--listen" in option else option for option in given]
        program = find_program("gearmand", "gearman-job-server")
        process = subprocess.Popen([program, f"--port={port}", *given])
        try:
            host = f"127.0.0.1:{port}"
            with SimpleClient([host], timeout=PATIENCE) as client:

                def answers() -> bool:
                    try:
                        return bool(client.using(background=True).submit("nobody").is_done())
                    except OSError:
                        return False

                until(answers, "gearmand")
        finally:
            process.terminate()
            process.wait(PATIENCE)

    def test_in_a_container_has_the_same_options(self) -> None:
        lines = COMPOSE["services"]["gearmand"]["build"]["dockerfile_inline"].splitlines()
        (command,) = [line.removeprefix("CMD ") for line in lines if line.startswith("CMD")]
        options = json.loads(command)
        assert options[0] == "gearmand"
        done = subprocess.run(
            [find_program("gearmand", "gearman-job-server"), *options[1:], "--check-args"],
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr


class TestSystemd:
    def test_accepts_the_unit(self, tmp_path: Path) -> None:
        program, *_ = shlex.split(unit_value("ExecStart"))
        unit = tmp_path / "shop-workers.service"
        unit.write_text(UNIT.replace(program, sys.executable))
        done = subprocess.run(
            [find_program("systemd-analyze", "systemd"), "verify", str(unit)],
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )
        said = [line for line in done.stderr.splitlines() if unit.name in line]
        assert (done.returncode, said) == (0, [])

    def test_an_error_in_a_unit_would_be_found(self, tmp_path: Path) -> None:
        unit = tmp_path / "shop-workers.service"
        unit.write_text(UNIT.replace("KillMode=mixed", "KillMode=gently"))
        done = subprocess.run(
            [find_program("systemd-analyze", "systemd"), "verify", str(unit)],
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )
        assert done.returncode != 0 or "gently" in done.stderr

    def test_starts_reloads_and_stops_the_workers(
        self,
        start_runworkers: Start,
        gearman_client: SimpleClient,
        gearman_server: Server,
        tmp_path: Path,
    ) -> None:
        file = tmp_path / "health"
        process = start_runworkers(*located(exec_start(), file))
        until(lambda: workers_of(gearman_server, "good_pid") == 4, "four processes")
        before = gearman_client.good_pid()
        assert unit_value("ExecReload") == "/bin/kill -HUP $MAINPID"
        subprocess.run(["/bin/kill", "-HUP", str(process.pid)], check=True)
        until(lambda: not Path(f"/proc/{before}").exists(), "the end of an old process")
        assert gearman_client.good_pid() != before
        process.terminate()
        assert process.wait(3 * PATIENCE) == 0

    def test_waits_longer_than_the_grace(self) -> None:
        assert int(unit_value("TimeoutStopSec")) > parsed(exec_start()).grace


@pytest.fixture
def alone() -> list[str]:
    """A command that runs another one as the first process of a container."""
    command = [
        find_program("unshare", "util-linux"),
        *("--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"),
    ]
    if subprocess.run([*command, "true"], check=False, timeout=PATIENCE).returncode:
        pytest.skip("no container can be made here")
    return command


class TestContainers:
    def test_the_runner_can_be_the_first_process(
        self,
        alone: list[str],
        gearman_server: Server,
        gearman_client: SimpleClient,
        tmp_path: Path,
    ) -> None:
        (command,) = re.findall(r"^CMD (.*)$", DOCKERFILE, re.M)
        arguments = of_runworkers(json.loads(command))
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.django_settings",
            "TEST_HOSTS": gearman_server.host,
            "TEST_DATABASE": str(tmp_path / "database"),
        }
        process = subprocess.Popen(
            [*alone, sys.executable, "-m", "django", "runworkers", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert gearman_client.using(timeout=3 * PATIENCE).good_pid() > 1
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            path = tmp_path / "go"
            work = gearman_client.submit("good_wait_for", path=str(path))
            until((tmp_path / "go.started").exists, "the job")
            os.kill(int(children), 15)
            path.touch()
            assert work.get_result(timeout=PATIENCE) == "done"
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait(PATIENCE)

    def test_containers_are_stopped_later_than_the_grace_is_over(self) -> None:
        workers = COMPOSE["services"]["workers"]
        assert int(workers["stop_grace_period"].removesuffix("s")) > (Settings().GRACE or 0)

    def test_pods_are_stopped_later_than_the_grace_is_over(self) -> None:
        grace = DEPLOYMENT["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace > parsed(of_runworkers(CONTAINER["command"])).grace

    def test_the_probes_of_the_deployment_succeed(
        self, start_runworkers: Start, gearman_client: SimpleClient, tmp_path: Path
    ) -> None:
        file, port = tmp_path / "health", str(free_port())
        arguments = located([*of_runworkers(CONTAINER["command"]), *CONTAINER["args"]], file)
        start_runworkers(*(port if each == "9100" else each for each in arguments))
        assert gearman_client.using(timeout=3 * PATIENCE).good_pid()
        for probe in ("livenessProbe", "readinessProbe"):
            program, *command = CONTAINER[probe]["exec"]["command"]
            assert program == "python"

            probing = partial(
                subprocess.run, [sys.executable, *located(command, file)], cwd=ROOT, check=False
            )
            until(lambda probing=probing: probing().returncode == 0, probe)

    def test_labels_and_volumes_of_the_deployment_match(self) -> None:
        template = DEPLOYMENT["spec"]["template"]
        assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
        (mount,) = CONTAINER["volumeMounts"]
        (volume,) = template["spec"]["volumes"]
        assert mount["name"] == volume["name"]
        port = template["metadata"]["annotations"]["prometheus.io/port"]
        assert CONTAINER["args"][CONTAINER["args"].index("--metrics-port") + 1] == port


class TestLogs:
    @pytest.fixture
    def mails(self, start_runworkers: Start, gearman_client: SimpleClient, tmp_path: Path) -> Path:
        """The folder of the mails of `runworkers`, which logs as the page says."""
        found: dict[str, Any] = {}
        exec(block("python", "LOGGING"), found)
        mails = tmp_path / "mails"
        mails.mkdir()
        start_runworkers(
            TEST_APP="tests.djangoapps.signalled",
            TEST_LOGGING=json.dumps(found["LOGGING"]),
            TEST_MAILS=str(mails),
            TEST_REPORTS=str(tmp_path / "reports"),
        )
        return mails

    def lines(self, tmp_path: Path, action: str, count: int) -> list[dict[str, Any]]:
        def found() -> list[dict[str, Any]]:
            text = (tmp_path / "stderr").read_text()
            made = [json.loads(line) for line in text.splitlines(keepends=True) if "\n" in line]
            return [line for line in made if line.get("action") == action]

        until(lambda: len(found()) == count, f"{count} lines about {action}")
        return found()

    def test_are_lines_of_json(
        self, mails: Path, gearman_client: SimpleClient, tmp_path: Path
    ) -> None:
        assert gearman_client.signalled_echo(value=7) == 7
        (line,) = self.lines(tmp_path, "job_answered", 1)
        assert set(line) >= {"time", "level", "logger", "process", "message", "handle"}
        assert (line["function"], line["attempt"]) == ("signalled_echo", 1)
        assert 0 <= line["seconds"] < PATIENCE
        with pytest.raises(TaskError):
            gearman_client.using(timeout=PATIENCE).signalled_fail()
        (retried,) = self.lines(tmp_path, "job_retried", 1)
        (failed,) = self.lines(tmp_path, "job_failed", 1)
        assert (retried["attempt"], failed["attempt"]) == (1, 2)
        assert failed["exception"].endswith("ValueError: no luck")
        assert failed["seconds"] >= 0

    @pytest.mark.parametrize("function", ["signalled_fail", "signalled_fail_later"])
    def test_a_failed_job_is_one_mail(
        self, mails: Path, gearman_client: SimpleClient, tmp_path: Path, function: str
    ) -> None:
        assert gearman_client.signalled_echo(value=7) == 7
        with pytest.raises(TaskError):
            gearman_client.using(timeout=PATIENCE).call(function)
        self.lines(tmp_path, "job_failed", 1)
        until(lambda: len(list(mails.iterdir())) == 1, "a mail")
        gearman_client.signalled_echo(value=7)
        self.lines(tmp_path, "job_answered", 2)
        (path,) = mails.iterdir()
        mail = message_from_bytes(path.read_bytes())
        assert f"{function} failed: builtins.ValueError: no luck" in " ".join(
            str(mail["Subject"]).split()
        )
        assert "Traceback" in path.read_text()


class TestAlerts:
    def test_prometheus_accepts_them(self, tmp_path: Path) -> None:
        rules = tmp_path / "rules.yaml"
        rules.write_text(ALERTS)
        done = subprocess.run(
            [find_program("promtool", "prometheus"), "check", "rules", str(rules)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def test_they_are_raised(self, tmp_path: Path) -> None:
        (tmp_path / "rules.yaml").write_text(ALERTS)
        series = {
            'gearmanny_records_taken_back_total{function="f",outcome="poisoned"}': "_x5 1x10",
            'gearmanny_queue_jobs{function="f",host="h",state="queued"}': "3x20",
            'gearmanny_queue_workers{function="f",host="h"}': "0x20",
            'gearmanny_job_server_up{host="h"}': "1x20",
            'gearmanny_jobs_total{function="g",outcome="ok"}': "0+8x20",
            'gearmanny_jobs_total{function="g",outcome="failed"}': "0+2x20",
        }
        expected = {
            ("JobsKillProcesses", "7m"): {"function": "f", "outcome": "poisoned"},
            ("NobodyWorks", "6m"): {"function": "f", "host": "h", "state": "queued"},
            ("JobsFail", "15m"): {"function": "g"},
            ("JobServerDown", "15m"): None,
            ("WorkersDown", "15m"): None,
        }
        rules = {rule["alert"]: rule for rule in yaml.safe_load(ALERTS)["groups"][0]["rules"]}
        cases = [
            {
                "alertname": name,
                "eval_time": at,
                "exp_alerts": labels and [{"exp_labels": labels, "exp_annotations": said}],
            }
            for (name, at), labels in expected.items()
            for said in [
                {
                    "summary": rules[name]["annotations"]["summary"]
                    .replace("{{ $labels.function }}", (labels or {}).get("function", ""))
                    .replace("{{ $value | humanizePercentage }}", "20%")
                }
            ]
        ]
        test = {
            "rule_files": ["rules.yaml"],
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [
                        {"series": name, "values": values} for name, values in series.items()
                    ],
                    "alert_rule_test": cases,
                }
            ],
        }
        (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
        done = subprocess.run(
            [find_program("promtool", "prometheus"), "test", "rules", "test.yaml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def test_their_metrics_are_served(
        self, start_command: Start, start_runworkers: Start, gearman_client: SimpleClient
    ) -> None:
        environment = {"TEST_RECORDS": json.dumps({"STORE": "database"})}
        assert start_command("migrate", "-v", "0", **environment).wait(3 * PATIENCE) == 0
        port = free_port()
        start_runworkers("--metrics-port", str(port), **environment)
        assert gearman_client.using(timeout=3 * PATIENCE).good_pid()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
            served = answer.read().decode()
        named = set(re.findall(r"gearmanny_\w+", ALERTS))
        assert len(named) >= 7
        types = set(re.findall(r"^# TYPE (gearmanny_\w+) ", served, re.M))
        # Of a counter that has not counted yet, nothing is served.
        counters = {f"{family.name}_total" for family in REGISTRY.collect()}
        assert named - types <= counters
