"""Workers on a real gearmand: what is exported, and what a task may do."""

from __future__ import annotations

import contextlib
import logging
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from gearmanny.admin import JobServer
from gearmanny.client import AsyncClient, Data, Progress, SimpleClient, Warning
from gearmanny.errors import InvalidOption, InvalidTask, TaskError
from gearmanny.testing import running
from gearmanny.vocabulary.gearman_api import DataEncoder, GearmanJob, GearmanWorker
from gearmanny.worker import BaseWorker, JsonWorker
from tests.support.servers import PATIENCE, RunWorker, Server, until, workers_of


class PickleEncoder(DataEncoder):
    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        return pickle.dumps(encodable_object)

    @classmethod
    def decode(cls, decodable_string: bytes) -> Any:
        return pickle.loads(decodable_string)


class MsgpackEncoder(DataEncoder):
    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        return msgpack.packb(encodable_object)

    @classmethod
    def decode(cls, decodable_string: bytes) -> Any:
        return msgpack.unpackb(decodable_string)


class PickleWorker(GearmanWorker):
    """Knows nothing of gearmanny."""

    data_encoder = PickleEncoder


class MsgpackWorker(GearmanWorker):
    data_encoder = MsgpackEncoder


class Calculator(BaseWorker):
    name = "calc"

    def task_echo(self, text: str, double: bool = False) -> str:
        "Echoes the text"
        return text + text if double else text

    def task_add(self, a, b):
        "Adds A and B together"
        return a + b

    def task_roots(self, upto):
        for number in range(upto):
            self.progress(number + 1, upto)
            yield number**2

    def task_report(self):
        self.send_job_warning("careful")
        self.send_job_data({"part": 1})
        self.send_job_status(1, 2)
        self.gearman_worker.send_job_data(self.job, "by the gearman worker")
        self.gearman_worker.send_job_status(self.job, 2, 2)
        return self.job.handle

    def task_half(self):
        self.progress(0.5, 1)


@pytest.fixture
def calculator(gearman_worker: RunWorker) -> None:
    gearman_worker(Calculator)


@pytest.mark.usefixtures("calculator")
class TestCalls:
    def test_a_task_is_called_by_name_with_keywords(self, gearman_client: SimpleClient) -> None:
        assert gearman_client.calc_add(a=10, b=15) == 25
        assert gearman_client.call("calc_echo", text="hé", double=True) == "héhé"

    def test_help_describes_every_task(self, gearman_client: SimpleClient) -> None:
        table = gearman_client.calc_help()

        assert table["calc_add"] == {
            "description": "Adds A and B together",
            "input": {
                "a": {"default": None, "required": True},
                "b": {"default": None, "required": True},
            },
        }
        assert table["calc_echo"]["input"]["double"] == {
            "default": False,
            "required": False,
            "annotation": "bool",
        }
        assert table["calc_echo"]["returns"] == "str"

    def test_a_generator_streams_its_items_and_returns_them_all(
        self, gearman_async_client: AsyncClient
    ) -> None:
        work = gearman_async_client.calc_roots(upto=3)

        assert list(work.updates(timeout=10)) == [
            *(Progress(1, 3), Data(0), Progress(2, 3), Data(1), Progress(3, 3), Data(4))
        ]
        assert work.get_result() == [0, 1, 4]
        assert work.progress == Progress(3, 3)
        assert work.progress.fraction == 1

    def test_a_task_reports_on_its_job(self, gearman_async_client: AsyncClient) -> None:
        work = gearman_async_client.calc_report()

        assert list(work.updates(timeout=10)) == [
            Warning("careful"),
            Data({"part": 1}),
            Progress(1, 2),
            Data("by the gearman worker"),
            Progress(2, 2),
        ]
        assert work.get_result() == work.handle.decode()

    def test_progress_in_fractions_is_refused_where_gearmand_would_cut_it(
        self, gearman_client: SimpleClient
    ) -> None:
        with pytest.raises(TaskError, match=r"progress must be a whole .* not 0\.5") as caught:
            gearman_client.calc_half()
        assert caught.value.type == "gearmanny.errors.InvalidOption"

    def test_a_result_of_megabytes_arrives_whole(self, gearman_client: SimpleClient) -> None:
        text = "0123456789" * 500_000
        assert gearman_client.calc_echo(text=text) == text


