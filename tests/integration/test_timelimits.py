"""Tasks whose time is over: what they notice, what their callers get, and what nobody notices."""

from __future__ import annotations

import itertools
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pytest

from gearmanny.client import SimpleClient
from gearmanny.errors import TaskError, TaskTimeLimitExceeded
from gearmanny.protocol.packets import PacketType
from gearmanny.vocabulary.encoders import JSONDataEncoder
from gearmanny.worker import BaseWorker, JsonWorker, task
from gearmanny.working.timelimits import TimeLimit
from gearmanny.working.watchdog import Watchdog
from tests.support.servers import PATIENCE, Server, until, working
from tests.unit.wire import request, response

Result = TypeVar("Result")

LIMIT = "gearmanny.errors.TaskTimeLimitExceeded"
SOON = 0.05
SURELY_BEGUN = 0.4
"""Seconds."""


class Finalized:
    def __init__(self) -> None:
        self.myself = self

    def __del__(self) -> None:
        end = time.monotonic() + 4 * SOON
        while time.monotonic() < end:
            pass


class Hasty(BaseWorker):
    name = "hasty"
    timeout = SOON

    def setUp(self) -> None:
        self.seen: list[Any] = []

    def task_sleep(self) -> None:
        time.sleep(PATIENCE)

    def task_read(self) -> None:
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.recv(1)

    def task_lock(self) -> None:
        lock = threading.Lock()
        with lock:
            lock.acquire(timeout=PATIENCE)

    def task_spin(self) -> None:
        while True:
            pass

    def task_finalize(self) -> None:
        """Is interrupted where Python ignores exceptions, and goes on."""
        finalized = Finalized()
        del finalized.myself, finalized
        while True:
            pass

    def task_signalled(self) -> None:
        signal.raise_signal(signal.SIGTERM)
        self.task_spin()

    def task_stubborn(self) -> None:
        for _ in range(1000):
            try:
                self.task_spin()
            except Exception:
                self.seen.append("swallowed")

    @task(timeout=SURELY_BEGUN)
    def task_clean(self) -> str:
        try:
            self.task_spin()
        except TaskTimeLimitExceeded as error:
            return f"so far, {type(error).__name__}"
        finally:
            self.seen.append("cleaned")
        return "never"

    @task(timeout=SURELY_BEGUN)
    def task_stream(self) -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            self.seen.append("closed")

    @task(timeout=None)
    def task_unlimited(self) -> str:
        time.sleep(4 * SOON)
        return "done"

    @task(timeout=PATIENCE)
    def task_alarmed(self) -> str:
        rang = threading.Event()
        previous = signal.signal(signal.SIGALRM, lambda *_: rang.set())
        try:
            signal.setitimer(signal.ITIMER_REAL, SOON)
            return "rang" if rang.wait(PATIENCE) else "silent"
        finally:
            signal.signal(signal.SIGALRM, previous)

    @task(timeout=0.001)
    def task_race(self, seconds: float) -> str:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        return "in time"


class RawEncoder(JSONDataEncoder):
    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        return bytes(encodable_object)


class RawWorker(JsonWorker):
    data_encoder = RawEncoder


class Pouring(BaseWorker):
    name = "pouring"
    work_class = RawWorker

    @task(timeout=4 * SOON)
    def task_out(self) -> None:
        self.send_job_data(bytes(20_000_000))  # more than the sockets take


def in_main_thread(worker: BaseWorker, calls: Callable[[SimpleClient], Result]) -> Result:
    """Runs a worker here, and calls it from another thread, until that is done."""
    hosts = [str(host) for host in worker.hosts]
    with SimpleClient(hosts, timeout=PATIENCE) as client, ThreadPoolExecutor(1) as pool:
        called = pool.submit(calls, client)
        called.add_done_callback(lambda _: worker.stop())
        worker.start()
        return called.result()


def in_other_thread(worker: BaseWorker, calls: Callable[[SimpleClient], Result]) -> Result:
    """Runs a worker in a thread, and calls it from here."""
    hosts = [str(host) for host in worker.hosts]
    with working(worker), SimpleClient(hosts, timeout=PATIENCE) as client:
        return calls(client)


anywhere = pytest.mark.parametrize("serve", [in_main_thread, in_other_thread])
Serve = Callable[[BaseWorker, Callable[[SimpleClient], Any]], Any]


@pytest.fixture
def worker(gearman_server: Server) -> Hasty:
    return Hasty([gearman_server.host])


def fails(client: SimpleClient, function: str) -> TaskError:
    with pytest.raises(TaskError) as caught:
        client.call(f"hasty_{function}")
    return caught.value


@pytest.mark.parametrize("function", ["sleep", "read", "lock", "spin", "stubborn", "finalize"])
def test_a_task_is_interrupted_whatever_it_does(worker: Hasty, function: str) -> None:
    def calls(client: SimpleClient) -> TaskError:
        error = fails(client, function)
        assert client.hasty_clean() == "so far, TaskTimeLimitExceeded"  # the worker goes on
        return error

    begun = time.monotonic()
    error = in_main_thread(worker, calls)
    assert time.monotonic() - begun < PATIENCE / 2
    assert error.type == LIMIT
    assert error.message == f"hasty_{function}() exceeded its time limit of 0.05 s."
    assert worker.seen == ["cleaned"]


