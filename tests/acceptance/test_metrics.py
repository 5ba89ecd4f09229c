"""Metrics of all processes of a runner, as Prometheus would get them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.contrib.prometheus import QueueCollector, metrics, serve_metrics
from gearmanny.errors import InvalidOption, TaskError
from gearmanny.helpers.cache_mongodb import cacheBuilder
from gearmanny.worker import BaseWorker
from tests.support.servers import PATIENCE, ROOT, Server, end, free_port, until, workers_of, working


class Runner:
    """A runner with metrics, in a process of its own."""

    def __init__(self, host: str, max_jobs: int, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.metrics_script", host, str(max_jobs)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.url, directory = self.process.stdout.readline().split()
        self.directory = Path(directory)

    def value(self, name: str, **labels: str) -> float | None:
        """Returns one sample; None when there is no such."""
        return value_of(self.url, name, **labels)


def test_calls_of_cached_functions_are_counted(mongodb_uri: str, unique_name: str) -> None:
    def calls(outcome: str) -> float | None:
        labels = {"name": unique_name, "outcome": outcome}
        return REGISTRY.get_sample_value("gearmanny_cache_calls_total", labels)

    cachewrap = cacheBuilder(mongodb_uri, "cachetests", unique_name, timeout=10)
    costly = cachewrap(unique_name)(lambda n: n)
    for _ in range(3):
        costly(1)
    assert (calls("miss"), calls("hit")) == (1, 2)


def value_of(url: str, name: str, **labels: str) -> float | None:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


@pytest.fixture
def start_runner(gearman_server: Server, tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    runners: list[Runner] = []

    def start(max_jobs: int = 1_000_000) -> Runner:
        runners.append(Runner(gearman_server.host, max_jobs, tmp_path))
        until(lambda: workers_of(gearman_server, "counted_pid") == 2, "two processes")
        return runners[-1]

    yield start
    for runner in runners:
        end(runner.process)


def test_jobs_of_all_processes_are_counted_by_outcome_also_of_those_that_ended(
    start_runner: Callable[..., Runner], gearman_client: SimpleClient
) -> None:
    runner = start_runner()
    pids: set[int] = set()
    calls = 0
    while len(pids) < 2:
        pids.update(gearman_client.map("counted_pid", ({} for _ in range(20))))
        calls += 20
    for function, arguments in [
        ("counted_fail", {}),
        ("counted_long", {}),
        ("counted_pid", {"unwanted": True}),
    ]:
        with pytest.raises(TaskError):
            gearman_client.call(function, **arguments)

    def check() -> None:
        jobs = "gearmanny_jobs_total"
        assert runner.value(jobs, function="counted_pid", outcome="ok") == calls
        assert runner.value(jobs, function="counted_fail", outcome="failed") == 1
        assert runner.value(jobs, function="counted_long", outcome="timed_out") == 1
        assert runner.value(jobs, function="counted_pid", outcome="rejected") == 1
        assert runner.value("gearmanny_job_seconds_count", function="counted_pid") == calls
        longest = {"function": "counted_long", "le": "0.025"}
        assert runner.value("gearmanny_job_seconds_bucket", **longest) == 0
        assert runner.value("words_total", word="pid") == calls

    check()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not pids & {gearman_client.counted_pid()}, "other processes")
    before, calls = calls, int(runner.value("words_total", word="pid") or 0)
    assert calls > before
    check()


def test_what_runs_is_told_and_forgotten_with_its_process(
    start_runner: Callable[..., Runner], gearman_server: Server, tmp_path: Path
) -> None:
    runner = start_runner()
    running = {"name": "gearmanny_jobs_in_progress", "function": "counted_wait_for"}
    path = tmp_path / "go"
    with AsyncClient([gearman_server.host]) as client:
        work = client.counted_wait_for(path=str(path))
        pid = tmp_path / "go.started"
        until(lambda: pid.exists() and pid.read_text(), "the job running")
        assert runner.value(**running) == 1
        first = int(pid.read_text())
        os.kill(first, signal.SIGKILL)
        until(lambda: int(pid.read_text() or first) != first, "another process having the job")
        until(lambda: runner.value(**running) == 1, "one job in progress")
        path.touch()
        work.get_result(PATIENCE)
    until(lambda: runner.value(**running) == 0, "no job in progress")


def test_queues_are_asked_for_and_a_job_server_that_is_away_is_told(
    start_runner: Callable[..., Runner], gearman_server: Server
) -> None:
    runner = start_runner()
    host = gearman_server.host
    with AsyncClient([host]) as client:
        for _ in range(3):
            client.using(background=True).nobody_home().get_result(PATIENCE)
    queue = {"host": host, "function": "nobody_home"}
    assert runner.value("gearmanny_queue_jobs", **queue, state="queued") == 3
    assert runner.value("gearmanny_queue_jobs", **queue, state="running") == 0
    assert runner.value("gearmanny_queue_workers", **queue) == 0
    assert runner.value("gearmanny_queue_workers", host=host, function="counted_pid") == 2
    assert runner.value("gearmanny_job_server_up", host=host) == 1
    assert runner.value("gearmanny_job_server_up", host="127.0.0.1:1") == 0


def test_files_do_not_grow_in_number_where_processes_are_recycled(
    start_runner: Callable[..., Runner], gearman_client: SimpleClient
) -> None:
    runner = start_runner(max_jobs=2)
    pids: set[int] = set()
    calls = 0
    while len(pids) < 8:
        pids.add(gearman_client.counted_pid())
        calls += 1
    pid_of = {"function": "counted_pid", "outcome": "ok"}

    def few_files_with_all_jobs() -> bool:
        assert runner.value("gearmanny_jobs_total", **pid_of) == calls
        # At most 2 processes that work, and 2 more that replace them, with 3 files each.
        return len(list(runner.directory.iterdir())) <= 4 * 3 + 2

    until(few_files_with_all_jobs, "files of ended processes becoming one")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_port_is_closed_when_the_runner_has_ended(
    start_runner: Callable[..., Runner], number: signal.Signals
) -> None:
    runner = start_runner()
    runner.process.send_signal(number)
    runner.process.wait(PATIENCE)

    def closed() -> bool:
        try:
            runner.value("words_total")
        except (urllib.error.URLError, ConnectionError):
            return True
        return False

    until(closed, "the port closed")
    assert runner.directory.exists() == (number is signal.SIGKILL)


def test_a_port_that_is_taken_is_told(gearman_server: Server) -> None:
    with (
        pytest.raises(InvalidOption, match=rf"port {gearman_server.port} of 127.0.0.1: .*in use"),
        serve_metrics([gearman_server.host], port=gearman_server.port),
    ):
        pytest.fail("it was opened")


@pytest.mark.parametrize("port", [-1, 65536, "9100", True, None])
def test_what_is_no_port_is_told(port: int) -> None:
    with pytest.raises(InvalidOption, match="0 to 65535"), serve_metrics(port=port):
        pytest.fail("it was opened")


def test_one_process_counts_in_the_usual_registry(gearman_server: Server, unique_name: str) -> None:
    class Worker(BaseWorker):
        name = unique_name

        def task_run(self) -> None: ...

    with (
        working(Worker([gearman_server.host], hooks=[metrics])),
        SimpleClient([gearman_server.host], timeout=PATIENCE) as client,
    ):
        client.call(f"{unique_name}_run")
    labels = {"function": f"{unique_name}_run", "outcome": "ok"}
    assert REGISTRY.get_sample_value("gearmanny_jobs_total", labels) == 1


def test_queues_can_be_added_to_the_metrics_of_another_process() -> None:
    away = f"127.0.0.1:{free_port()}"
    collector = QueueCollector([away, away])
    REGISTRY.register(collector)  # asks nobody
    try:
        assert REGISTRY.get_sample_value("gearmanny_job_server_up", {"host": away}) == 0
    finally:
        REGISTRY.unregister(collector)