@pytest.mark.parametrize(
    ("work_class", "encoder"), [(PickleWorker, PickleEncoder), (MsgpackWorker, MsgpackEncoder)]
)
def test_any_gearman_worker_serves_with_its_own_encoder(
    gearman_server: Server,
    gearman_worker: RunWorker,
    work_class: type[GearmanWorker],
    encoder: type[DataEncoder],
) -> None:
    class Worker(BaseWorker):
        name = "blob"

        def task_size(self, blob: bytes) -> Any:
            yield from (blob, b"\0" + blob)

        def task_fail(self) -> None:
            raise LookupError("nothing there")

    Worker.work_class = work_class
    gearman_worker(Worker)
    with SimpleClient([gearman_server.host], timeout=20, data_encoder=encoder) as client:
        blob = bytes(range(256))
        assert client.blob_size(blob=blob) == [blob, b"\0" + blob]
        assert "blob_size" in client.blob_help()
        with pytest.raises(TaskError) as caught:
            client.blob_fail()
        assert (caught.value.type, caught.value.message) == (
            "builtins.LookupError",
            "nothing there",
        )


def test_hooks_of_a_gearman_worker_subclass_are_called(
    gearman_server: Server, gearman_client: SimpleClient
) -> None:
    seen: list[str] = []

    class Observed(JsonWorker):
        def on_job_execute(self, current_job: GearmanJob) -> bool:
            seen.append(f"execute {current_job.task} {current_job.data}")
            return super().on_job_execute(current_job)

        def on_job_exception(self, current_job: GearmanJob, exc_info: Any) -> bool:
            seen.append(f"exception {exc_info[0].__name__}")
            return super().on_job_exception(current_job, exc_info)

        def on_job_complete(self, current_job: GearmanJob, job_result: Any) -> bool:
            seen.append(f"complete {job_result}")
            return super().on_job_complete(current_job, job_result)

    class Worker(BaseWorker):
        name = "observed"
        work_class = Observed

        def task_double(self, n: int) -> int:
            return n * 2

    with running(Worker([gearman_server.host])):
        assert gearman_client.observed_double(n=2) == 4
        with pytest.raises(TaskError, match=r"builtins\.TypeError"):
            gearman_client.observed_double(n=None)

    assert seen == [
        *("execute observed_double {'n': 2}", "complete 4"),
        *("execute observed_double {'n': None}", "exception TypeError"),
    ]


def test_several_workers_share_a_gearman_worker(
    gearman_server: Server, gearman_client: SimpleClient, gearman_worker: RunWorker
) -> None:
    class First(BaseWorker):
        name = "first"

        def task_who(self) -> str:
            return "first"

    class Second(First):
        name = "second"

        def task_who(self) -> str:
            return "second"

    shared = JsonWorker()
    Second(gearman_worker=shared)
    gearman_worker(First, gearman_worker=shared)
    assert gearman_client.first_who() == "first"
    assert gearman_client.second_who() == "second"
    # One connection serves both.
    (row,) = [row for row in JobServer(gearman_server.host).workers() if row.functions]
    assert {"first_who", "second_help"} <= set(row.functions)


def test_callbacks_are_given_the_gearman_worker_and_the_job(
    gearman_client: SimpleClient, gearman_worker: RunWorker
) -> None:
    class Worker(BaseWorker):
        name = "text"

        def setUp(self) -> None:
            self.register_task("text.reverse", self.reverse)

        def reverse(self, gearman_worker: GearmanWorker, job: GearmanJob) -> Any:
            assert gearman_worker is self.gearman_worker
            return [job.task, job.data["text"][::-1], job.handle]

    gearman_worker(Worker)
    task, text, handle = gearman_client.call("text.reverse", text="abc")
    assert (task, text) == ("text.reverse", "cba")
    assert handle.startswith("H:")


def test_functions_may_come_and_go_while_a_job_runs(
    gearman_server: Server, gearman_client: SimpleClient
) -> None:
    runs: list[int] = []

    class Worker(BaseWorker):
        name = "fickle"

        def task_change(self) -> str:
            runs.append(1)
            self.register_task("fickle_new", lambda *_: "new")
            self.gearman_worker.unregister_task("fickle_change")
            return "changed"

    with running(Worker([gearman_server.host])):
        assert gearman_client.fickle_change() == "changed"
        assert gearman_client.fickle_new() == "new"
        until(lambda: workers_of(gearman_server, "fickle_change") == 0)
    assert len(runs) == 1, "the running job was given out again"


