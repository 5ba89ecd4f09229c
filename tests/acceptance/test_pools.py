"""Pools: workers with processes of their own, under one runner."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import override_settings

from gearmanny.admin import JobServer as Admin
from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import InvalidOption
from gearmanny.records.sql import SQLStore
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner
from tests.support.servers import PATIENCE, Server, Start, until, workers_of

APP = "tests.djangoapps.pooled"
APPS = ["gearmanny.contrib.django", APP]
POOLS = {"reports": {"workers": ["reports"], "threads": 2, "max_memory": 900, "grace": 0.2}}


def start_pools(start_runworkers: Start, *arguments: str, **environment: str) -> Any:
    return start_runworkers(
        *arguments, "--no-color", TEST_APP=APP, TEST_POOLS=json.dumps(POOLS), **environment
    )


def listed(*arguments: str, **options: Any) -> list[str]:
    output = StringIO()
    call_command("runworkers", *arguments, list=True, no_color=True, stdout=output, **options)
    return output.getvalue().splitlines()


def test_a_long_report_keeps_no_mail_waiting(
    start_runworkers: Start,
    gearman_client: SimpleClient,
    gearman_server: Server,
    tmp_path: Path,
) -> None:
    process = start_pools(start_runworkers)
    go = tmp_path / "go"
    with AsyncClient([gearman_server.host]) as client:
        reports = [client.reports_nightly(path=str(go)) for _ in range(2)]
        until(lambda: Admin(gearman_server.host).status(), "the functions")
        until(lambda: running(gearman_server) == 2, "both reports")
        mail, runner = gearman_client.mail_send()
        assert runner == process.pid
        assert gearman_client.shop_pid() == mail
        go.touch()
        pids = {report.get_result(timeout=PATIENCE) for report in reports}
    assert len(pids | {mail}) == 3
    assert workers_of(gearman_server, "mail_send") == 1
    assert workers_of(gearman_server, "reports_nightly") == 2
    process.terminate()
    assert process.wait(PATIENCE) == 0


def running(server: Server) -> int:
    return sum(row.running for row in Admin(server.host).status() if row.function[:2] == "re")


def test_the_banner_tells_who_runs_what(start_runworkers: Start, tmp_path: Path) -> None:
    start_pools(start_runworkers)
    output = tmp_path / "stdout"
    until(lambda: "Ready" in output.read_text(), "the banner")
    assert re.search(
        r"3 worker\(s\) in 3 process\(es\), logging at INFO\n"
        r"Pool default: 1 process\(es\)\n"
        r"  \S+\.Mail \(mail\): mail_die, .*mail_help\n"
        r"  \S+\.Shop \(shop\): shop_pid, shop_help\n"
        r"Pool reports: 2 process\(es\), max_memory 900, grace 0\.2\n"
        r"  \S+\.Reports \(reports\): reports_nightly, .*reports_help\n"
        r"Ready; quit with CONTROL-C\.\n",
        output.read_text(),
    ), output.read_text()


@pytest.mark.parametrize(("arguments", "hints"), [([], True), (["--threads", "2"], False)])
def test_where_all_share_one_process_the_banner_says_what_that_means(
    start_runworkers: Start, tmp_path: Path, arguments: list[str], hints: bool
) -> None:
    start_runworkers(*arguments, TEST_APP=APP)
    output = tmp_path / "stdout"
    until(lambda: "Ready" in output.read_text(), "the banner")
    assert ("All of them share one process" in output.read_text()) is hints


def test_the_processes_of_recorded_jobs_are_registered_with_their_pool(
    start_command: Start, start_runworkers: Start, gearman_client: SimpleClient, tmp_path: Path
) -> None:
    assert start_command("migrate", "-v", "0").wait(PATIENCE) == 0
    start_pools(start_runworkers, TEST_RECORDS='{"STORE": "database"}')
    pid, _ = gearman_client.mail_send()
    with contextlib.closing(SQLStore(f"sqlite:///{tmp_path / 'database'}")) as store:
        until(lambda: len(store.processes()) == 3, "all processes")
        pools = {process.pid: process.pool for process in store.processes()}
    assert pools.pop(pid) == "default"
    assert set(pools.values()) == {"reports"}


def test_a_pool_has_a_grace_of_its_own(
    start_runworkers: Start, gearman_server: Server, tmp_path: Path
) -> None:
    process = start_pools(start_runworkers)
    go = tmp_path / "go"
    with AsyncClient([gearman_server.host]) as client:
        client.reports_nightly(path=str(go))
        until(Path(f"{go}.started").exists, "the report")
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert "is busy after 0.2 s of grace" in (tmp_path / "stderr").read_text()


def test_a_process_that_ends_is_replaced_in_its_pool(
    start_runworkers: Start, gearman_client: SimpleClient, gearman_server: Server
) -> None:
    start_pools(start_runworkers)
    pid, _ = gearman_client.mail_send()
    os.kill(pid, signal.SIGKILL)
    assert gearman_client.mail_send()[0] != pid
    until(lambda: workers_of(gearman_server, "mail_send") == 1, "the next process")
    until(lambda: workers_of(gearman_server, "reports_nightly") == 2, "the others")


@pytest.mark.parametrize(
    ("arguments", "options", "workers"),
    [
        ([], {"pool": "reports"}, ["Reports"]),
        ([], {"pool": "default"}, ["Mail", "Shop"]),
        ([], {"pool": "default, reports"}, ["Mail", "Shop", "Reports"]),
        ([], {"exclude": "mail,reports"}, ["Shop"]),
        (["mail", "reports"], {}, ["Mail", "Reports"]),
        (["mail", "reports"], {"pool": "default"}, ["Mail"]),
        ([], {"pool": "default", "exclude": "shop"}, ["Mail"]),
    ],
)
def test_workers_are_selected_by_pool_and_by_name(
    arguments: list[str], options: dict[str, str], workers: list[str]
) -> None:
    with override_settings(INSTALLED_APPS=APPS, GEARMANNY={"POOLS": POOLS}):
        lines = listed(*arguments, **options)
    assert re.findall(r"workers\.(\w+) ", " ".join(lines)) == workers


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ([], {"pool": "report"}, r"No pool is named 'report'\. There are: default, reports\."),
        ([], {"exclude": "mial"}, r"No worker is named 'mial'\. There are: mail, reports, shop\."),
        (["mail"], {"pool": "reports"}, r"No worker is left to run"),
        (["mail"], {"exclude": "mail"}, r"No worker is left to run"),
    ],
)
def test_what_selects_nothing_is_told(
    arguments: list[str], options: dict[str, str], message: str
) -> None:
    with (
        override_settings(INSTALLED_APPS=APPS, GEARMANNY={"POOLS": POOLS}),
        pytest.raises(CommandError, match=message),
    ):
        listed(*arguments, **options)


def test_the_command_line_counts_for_all_pools() -> None:
    with override_settings(INSTALLED_APPS=APPS, GEARMANNY={"POOLS": POOLS}):
        lines = listed(threads=3, max_memory=5000)
    assert [line for line in lines if line.startswith("Pool")] == [
        "Pool default: 3 process(es)",
        "Pool reports: 3 process(es), grace 0.2",
    ]


def test_a_worker_that_is_not_there_is_told_by_the_check_and_by_runworkers() -> None:
    pools = {"reports": {"workers": ["report"]}}
    with override_settings(INSTALLED_APPS=APPS, GEARMANNY={"POOLS": pools}):
        [error] = run_checks(tags=["gearmanny"])
        with pytest.raises(CommandError, match="the pool 'reports' names a worker 'report'"):
            listed()
    assert error.id == "gearmanny.E020"
    assert "There are: mail, reports, shop." in error.msg


def test_a_pool_that_is_wrong_is_told_by_the_check() -> None:
    pools = {"a": {"workers": ["mail"]}, "b": {"workers": ["mail"]}}
    with override_settings(INSTALLED_APPS=APPS, GEARMANNY={"POOLS": pools}):
        [error] = run_checks(tags=["gearmanny"])
    assert error.id == "gearmanny.E001"
    assert "GEARMANNY['POOLS']: the worker 'mail' is in the pool 'a', and in 'b'" in error.msg


class Mail(BaseWorker):
    name = "mail"

    def task_send(self) -> None: ...


class Reports(Mail):
    name = "reports"


class TestWorkRunner:
    def test_it_takes_pools_too(self) -> None:
        pools = {"reports": {"workers": ["reports"], "threads": 2, "max_jobs": 10}}
        runner = WorkRunner([Mail, Reports], max_jobs=5, pools=pools)
        assert [
            (str(slot), slot.options.worker.pool, slot.options.max_jobs) for slot in runner.slots(1)
        ] == [
            ("mail-1", "default", 5),
            ("reports-1", "reports", 10),
            ("reports-2", "reports", 10),
        ]

    @pytest.mark.parametrize(
        ("pools", "message"),
        [
            ({"a": {"workers": ["shop"]}}, "'a' names a worker 'shop'. There are: mail, reports."),
            ({"a": {"workers": ["mail"], "max_memory": 1}}, "max_memory is 1 MiB, but this proc"),
            ({"a": {"workers": ["mail"], "n": 1}}, "the pool 'a' has no option 'n'"),
        ],
    )
    def test_it_refuses_them_at_once(self, pools: Any, message: str) -> None:
        with pytest.raises(InvalidOption, match=message):
            WorkRunner([Mail, Reports], pools=pools)
