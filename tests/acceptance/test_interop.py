"""Other languages: the `gearman` command, made of libgearman in C, calls our workers, and works for
our clients."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gearmanny import embedded
from gearmanny.admin import FunctionStatus, JobServer
from gearmanny.client import AsyncClient, JobState, RawClient, SimpleClient, Warning
from gearmanny.errors import TaskError
from gearmanny.worker import BaseWorker, RawWorker
from tests.support.servers import PATIENCE, Gearmand, end, find_program, until, working

PAYLOADS = {
    "empty": b"",
    "unicode": "Grüße, 日本 🎉".encode(),
    "every byte": bytes(range(256)) * 2,
    "NULs": b"\0\0\0",
    "a mebibyte": bytes(range(256)) * 4096,
}
every_payload = pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)


Server = Gearmand | embedded.JobServer


def status_of(job_server: Server, function: str) -> FunctionStatus:
    """The row of a function at the job server, also if it does not know the function."""
    rows = {row.function: row for row in JobServer(job_server.host).status()}
    return rows.get(function, FunctionStatus(function, 0, 0, 0))


class Texts(BaseWorker):
    name = "texts"

    def task_echo(self, text):
        "Echoes the text"
        return text

    def task_lines(self, text):
        yield from text.splitlines()

    def task_warn(self, text):
        self.send_job_warning(text)
        return "done"

    def task_fail(self):
        raise ValueError("Größe")


class Bytes(BaseWorker):
    name = "bytes"
    work_class = RawWorker

    def task_echo(self, data: bytes) -> bytes:
        "Echoes the bytes"
        return data

    def task_lines(self, data: bytes) -> Iterator[bytes]:
        yield from data.splitlines(keepends=True)

    def task_warn(self, data: bytes) -> bytes:
        self.send_job_warning(data)
        return b"done"

    def task_warn_and_fail(self, data: bytes) -> bytes:
        self.send_job_warning(data)
        raise ValueError("Größe")


class Noting(BaseWorker):
    """Notes what it is called with. `name` is given to a subclass by each test."""

    work_class = RawWorker

    def setUp(self) -> None:
        self.noted: list[bytes] = []

    def task_note(self, data: bytes) -> bytes:
        self.noted.append(data)
        return data


class Command:
    """The `gearman` command."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._program = [find_program("gearman", "gearman-tools"), "-h", "127.0.0.1"]
        self._program += ["-p", str(server.port)]

    def call(self, function: str, *options: str, data: bytes = b"") -> tuple[int, bytes, str]:
        """Calls a function; returns the exit code, the output and what it complains of."""
        done = subprocess.run(
            [*self._program, "-f", function, *options],
            input=data,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr.decode()

    @contextlib.contextmanager
    def calling(self, function: str, *options: str) -> Iterator[subprocess.Popen[str]]:
        """Calls a function without waiting for the answer."""
        process = subprocess.Popen(
            [*self._program, "-f", function, *options], stdout=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            end(process)

    @contextlib.contextmanager
    def working(self, function: str, script: str, *options: str) -> Iterator[None]:
        """Serves a function with a shell script, which reads the payload and prints the result."""
        process = subprocess.Popen(
            [*self._program, "-w", "-f", function, *options, "--", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            until(lambda: status_of(self._server, function).workers, "the foreign worker")
            yield
        finally:
            end(process)


@pytest.fixture(scope="module", params=["gearmand", "embedded"])
def job_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Both kinds: libgearman is particular about what job servers say."""
    with Gearmand() if request.param == "gearmand" else embedded.JobServer() as server:
        yield server


@pytest.fixture(scope="module")
def workers(job_server: Server) -> Iterator[None]:
    hosts = [job_server.host]
    with working(Texts(hosts), Bytes(hosts)):
        yield


@pytest.fixture
def gearman(job_server: Server) -> Command:
    return Command(job_server)


@pytest.fixture(scope="module")
def echo(job_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A function of a foreign worker. The command reads nothing before it has written all: what
    a plain `cat` answers to more than a pipe holds would keep both waiting for ever."""
    payload = tmp_path_factory.mktemp("echo") / "payload"
    with Command(job_server).working("their_echo", f"cat > {payload}; cat {payload}"):
        yield "their_echo"


@pytest.fixture
def client(job_server: Server) -> Iterator[SimpleClient]:
    with SimpleClient([job_server.host], timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def async_client(job_server: Server) -> Iterator[AsyncClient]:
    with AsyncClient([job_server.host], timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def raw_client(job_server: Server) -> Iterator[RawClient]:
    with RawClient([job_server.host], timeout=PATIENCE) as client:
        yield client


def noting(job_server: Server, name: str) -> Noting:
    return type("Noting", (Noting,), {"name": name})([job_server.host])


@pytest.mark.usefixtures("workers")
class TestOurWorkers:
    """A foreign client calls them."""

    @every_payload
    def test_bytes_are_taken_and_given_as_they_are(self, gearman: Command, payload: bytes) -> None:
        assert gearman.call("bytes_echo", data=payload) == (0, payload, "")

    def test_a_call_may_come_without_a_payload(self, gearman: Command) -> None:
        assert gearman.call("bytes_echo", "-s") == (0, b"", "")

    def test_json_is_taken_and_given_as_people_write_it(self, gearman: Command) -> None:
        called = gearman.call("texts_echo", '{"text": "Grüße, 日本 🎉"}')

        assert called == (0, '"Grüße, 日本 🎉"'.encode(), "")

    @pytest.mark.parametrize(
        ("function", "payload", "type_", "message"),
        [
            ("texts_fail", "{}", "builtins.ValueError", "Größe"),
            ("bytes_warn_and_fail", "w", "builtins.ValueError", "Größe"),
            ("texts_echo", "{}", "InvalidArguments", "missing required argument: 'text'"),
            ("texts_echo", "no JSON", "EncodingError", "cannot decode a payload of 7 bytes"),
        ],
    )
    def test_a_failure_is_told_as_json_and_by_the_exit_code(
        self, gearman: Command, function: str, payload: str, type_: str, message: str
    ) -> None:
        code, output, complaints = gearman.call(function, payload)

        assert code == 1
        assert output == b""
        told = complaints[complaints.index('{"gearmanny_error"') : complaints.rindex("}") + 1]
        failure = json.loads(told)["gearmanny_error"]
        assert failure["type"].endswith(type_)
        assert message in failure["message"]

    def test_data_comes_ahead_of_the_whole_result(self, gearman: Command) -> None:
        assert gearman.call("bytes_lines", data=b"1\n\xff\n") == (0, b"1\n\xff\n" * 2, "")
        assert gearman.call("texts_lines", r'{"text": "1\n2"}') == (0, b'"1""2"["1","2"]', "")

    def test_a_warning_is_told_beside_the_result(self, gearman: Command) -> None:
        code, output, complaints = gearman.call("bytes_warn", "the disk is nearly full")
        assert (code, output) == (0, b"done")
        assert "the disk is nearly full" in complaints

        code, output, complaints = gearman.call("texts_warn", '{"text": "nearly"}')
        assert (code, output) == (0, b'"done"')
        assert '"nearly"' in complaints

    def test_the_help_is_json_also_of_a_worker_without_json(self, gearman: Command) -> None:
        code, output, _ = gearman.call("bytes_help", "-s")

        assert code == 0
        entry = json.loads(output)["bytes_echo"]
        assert entry["description"] == "Echoes the bytes"
        assert entry["payload"] == "data"

    def test_background_jobs_of_all_are_given_out_by_priority(
        self, gearman: Command, job_server: Server, raw_client: RawClient, unique_name: str
    ) -> None:
        function = f"{unique_name}_note"
        later = raw_client.using(background=True)
        gearman.call(function, "-b", "-L", "their low")
        later.using(priority="low").call(function, b"our low")
        gearman.call(function, "-b", "their normal")
        later.call(function, b"our normal")
        gearman.call(function, "-b", "-I", "their high")
        later.using(priority="high").call(function, b"our high")

        worker = noting(job_server, unique_name)
        with working(worker):
            until(lambda: len(worker.noted) == 6, "the jobs")

        assert worker.noted == [
            *(b"their high", b"our high"),
            *(b"their normal", b"our normal"),
            *(b"their low", b"our low"),
        ]

    def test_calls_with_one_key_are_one_job_whoever_calls(
        self, gearman: Command, job_server: Server, async_client: AsyncClient, unique_name: str
    ) -> None:
        function = f"{unique_name}_note"
        worker = noting(job_server, unique_name)
        with gearman.calling(function, "-u", "f:today", '{"by":"them"}') as theirs:
            until(lambda: status_of(job_server, function).total == 1, "their call")
            ours = async_client.using(unique="today").call(function, by="us")
            assert ours.status().state is JobState.QUEUED
            with working(worker):
                assert theirs.communicate(timeout=PATIENCE) == ('{"by":"them"}', None)
                assert ours.get_result() == {"by": "them"}

        assert worker.noted == [b'{"by":"them"}']


class TestTheirWorkers:
    """Our clients call them."""

    @every_payload
    def test_bytes_are_taken_and_given_as_they_are(
        self, raw_client: RawClient, echo: str, payload: bytes
    ) -> None:
        assert raw_client.call(echo, payload) == payload

    def test_a_function_is_called_like_a_method(self, raw_client: RawClient, echo: str) -> None:
        assert raw_client.their_echo(b"payload") == b"payload"
        assert raw_client.their_echo() == b""

    def test_keywords_arrive_as_one_object_of_json(self, client: SimpleClient, echo: str) -> None:
        assert client.call(echo, text="Grüße, 日本 🎉", many=[1, None]) == {
            "text": "Grüße, 日本 🎉",
            "many": [1, None],
        }

    def test_results_of_many_payloads_come_in_their_order(
        self, raw_client: RawClient, echo: str
    ) -> None:
        payloads = [b"%d" % number for number in range(30)]

        assert list(raw_client.map(echo, payloads, window=10)) == payloads

    def test_what_it_printed_before_it_failed_is_why(
        self, gearman: Command, client: SimpleClient, unique_name: str
    ) -> None:
        with (
            gearman.working(unique_name, "echo Der Datenträger ist voll; exit 3"),
            pytest.raises(TaskError, match="voll") as caught,
        ):
            client.call(unique_name)

        assert (caught.value.type, caught.value.message) == (None, "Der Datenträger ist voll")

    def test_a_part_of_many_is_not_why_it_failed(
        self, gearman: Command, client: SimpleClient, unique_name: str
    ) -> None:
        with (
            gearman.working(unique_name, "echo one; echo two; exit 3", "-n"),
            pytest.raises(TaskError, match="its worker gave no reason"),
        ):
            client.call(unique_name)

    def test_its_data_is_a_stream(
        self, gearman: Command, raw_client: RawClient, unique_name: str
    ) -> None:
        with gearman.working(unique_name, "cat; echo two", "-n"):
            parts = list(raw_client.stream(unique_name, b"one\n"))

        assert parts == [b"one\n", b"one\ntwo\n"]  # with every line, 1.1.20 sends those before

    def test_a_result_without_data_is_a_stream_of_one_part(
        self, raw_client: RawClient, echo: str
    ) -> None:
        assert list(raw_client.stream(echo, b"whole")) == [b"whole"]
        assert list(raw_client.stream(echo)) == []

    def test_its_jobs_wait_in_the_background_by_priority(
        self, gearman: Command, raw_client: RawClient, unique_name: str, tmp_path: Path
    ) -> None:
        noted = tmp_path / "noted"
        later = raw_client.using(background=True)
        for priority in ("low", "normal", "high"):
            later.using(priority=priority).call(unique_name, f"{priority} ".encode())

        with gearman.working(unique_name, f"cat >> {noted}"):
            until(lambda: noted.exists() and "low" in noted.read_text(), "the last job")

        assert noted.read_text() == "high normal low "


def test_a_warning_in_words_is_text_to_clients_that_speak_json(
    job_server: Server, async_client: AsyncClient, raw_client: RawClient, unique_name: str
) -> None:
    class Warner(BaseWorker):  # plays a foreign one: the command has no way to warn
        name = unique_name
        work_class = RawWorker

        def task_work(self, data: bytes) -> bytes:
            for warning in ("fast voll: ä", '{"left": 1}'):
                self.send_job_warning(warning.encode())
            return b"true"

    function = f"{unique_name}_work"
    with working(Warner([job_server.host])):
        work = async_client.call(function)
        assert list(work.updates(PATIENCE)) == [Warning("fast voll: ä"), Warning({"left": 1})]
        assert work.get_result() is True

        warned: list[Warning] = []
        assert raw_client.using(on_update=warned.append).call(function) == b"true"
        assert warned == [Warning("fast voll: ä".encode()), Warning(b'{"left": 1}')]