def test_a_json_worker_works_by_itself(
    gearman_server: Server, gearman_client: SimpleClient
) -> None:
    class Once(JsonWorker):
        def after_job(self) -> bool:
            return False

    worker = Once([gearman_server.host])
    worker.register_task(b"next", lambda _, job: job.data["n"] + 1)
    thread = threading.Thread(target=worker.work)
    thread.start()
    assert gearman_client.call("next", n=1) == 2
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("error", [ValueError("not so"), SystemExit(3)])
def test_what_after_job_raises_neither_loses_the_answer_nor_ends_the_worker(
    gearman_server: Server,
    gearman_client: SimpleClient,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    class Failing(JsonWorker):
        def after_job(self) -> bool:
            raise error

    class Worker(BaseWorker):
        name = "counting"
        work_class = Failing

        def setUp(self) -> None:
            self.jobs = 0

        def task_next(self) -> int:
            self.jobs += 1
            return self.jobs

        async def task_next_asynchronously(self) -> int:
            return self.task_next()

    with running(Worker([gearman_server.host])):
        assert gearman_client.counting_next() == 1
        assert gearman_client.counting_next_asynchronously() == 2
        assert gearman_client.counting_next() == 3
    assert [r for r in caplog.records if getattr(r, "action", "") == "after_job_failed"]


def test_hooks_wrap_every_job_in_their_order(
    gearman_server: Server, gearman_client: SimpleClient
) -> None:
    seen: list[str] = []

    def hook(letter: str) -> Any:
        @contextlib.contextmanager
        def around(job: GearmanJob) -> Iterator[None]:
            seen.append(f"{letter} before {job.task}")
            try:
                yield
            finally:
                seen.append(f"{letter} after")

        return around

    class Worker(BaseWorker):
        name = "hooked"
        hooks = (hook("a"), hook("b"))

        def task_fail(self) -> None:
            seen.append("task")
            raise ValueError

    with running(Worker([gearman_server.host])), pytest.raises(TaskError):
        gearman_client.hooked_fail()
    assert seen == ["a before hooked_fail", "b before hooked_fail", "task", "b after", "a after"]


class TestConstruction:
    def test_a_class_without_a_name_says_what_to_add(self) -> None:
        class Nameless(BaseWorker):
            def task_x(self) -> None: ...

        with pytest.raises(InvalidTask, match=r'Nameless has no name.*name = "nameless"'):
            Nameless()

    @pytest.mark.parametrize("bad", ["my worker", "my\0worker", "a\nb", "", 5])
    def test_a_name_that_cannot_travel_is_refused(self, bad: Any) -> None:
        class Worker(BaseWorker):
            name = bad

        with pytest.raises(InvalidTask, match=r"whitespace or control|has no name"):
            Worker()

    def test_two_workers_of_one_process_cannot_export_the_same_function(self) -> None:
        class Other(Calculator):
            pass

        shared = JsonWorker()
        Calculator(gearman_worker=shared)
        with pytest.raises(InvalidTask, match=r"calc_add\(\) of Other is exported by Calculator"):
            Other(gearman_worker=shared)

    def test_a_function_cannot_be_registered_twice(self) -> None:
        worker = Calculator()
        with pytest.raises(InvalidTask, match=r"calc_add\(\)"):
            worker.register_task("calc_add", lambda *_: None)

    @pytest.mark.parametrize("hosts", [["localhost:x"], "localhost:4730", ["localhost:99999"], [5]])
    def test_a_host_that_cannot_be_is_refused(self, hosts: Any) -> None:
        with pytest.raises(InvalidOption):
            Calculator(hosts)

    def test_an_empty_list_of_hosts_is_refused(self) -> None:
        with pytest.raises(InvalidOption, match="hosts is empty"):
            Calculator([])

    def test_a_worker_stopped_before_its_start_returns_at_once(self) -> None:
        worker = Calculator()
        worker.stop()
        worker.start()

    def test_outside_of_a_job_there_is_nothing_to_report_on(self) -> None:
        with pytest.raises(RuntimeError, match="Calculator runs no job now"):
            Calculator().progress(1, 2)


@pytest.mark.parametrize(
    ("verbosity", "expected"),
    [
        (0, []),
        (1, ["job_answered"]),
        (2, ["job_started", "job_answered"]),
    ],
)
def test_verbosity_decides_what_is_logged_of_a_job(
    gearman_server: Server,
    gearman_client: SimpleClient,
    caplog: pytest.LogCaptureFixture,
    verbosity: int,
    expected: list[str],
) -> None:
    class Worker(BaseWorker):
        name = "quiet"

        def task_keep(self, secret: str) -> None: ...

    with running(Worker([gearman_server.host], verbosity)):
        gearman_client.quiet_keep(secret="hunter2")
    records = [record for record in caplog.records if record.name == "gearmanny.worker"]

    actions = [record.action for record in records]
    assert [action for action in actions if action.startswith("job_")] == expected
    leaking = [record for record in records if "hunter2" in record.getMessage()]
    assert all(record.levelno == logging.DEBUG for record in leaking)