@pytest.mark.parametrize("function", ["spin", "stubborn", "finalize"])
def test_a_task_in_another_thread_is_interrupted_between_bytecodes(
    worker: Hasty, function: str
) -> None:
    error = in_other_thread(worker, lambda client: fails(client, function))
    assert error.type == LIMIT
    assert error.message == f"hasty_{function}() exceeded its time limit of 0.05 s."


def test_the_handler_of_a_signal_that_stops_is_not_interrupted(worker: Hasty) -> None:
    def stop(number: int, frame: object) -> None:
        time.sleep(4 * SOON)
        worker.seen.append("stopped")

    before = signal.signal(signal.SIGTERM, stop)
    error = in_main_thread(worker, lambda client: fails(client, "signalled"))
    signal.signal(signal.SIGTERM, before)
    assert (error.type, worker.seen) == (LIMIT, ["stopped"])


@anywhere
def test_a_task_may_clean_up_and_answer_nevertheless(worker: Hasty, serve: Serve) -> None:
    assert serve(worker, lambda client: client.hasty_clean()) == "so far, TaskTimeLimitExceeded"
    assert worker.seen == ["cleaned"]


@anywhere
def test_a_stream_is_closed_where_its_time_is_over(worker: Hasty, serve: Serve) -> None:
    assert serve(worker, lambda client: fails(client, "stream")).type == LIMIT
    assert worker.seen == ["closed"]


def test_a_task_may_be_exempt_from_the_limit_of_its_class(worker: Hasty) -> None:
    assert in_main_thread(worker, lambda client: client.hasty_unlimited()) == "done"


def test_an_alarm_of_the_task_and_a_handler_of_the_program_are_left_alone(worker: Hasty) -> None:
    heard: list[int] = []
    previous = signal.signal(signal.SIGURG, lambda number, _: heard.append(number))
    try:
        handler = signal.getsignal(signal.SIGURG)
        answers = in_main_thread(
            worker, lambda client: (client.hasty_alarmed(), fails(client, "sleep").type)
        )
        assert answers == ("rang", LIMIT)
        assert signal.getsignal(signal.SIGURG) is handler
    finally:
        signal.signal(signal.SIGURG, previous)


@anywhere
def test_no_report_is_cut_in_half(serve: Serve) -> None:
    taken = bytearray()

    def assign_one_job_and_read_late(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            while not taken.endswith(request(PacketType.GRAB_JOB_UNIQ)):
                taken.extend(connection.recv(4096))
            taken.clear()
            connection.sendall(
                response(PacketType.JOB_ASSIGN_UNIQ, b"H:1", b"pouring_out", b"", b"{}")
            )
            threading.Event().wait(8 * SOON)  # its time is over while it sends
            while data := connection.recv(1 << 20):
                taken.extend(data)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        served = pool.submit(assign_one_job_and_read_late, server)
        worker = Pouring(["127.0.0.1:%d" % server.getsockname()[1]])
        answered = request(PacketType.WORK_FAIL, b"H:1")
        serve(worker, lambda client: until(lambda: answered in taken[-100:], "the answer"))
        served.result(PATIENCE)
    types = []
    while taken:
        magic, type_, length = struct.unpack_from("!4sII", taken)
        assert magic == b"\0REQ"
        types.append(type_)
        del taken[: 12 + length]
    assert types[:3] == [PacketType.WORK_DATA, PacketType.WORK_WARNING, PacketType.WORK_FAIL]


@anywhere
def test_a_limit_that_races_the_end_of_its_task_hits_nothing_else(
    worker: Hasty, serve: Serve
) -> None:
    def calls(client: SimpleClient) -> list[str]:
        answers = []
        for number in range(500):
            try:
                answers.append(client.hasty_race(seconds=0.0008 + number % 40 * 1e-5))
            except TaskError as error:
                answers.append(str(error.type))
        return answers

    answers = serve(worker, calls)
    assert len(answers) == 500
    assert set(answers) <= {"in time", LIMIT}


@pytest.mark.parametrize("in_thread", [False, True], ids=["main thread", "other thread"])
def test_a_limit_is_over_when_its_run_returns(in_thread: bool) -> None:
    """The same race without a job server in between: thousands of times, and closer."""

    def race() -> set[str]:
        outcomes = set()
        watchdog = Watchdog()
        for number in range(3000):
            try:
                end = time.perf_counter() + number % 50 * 2e-6
                limit = TimeLimit(watchdog, "f", number % 49 * 2e-6, None, print)
                limit.run(partial(spin, end))
                outcomes.add("in time")
            except TaskTimeLimitExceeded as error:
                outcomes.add(error.function)
            for _ in range(20):  # where a late one would come out
                pass
            assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL
        watchdog.close()
        return outcomes

    def spin(end: float) -> None:
        while time.perf_counter() < end:
            pass

    if in_thread:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(race).result(PATIENCE) == {"in time", "f"}
    else:
        assert race() == {"in time", "f"}


def test_nothing_of_a_limit_is_left_when_the_worker_has_stopped(worker: Hasty) -> None:
    def watchdogs() -> list[str]:
        return [thread.name for thread in threading.enumerate() if "watchdog" in thread.name]

    def calls(client: SimpleClient) -> list[str]:
        client.hasty_clean()
        return watchdogs()

    assert len(in_main_thread(worker, calls)) == 1
    assert watchdogs() == []
    assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL
