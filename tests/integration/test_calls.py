"""The promises of every client, whoever waits for the answer: one suite for all kinds."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from gearmanny.admin import JobServer
from gearmanny.client import Data, JobState, JobStatus, Progress
from gearmanny.errors import (
    EncodingError,
    InvalidOption,
    InvalidTask,
    JobCancelled,
    JobServerError,
    JobServerLost,
    JobServerUnavailable,
    TaskError,
    TaskTimeout,
)
from gearmanny.testing import Gearmand, running
from gearmanny.worker import BaseWorker
from tests.support.clients import Client, MakeClient
from tests.support.servers import PATIENCE, RunWorker, Server, free_port, until
from tests.support.workers import REPORTS, Called, Gate
from tools.proxies import Proxy


class TestCalls:
    def test_the_result_comes_back(self, served: Client) -> None:
        value = {"text": "hé", "list": [1, None, 2.5]}
        assert served.called_echo(value=value) == value
        assert served.call("called_echo", value=value) == value

    def test_values_go_through_json_both_ways(self, served: Client) -> None:
        value = {"a": (1, 2), 3: None}
        assert served.called_echo(value=value) == {"a": [1, 2], "3": None}

    def test_help_describes_the_tasks(self, served: Client) -> None:
        assert served.called_help()["called_note"]["description"].startswith("Returns how many")

    @pytest.mark.parametrize(
        ("task", "arguments", "type_", "text", "args"),
        [
            ("fail", {}, "builtins.ValueError", "no luck", ["no luck"]),
            ("refuse", {}, "tests.support.workers.Refused", "(7, 'as told')", [7, "as told"]),
            ("echo", {"c": 1}, "gearmanny.errors.InvalidArguments", "missing required arg", [ANY]),
            ("unencodable", {}, "gearmanny.errors.EncodingError", "cannot encode this set", [ANY]),
        ],
    )
    def test_a_failure_tells_what_the_task_raised(
        self, served: Client, task: str, arguments: dict[str, Any], type_: str, text: str, args: Any
    ) -> None:
        with pytest.raises(TaskError) as caught:
            served.call(f"called_{task}", **arguments)
        error = caught.value
        assert (error.function, error.type) == (f"called_{task}", type_)
        assert text in error.message
        assert error.remote_args == args
        assert error.traceback is None

    def test_a_function_without_workers_is_told_when_the_time_is_over(
        self, client: Client, gearman_server: Server
    ) -> None:
        with pytest.raises(TaskTimeout) as caught:
            client.using(timeout=0.1).nobody_home()
        assert str(caught.value) == (
            f"No answer from nobody_home() within 0.1 s. No worker offers it on "
            f"{gearman_server.host}. Start one that does, or look whether the name and the host "
            "are right."
        )

    def test_a_busy_worker_is_told_when_the_time_is_over(self, client: Client, gate: Gate) -> None:
        with pytest.raises(TaskTimeout, match=r"2 worker\(s\) offer it; 1 of its jobs run"):
            client.using(timeout=0.3).called_pass()

    def test_a_function_that_nobody_offers_times_out(self, served: Client) -> None:
        with pytest.raises(TaskTimeout, match=r"No worker .*offers"):
            served.using(timeout=0.1).nobody_home()

    def test_no_server_is_told_by_host(self, make: MakeClient) -> None:
        hosts = [f"127.0.0.1:{free_port()}", f"localhost:{free_port()}"]
        with pytest.raises(JobServerUnavailable) as caught:
            make(*hosts).called_echo(value=1)
        assert isinstance(caught.value, ConnectionError)
        assert set(caught.value.failures) == set(hosts)
        for host in hosts:
            assert f"{host} (connection refused)" in str(caught.value)

    def test_calls_under_way_are_told_that_the_server_went(
        self, make: MakeClient, gearman_server: Server
    ) -> None:
        client = make(gearman_server.host)
        works = [client.submit("nobody") for _ in range(2)]
        for work in works:
            work.status()  # it has been sent
        gearman_server.stop()
        for work in works:
            with pytest.raises(JobServerLost, match=r"closed by the job server.*may or may not"):
                work.get_result(timeout=PATIENCE)
            assert work.is_done()

    def test_a_job_that_nobody_waits_for_does_not_hide_a_restart(
        self, client: Client, gearman_server: Server, gearman_worker: RunWorker
    ) -> None:
        forgotten = client.submit("nobody")
        gearman_server.stop()
        gearman_server.start()
        gearman_worker(Called)
        assert client.called_echo(value=1) == 1
        assert forgotten.is_done()

    @pytest.mark.usefixtures("workers")
    def test_a_refused_job_ends_alone(self, client: Client, gearman_server: Server) -> None:
        with socket.create_connection(("127.0.0.1", gearman_server.port)) as admin:
            admin.sendall(b"create function full\r\n")
            admin.recv(100)
            admin.sendall(b"maxqueue full 1\r\n")
            assert admin.recv(100).startswith(b"OK")
        client.submit("full")
        refused = client.submit("full")
        assert client.called_echo(value="good") == "good"
        with pytest.raises(JobServerError, match=r"QUEUE_ERROR \(Job queue is full\)"):
            refused.get_result(timeout=PATIENCE)

    def test_the_first_call_after_a_restart_works(
        self, client: Client, gearman_server: Server, gearman_worker: RunWorker
    ) -> None:
        gearman_worker(Called)
        assert client.called_echo(value=1) == 1
        gearman_server.stop()
        gearman_server.start()
        assert client.called_echo(value=2) == 2

    def test_calls_rotate_over_the_servers(
        self, make: MakeClient, gearman_server: Server, second_server: Server
    ) -> None:
        hosts = [gearman_server.host, second_server.host]
        client = make(*hosts, timeout=PATIENCE)
        with running(Called(hosts[:1])) as one, running(Called(hosts[1:])) as two:
            works = [client.submit("called_note", value=n) for n in range(4)]
            assert [work.get_result(timeout=PATIENCE) for work in works] == [1, 1, 2, 2]
        assert (one.seen, two.seen) == ([0, 2], [1, 3])

    @pytest.mark.usefixtures("workers")
    def test_calls_leave_out_a_server_that_accepts_connections_and_never_answers(
        self, make: MakeClient, client: Client, gearman_server: Server
    ) -> None:
        assert client.called_echo(value=0) == 0  # the workers are there
        timeouts = 0
        with socket.create_server(("127.0.0.1", 0)) as silent:
            host = "127.0.0.1:%d" % silent.getsockname()[1]
            client = make(host, gearman_server.host, timeout=2)
            for n in range(6):
                try:
                    assert client.called_echo(value=n) == n
                except TaskTimeout:
                    timeouts += 1
        assert timeouts == 1

    def test_calls_leave_out_a_server_that_is_away(
        self, make: MakeClient, gearman_server: Server, second_server: Server
    ) -> None:
        hosts = [gearman_server.host, f"127.0.0.1:{free_port()}", second_server.host]
        client = make(*hosts, timeout=PATIENCE)
        with (
            running(Called([gearman_server.host])) as one,
            running(Called([second_server.host])) as two,
        ):
            works = [client.submit("called_note", value=n) for n in range(6)]
            for work in works:
                work.get_result(timeout=PATIENCE)
        assert one.seen
        assert two.seen
        assert sorted(one.seen + two.seen) == [*range(6)]

    @pytest.mark.parametrize("name", ["", "a b", "a\0b", "x" * 513])
    def test_a_name_that_cannot_travel_is_refused_before_connecting(
        self, make: MakeClient, name: str
    ) -> None:
        with pytest.raises(InvalidTask):
            make(f"127.0.0.1:{free_port()}").call(name)

    def test_arguments_that_cannot_be_encoded_are_refused_before_connecting(
        self, make: MakeClient
    ) -> None:
        with pytest.raises(EncodingError, match=r"echo\(\): .* cannot encode the argument 'value'"):
            make(f"127.0.0.1:{free_port()}").called_echo(value=object())

    def test_a_closed_client_ends_its_jobs_and_can_be_used_again(
        self, client: Client, gate: Gate
    ) -> None:
        held = client.submit("called_pass")
        held.status()
        client.close()
        with pytest.raises(JobServerLost, match="closed by this client"):
            held.get_result(timeout=PATIENCE)
        assert client.called_echo(value=1) == 1

    @pytest.mark.usefixtures("workers")
    def test_other_options_share_the_connection(self, make: MakeClient, network: Proxy) -> None:
        client = make(network.host, timeout=PATIENCE)
        assert client.using(timeout=5).called_echo(value=1) == client.called_echo(value=1) == 1
        assert network.accepted == 1

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"timeuot": 5}, "There is no option timeuot. There are timeout, background"),
            ({"timeout": -1}, "timeout must be a number of seconds"),
            ({"background": "yes"}, "background must be True or False"),
        ],
    )
    def test_invalid_options_are_refused(
        self, make: MakeClient, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InvalidOption, match=message):
            make(f"127.0.0.1:{free_port()}").using(**options)


class TestNames:
    def test_underscored_names_never_call_the_server(self, make: MakeClient) -> None:
        nobody: Any = make.kind([f"127.0.0.1:{free_port()}"])
        with pytest.raises(AttributeError, match=r"Client' object has no attribute '_repr"):
            nobody._repr_html_  # noqa: B018

    @pytest.mark.usefixtures("workers")
    def test_copies_and_pickles_are_clients_of_their_own(
        self, make: MakeClient, gearman_server: Server
    ) -> None:
        given: Any = make.kind([gearman_server.host], timeout=PATIENCE)
        for twin in (copy.copy(given), copy.deepcopy(given), pickle.loads(pickle.dumps(given))):
            assert repr(twin) == repr(given)
            assert make.of(twin).called_echo(value=1) == 1

    def test_positional_arguments_are_told_to_be_keywords(self, served: Client) -> None:
        with pytest.raises(TypeError, match=r"called_echo\(\) takes keyword arguments only"):
            served.called_echo(5)

    def test_arguments_may_have_any_name(self, served: Client) -> None:
        with pytest.raises(TaskError, match="unexpected arguments: 'self', 'function'"):
            served.call("called_echo", value=1, self=2, function=3)


class TestPriorities:
    def test_high_comes_before_normal_before_low(
        self, client: Client, gearman_worker: RunWorker
    ) -> None:
        works = [
            client.using(priority=priority).submit("called_note", value=priority)
            for priority in ("low", "normal", "high", "normal", "high", "low")
        ]
        for priority in ("low", "high"):
            kept = client.using(priority=priority, background=True)
            kept.call("called_note", value=f"{priority} kept")
        for work in works:
            assert work.status().state is JobState.QUEUED
        worker = gearman_worker(Called)
        for work in works:
            work.get_result(timeout=PATIENCE)
        until(lambda: len(worker.seen) == 8)
        assert worker.seen == [
            *("high", "high", "high kept", "normal", "normal"),
            *("low", "low", "low kept"),
        ]


class TestUniqueKeys:
    def test_equal_calls_under_way_are_one_job(self, client: Client, gate: Gate) -> None:
        once = client.using(unique="key")
        works = [once.submit("called_pass") for _ in range(3)]
        other = client.using(unique="keyé").submit("called_pass")
        assert {work.unique for work in works} == {"f:key"}
        until(lambda: gate.runs == 2)
        gate.opened.set()
        results = [work.get_result(timeout=PATIENCE) for work in (*works, other)]
        assert gate.runs == 2
        assert len(set(results[:3])) == 1

    def test_afterwards_a_call_is_a_new_job(self, client: Client, gate: Gate) -> None:
        gate.opened.set()
        once = client.using(unique="key")
        assert [once.called_pass() for _ in range(2)] == [1, 2]

    def test_all_clients_choose_the_same_of_several_servers(
        self, make: MakeClient, gearman_server: Server, second_server: Server
    ) -> None:
        hosts = [gearman_server.host, second_server.host]
        one, two = make(*hosts, timeout=PATIENCE), make(*hosts[::-1], timeout=PATIENCE)
        keys = [f"key {number}" for number in range(6)]
        works = [
            client.using(unique=key).submit("called_note", value=key)
            for client in (one, two, one)
            for key in keys
        ]
        for work in works:
            work.status()  # it was accepted
        with running(Called(hosts)) as worker:
            for work in works:
                work.get_result(timeout=PATIENCE)
        assert sorted(worker.seen) == keys

    def test_background_and_other_calls_are_never_one_job(self, client: Client, gate: Gate) -> None:
        once = client.using(unique="key")
        waited = once.submit("called_pass")
        kept = once.using(background=True).call("called_pass")
        until(lambda: gate.runs == 2)
        assert (waited.unique, kept.unique) == ("f:key", "b:key")
        gate.opened.set()
        assert waited.get_result(timeout=PATIENCE)


class TestBackground:
    def test_it_runs_without_anybody_waiting(self, client: Client, gate: Gate) -> None:
        work = client.using(background=True).call("called_pass")
        assert work.is_done()
        assert work.get_result() is None
        assert work.exception() is None
        until(lambda: gate.runs)
        assert work.status().state is JobState.RUNNING
        assert client.status(work.unique).state is JobState.RUNNING
        gate.opened.set()
        until(lambda: client.status(work.unique).state is JobState.UNKNOWN)
        assert work.status() == JobStatus(JobState.UNKNOWN)

    def test_it_runs_after_its_client_has_gone(
        self, make: MakeClient, gearman_server: Server
    ) -> None:
        client = make(gearman_server.host, timeout=PATIENCE)
        later = client.using(background=True)
        work = later.called_note(value=0)
        assert work.is_done()
        assert work.handle.startswith(b"H:")
        assert later.submit("called_note", value=1).get_result(timeout=PATIENCE) is None
        inputs = ({"value": n} for n in range(2, 50))
        assert list(later.map("called_note", inputs)) == [None] * 48
        client.close()
        # Nobody is connected any more: the jobs are kept, and none replaced another.
        (row,) = JobServer(gearman_server.host).status()
        assert (row.total, row.running) == (50, 0)
        with running(Called([gearman_server.host])) as worker:
            until(lambda: len(worker.seen) == 50, "the jobs being done")
        assert sorted(worker.seen) == [*range(50)]

    def test_its_failure_is_nobodys(self, served: Client) -> None:
        work = served.using(background=True).call("called_fail")
        assert work.is_done()
        assert work.get_result() is None

    def test_two_have_unique_ids_of_their_own(self, served: Client) -> None:
        works = [served.using(background=True).call("called_echo", value=n) for n in range(2)]
        assert len({work.unique for work in works}) == 2
        assert served.submit("called_echo", value=1).unique is None

    def test_its_progress_can_be_asked_for(self, client: Client, gate: Gate) -> None:
        work = client.using(background=True).call("called_held")
        running = JobStatus(JobState.RUNNING, Progress(1, 2))
        until(lambda: work.status() == running)
        assert client.status(work.unique) == running

    @pytest.mark.gearmand
    def test_it_is_found_after_a_restart(self, make: MakeClient, tmp_path: Path) -> None:
        with Gearmand("-q", "libsqlite3", f"--libsqlite3-db={tmp_path}/queue") as server:
            client = make(server.host, timeout=PATIENCE)
            work = client.using(background=True).call("called_note", value="kept")
            server.kill()
            server.start()
            assert work.status().state is JobState.QUEUED
            assert client.status(work.unique).state is JobState.QUEUED
            with pytest.raises(JobServerLost):  # its handle may be another job's
                work.cancel()
            with running(Called([server.host])) as worker:
                until(lambda: worker.seen == ["kept"])


class TestSchedules:
    @pytest.mark.parametrize("option", ["at", "delay"])
    def test_a_job_is_kept_until_its_time(
        self, client: Client, gearman_server: Server, gearman_worker: RunWorker, option: str
    ) -> None:
        seen: dict[str, float] = {}

        class Timing(BaseWorker):
            name = "timing"

            def task_note(self, what: str) -> None:
                seen[what] = time.time()

        due = time.time() + 1
        when = {"delay": 1} if option == "delay" else {"at": datetime.fromtimestamp(due, UTC)}
        later = client.using(background=True, **when)
        later.call("timing_note", what="later")
        with running(Timing([gearman_server.host])):
            client.timing_note(what="now")
        until(lambda: time.time() > math.ceil(due))
        gearman_worker(Timing)
        until(lambda: "later" in seen)
        assert seen["later"] >= due

    def test_a_job_of_tomorrow_waits_and_can_be_cancelled(self, client: Client, gate: Gate) -> None:
        work = client.using(background=True, delay=86400).call("called_pass")
        assert client.called_echo(value=1) == 1
        assert work.status().state is JobState.QUEUED
        assert work.cancel()
        assert not gate.runs

    def test_a_time_that_has_passed_is_now(self, client: Client, gate: Gate) -> None:
        past = datetime.now(UTC) - timedelta(days=1)
        client.using(background=True, at=past).call("called_pass")
        until(lambda: gate.runs)


class TestIdempotent:
    def test_a_job_is_sent_again_when_its_connection_is_lost(
        self, make: MakeClient, gearman_server: Server, gearman_worker: RunWorker
    ) -> None:
        client = make(gearman_server.host, timeout=PATIENCE, connect_timeout=PATIENCE)
        works = [client.using(idempotent=True).submit("called_note", value=n) for n in range(3)]
        once = client.submit("called_note", value="once")
        once.status()
        gearman_server.stop()
        gearman_server.start()
        with running(Called([gearman_server.host])) as worker:
            assert sorted(work.get_result(timeout=PATIENCE) for work in works) == [1, 2, 3]
            with pytest.raises(JobServerLost):
                once.get_result(timeout=PATIENCE)
        assert sorted(worker.seen) == [0, 1, 2]

    def test_it_is_given_up_when_no_server_comes_back(
        self, make: MakeClient, gearman_server: Server
    ) -> None:
        client = make(gearman_server.host, connect_timeout=0.2)
        work = client.using(idempotent=True).submit("nobody")
        work.status()
        gearman_server.stop()
        with pytest.raises(JobServerUnavailable, match="connection refused"):
            work.get_result(timeout=PATIENCE)
        assert work.is_done()

    def test_it_is_an_ordinary_call_as_long_as_nothing_is_lost(self, served: Client) -> None:
        assert served.using(idempotent=True, timeout=PATIENCE).called_echo(value=2) == 2


class TestUpdates:
    def test_on_update_gets_them_in_order(self, served: Client) -> None:
        seen: list[Any] = []
        assert served.using(on_update=seen.append).called_report() == "reported"
        assert seen == REPORTS

    def test_what_on_update_raises_is_raised(self, served: Client) -> None:
        def refuse(update: object) -> None:
            raise RuntimeError(f"no {update}")

        with pytest.raises(RuntimeError, match=r"no Progress\(done=1, total=4\)"):
            served.using(on_update=refuse).called_report()
        assert served.called_echo(value=1) == 1

    def test_a_work_object_gives_them_out_once_and_in_order(self, served: Client) -> None:
        work = served.submit("called_report")
        assert list(work.updates(timeout=PATIENCE)) == REPORTS
        assert work.progress == Progress(4, 4)
        assert list(work.updates(timeout=PATIENCE)) == []
        assert work.get_result() == "reported"

    def test_they_come_while_the_job_runs(self, client: Client, gate: Gate) -> None:
        updates = client.submit("called_rows").updates(timeout=PATIENCE)
        assert next(updates) == Data("first")
        gate.opened.set()
        assert list(updates) == [Data("second")]

    def test_a_failure_is_no_update(self, served: Client) -> None:
        work = served.submit("called_fail")
        assert list(work.updates(timeout=PATIENCE)) == []

    def test_waiting_for_them_ends_with_the_time(self, client: Client, gate: Gate) -> None:
        updates = client.submit("called_pass").updates(timeout=0.05)
        with pytest.raises(TaskTimeout):
            next(updates)


class TestWorkObjects:
    def test_a_result_can_be_had_twice(self, served: Client) -> None:
        work = served.submit("called_echo", value=[1])
        assert work.get_result() == work.get_result() == [1]
        assert work.is_done()
        assert work.exception() is None
        assert work.handle

    def test_results_can_be_had_in_any_order(self, served: Client) -> None:
        works = [served.submit("called_echo", value=n) for n in range(50)]
        results = [work.get_result(timeout=PATIENCE) for work in reversed(works)]
        assert results == [*range(50)][::-1]

    def test_a_job_that_is_done_is_known_no_longer(self, served: Client) -> None:
        work = served.using(unique="key", priority="high").submit("called_echo", value=2)
        assert work.get_result(timeout=PATIENCE) == 2
        assert work.status().state is JobState.UNKNOWN
        assert served.status("key").state is JobState.UNKNOWN
        assert not work.cancel()

    def test_an_exception_can_be_had_without_being_raised(self, served: Client) -> None:
        work = served.submit("called_fail")
        error = work.exception(timeout=PATIENCE)
        assert isinstance(error, TaskError)
        assert error.message == "no luck"
        with pytest.raises(TaskError, match="no luck"):
            work.get_result()

    def test_is_done_turns_true(self, client: Client, gate: Gate) -> None:
        work = client.submit("called_pass")
        assert not work.is_done()
        gate.opened.set()
        until(work.is_done)
        assert work.get_result(timeout=0) == 1

    @pytest.mark.parametrize("method", ["get_result", "exception"])
    def test_a_timeout_leaves_the_job_to_be_waited_for_again(
        self, client: Client, gate: Gate, method: str
    ) -> None:
        work = client.submit("called_pass")
        with pytest.raises(TaskTimeout):
            getattr(work, method)(timeout=0)
        gate.wait_for_entry()
        busy = r"2 worker\(s\) offer it; 1 of its jobs run"
        with pytest.raises(TimeoutError, match=busy):  # which a TaskTimeout is, too
            getattr(work, method)(timeout=0.05)
        gate.opened.set()
        assert work.get_result(timeout=PATIENCE) == 1

    @pytest.mark.parametrize("method", ["get_result", "exception", "status", "cancel", "updates"])
    def test_a_bad_timeout_is_refused(self, served: Client, method: str) -> None:
        work = served.submit("called_echo", value=1)
        for bad in (-1, "5", float("nan")):
            with pytest.raises(InvalidOption, match="number of seconds"):
                getattr(work, method)(timeout=bad)

    def test_the_status_goes_from_queued_to_running_to_unknown(
        self, client: Client, gearman_worker: RunWorker, closed_gate: Gate
    ) -> None:
        work = client.submit("called_held")
        assert work.status() == JobStatus(JobState.QUEUED)
        gearman_worker(Called)
        until(lambda: work.status() == JobStatus(JobState.RUNNING, Progress(1, 2)))
        closed_gate.opened.set()
        work.get_result(timeout=PATIENCE)
        assert work.status() == JobStatus(JobState.UNKNOWN)


class TestStatus:
    def test_a_job_that_nobody_knows_is_unknown(self, client: Client) -> None:
        assert client.status("never was") == JobStatus(JobState.UNKNOWN)

    def test_a_job_is_looked_for_on_all_servers(
        self, make: MakeClient, gearman_server: Server, second_server: Server
    ) -> None:
        hosts = [gearman_server.host, second_server.host]
        kept = make(*hosts).using(background=True)
        works = [kept.call("called_note", value=n) for n in range(2)]
        asking = make(*hosts[::-1])
        for work in works:
            assert asking.status(work.unique).state is JobState.QUEUED

    def test_a_server_that_could_not_be_asked_is_named(
        self, make: MakeClient, gearman_server: Server
    ) -> None:
        away = f"127.0.0.1:{free_port()}"
        for client in (make(gearman_server.host, away), make(away, gearman_server.host)):
            assert client.status("never was") == JobStatus(JobState.UNKNOWN, not_asked=(away,))
        kept = make(gearman_server.host).using(background=True).call("noting_note", value=1)
        assert client.status(kept.unique) == JobStatus(JobState.QUEUED)
        with pytest.raises(JobServerUnavailable) as caught:
            make(away).status("never was")
        assert set(caught.value.failures) == {away}

    def test_one_that_does_not_answer_leaves_time_for_the_others(
        self, make: MakeClient, gearman_server: Server
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            host = "127.0.0.1:%d" % silent.getsockname()[1]
            found = make(host, gearman_server.host).status("never was", timeout=1)
        assert found == JobStatus(JobState.UNKNOWN, not_asked=(host,))

    def test_one_that_was_cancelled_is_not_queued(
        self, client: Client, gearman_server: Server
    ) -> None:
        kept = client.using(background=True)
        work = kept.call("noting_note", value=1)
        assert work.cancel()
        assert client.status(work.unique) == JobStatus(JobState.UNKNOWN)
        # Another job with the id of one that was cancelled is another job.
        work = kept.using(unique="again").call("noting_note", value=2)
        assert client.status(work.unique).state is JobState.QUEUED

    def test_an_id_that_no_job_can_have_is_refused(self, client: Client) -> None:
        with pytest.raises(InvalidOption, match="The unique id"):
            client.status("x" * 64)


class TestCancelling:
    def test_a_job_that_waits_is_cancelled(self, client: Client, gearman_server: Server) -> None:
        work = client.submit("called_note", value="cancelled")
        assert work.cancel()
        assert work.cancel()
        with pytest.raises(JobCancelled, match=r"called_note\(\) was cancelled"):
            work.get_result(timeout=PATIENCE)
        assert isinstance(work.exception(), JobCancelled)
        assert work.status() == JobStatus(JobState.UNKNOWN)
        with running(Called([gearman_server.host])) as worker:
            client.called_note(value="other")
        assert worker.seen == ["other"]

    def test_a_background_job_is_cancelled(self, client: Client, gearman_server: Server) -> None:
        work = client.using(background=True).call("called_note", value="cancelled")
        assert work.cancel()
        with running(Called([gearman_server.host])) as worker:
            client.called_note(value="other")
        assert worker.seen == ["other"]

    def test_a_job_that_runs_goes_on(self, client: Client, gate: Gate) -> None:
        work = client.submit("called_pass")
        until(lambda: gate.runs)
        assert not work.cancel()
        gate.opened.set()
        assert work.get_result(timeout=PATIENCE) == 1

    def test_a_job_that_is_over_is_not_cancelled(self, served: Client) -> None:
        work = served.submit("called_echo", value=1)
        assert work.get_result() == 1
        assert not work.cancel()


class TestStreams:
    def test_values_come_one_by_one_or_as_a_list(self, served: Client) -> None:
        assert list(served.stream("called_numbers", count=3)) == [0, 1, 2]
        assert served.called_numbers(count=3) == [0, 1, 2]

    def test_values_come_while_the_task_goes_on(self, client: Client, gate: Gate) -> None:
        rows = client.stream("called_rows")
        assert next(rows) == "first"
        gate.opened.set()  # the task waits for that before it yields the second
        assert list(rows) == ["second"]

    def test_an_error_comes_at_its_place(self, served: Client) -> None:
        rows = served.stream("called_break")
        assert next(rows) == 1
        with pytest.raises(TaskError, match="broken"):
            next(rows)

    @pytest.mark.parametrize(("result", "rows"), [([1, [2]], [1, [2]]), ([], []), (None, [])])
    def test_a_list_is_a_stream(self, served: Client, result: Any, rows: list[Any]) -> None:
        assert list(served.stream("called_echo", value=result)) == rows

    def test_what_is_no_stream_is_told(self, served: Client) -> None:
        with pytest.raises(InvalidTask, match=r"called_echo\(\) is no stream.*but dict"):
            list(served.stream("called_echo", value={}))

    def test_on_update_sees_what_comes(self, served: Client) -> None:
        seen: list[Any] = []
        assert list(served.using(on_update=seen.append).stream("called_report")) == [{"part": 1}]
        assert seen == REPORTS

    def test_a_silent_stream_ends_with_the_time(self, client: Client, gate: Gate) -> None:
        rows = client.using(timeout=0.3).stream("called_rows")
        assert next(rows) == "first"
        with pytest.raises(TaskTimeout):
            next(rows)

    def test_who_leaves_early_leaves_nothing_behind(self, served: Client) -> None:
        rows = served.stream("called_echo", value=[1, 2])
        assert next(rows) == 1
        del rows
        assert served.called_echo(value=1) == 1

    @pytest.mark.parametrize("option", ["background", "idempotent"])
    def test_what_cannot_be_streamed_is_refused_at_once(self, served: Client, option: str) -> None:
        with pytest.raises(InvalidOption, match=f"using.{option}=False"):
            served.using(**{option: True}).stream("called_echo", value=[])


class TestMap:
    @pytest.mark.parametrize("window", [1, 2, 3, 1000])
    def test_results_come_in_the_order_of_the_inputs(self, served: Client, window: int) -> None:
        inputs = ({"value": n} for n in range(200))
        assert list(served.map("called_echo", inputs, window=window)) == [*range(200)]

    def test_inputs_may_be_endless_and_are_taken_as_results_are_consumed(
        self, served: Client
    ) -> None:
        taken: list[int] = []

        def inputs() -> Iterator[dict[str, int]]:
            for n in itertools.count():
                taken.append(n)
                yield {"value": n}

        results = served.map("called_echo", inputs(), window=10)
        assert taken == []
        assert list(itertools.islice(results, 30)) == [*range(30)]
        assert len(taken) <= 41

    def test_no_input_is_no_result(self, served: Client) -> None:
        assert list(served.map("called_echo", [])) == []

    def test_errors_come_at_their_places(self, served: Client) -> None:
        inputs = [{"value": 1}, {"value": object()}, {"wrong": 1}, {"value": 4}]
        one, encoding, task, four = served.map("called_echo", inputs, return_exceptions=True)
        assert (one, four) == (1, 4)
        assert isinstance(encoding, EncodingError)
        assert isinstance(task, TaskError)
        results = served.map("called_echo", inputs[:1] + inputs[2:])
        assert next(results) == 1
        with pytest.raises(TaskError, match="missing required argument: 'value'"):
            next(results)

    def test_background_jobs_are_all_kept(self, served: Client) -> None:
        inputs = [{"value": n} for n in range(100)]
        kept = served.using(background=True).map("called_note", inputs)
        assert list(kept) == [None] * 100

    @pytest.mark.parametrize("option", [{"unique": "one"}, {"on_update": print}])
    def test_what_is_for_one_call_is_refused_at_once(
        self, served: Client, option: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidOption, match="is for one call"):
            served.using(**option).map("called_echo", [])

    @pytest.mark.parametrize("window", [0, -1, 1.5, "9", 2**31])
    def test_a_bad_window_is_refused_at_once(self, served: Client, window: Any) -> None:
        with pytest.raises(InvalidOption, match="window must be a whole number"):
            served.map("called_echo", [], window=window)

    def test_a_function_without_workers_times_out(self, served: Client) -> None:
        with pytest.raises(TaskTimeout, match=r"No worker .*offers"):
            next(served.using(timeout=0.1).map("nobody", [{}]))

    def test_no_server_is_told(self, make: MakeClient) -> None:
        with pytest.raises(JobServerUnavailable):
            next(make(f"127.0.0.1:{free_port()}").map("called_echo", [{"value": 1}]))

    def test_several_servers_share_the_calls(
        self, make: MakeClient, gearman_server: Server, second_server: Server
    ) -> None:
        hosts = [gearman_server.host, second_server.host]
        with running(Called(hosts)):
            client = make(*hosts, timeout=PATIENCE)
            inputs = ({"value": n} for n in range(100))
            assert list(client.map("called_echo", inputs, window=10)) == [*range(100)]
        for host in hosts:
            assert any(row.function == "called_echo" for row in JobServer(host).status())
