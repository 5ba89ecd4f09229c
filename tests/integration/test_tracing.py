"""Spans around calls and jobs, made by the SDK of OpenTelemetry."""

from __future__ import annotations

import contextlib
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gearmanny.calling import tracing
from gearmanny.client import SimpleClient
from gearmanny.contrib.opentelemetry import spans
from gearmanny.errors import TaskError
from gearmanny.payload.names import check_unique
from gearmanny.records.sql import SQLStore
from gearmanny.worker import BaseWorker, task
from tests.support.clients import KINDS, MakeClient
from tests.support.servers import PATIENCE, Server, find_program, until, working


@pytest.fixture(scope="module")
def all_spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def exported(all_spans: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    all_spans.clear()
    yield all_spans
    all_spans.clear()


@pytest.fixture
def traced(gearman_server: Server, unique_name: str) -> Iterator[str]:
    """The name of a worker whose jobs are spans."""

    class Worker(BaseWorker):
        name = unique_name
        hooks = [spans]

        def task_add(self, a: int, b: int) -> int:
            trace.get_current_span().set_attribute("sum", a + b)
            return a + b

        def task_fail(self) -> None:
            raise ValueError("not so")

        @task(retries=1, backoff=0.0)
        def task_second(self) -> int:
            attempt: int = self.job.attempt  # type: ignore[union-attr]
            if attempt == 1:
                raise OSError
            return attempt

    with working(Worker([gearman_server.host])):
        yield unique_name


def of_jobs(exporter: InMemorySpanExporter, number: int) -> list[ReadableSpan]:
    """Returns the spans of so many jobs; an answer may be here before its span was exported."""

    def found() -> list[ReadableSpan]:
        return [s for s in exporter.get_finished_spans() if s.kind is SpanKind.CONSUMER]

    until(lambda: len(found()) == number, f"{number} spans of jobs")
    return found()


def call_with_unique(host: str, function: str, unique: bytes, payload: str) -> str:
    """Calls as the C library does, which knows nothing of traces."""
    program = find_program("gearman", "gearman-tools")
    name, port = host.split(":")
    return subprocess.run(
        [program, "-h", name, "-p", port, "-f", function, "-u", unique.decode(), payload],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    ).stdout


def test_a_job_is_a_span_that_its_task_may_add_to(
    gearman_client: SimpleClient, traced: str, exported: InMemorySpanExporter
) -> None:
    assert gearman_client.call(f"{traced}_add", a=1, b=2) == 3
    (span,) = of_jobs(exported, 1)
    assert span.name == f"process {traced}_add"
    assert span.parent is None
    attributes = dict(span.attributes or {})
    assert str(attributes.pop("messaging.message.id")).startswith("H:")
    assert attributes == {
        "messaging.system": "gearman",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": f"{traced}_add",
        "gearmanny.attempt": 1,
        "sum": 3,
    }
    assert span.status.status_code is StatusCode.UNSET


def test_a_failure_is_recorded(
    gearman_client: SimpleClient, traced: str, exported: InMemorySpanExporter
) -> None:
    with pytest.raises(TaskError):
        gearman_client.call(f"{traced}_fail")
    (span,) = of_jobs(exported, 1)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "not so")
    assert (span.attributes or {})["error.type"] == "builtins.ValueError"
    assert [event.name for event in span.events] == ["exception"]


def test_every_attempt_is_a_span(
    gearman_client: SimpleClient, traced: str, exported: InMemorySpanExporter
) -> None:
    assert gearman_client.call(f"{traced}_second") == 2
    found = of_jobs(exported, 2)
    assert [(s.attributes or {})["gearmanny.attempt"] for s in found] == [1, 2]


def test_the_trace_of_a_caller_goes_on_in_the_job_and_arguments_stay_as_they_are(
    gearman_server: Server, traced: str, exported: InMemorySpanExporter
) -> None:
    with trace.get_tracer("test").start_as_current_span("request") as request:
        call = tracing.start_span(f"{traced}_add")
    check_unique(call.unique)
    answer = call_with_unique(gearman_server.host, f"{traced}_add", call.unique, '{"a": 1, "b": 2}')
    assert answer == "3"
    call.end()

    (job,) = of_jobs(exported, 1)
    (sent,) = [s for s in exported.get_finished_spans() if s.kind is SpanKind.PRODUCER]
    assert sent.name == f"send {traced}_add"
    assert sent.parent == request.get_span_context()
    assert job.parent is not None
    assert sent.context is not None
    assert job.parent.span_id == sent.context.span_id
    assert job.parent.is_remote
    assert job.context is not None
    assert job.context.trace_id == request.get_span_context().trace_id


@pytest.mark.parametrize("kind", KINDS)
def test_traced_calls_of_any_client_are_spans_that_their_jobs_continue(
    gearman_server: Server, traced: str, exported: InMemorySpanExporter, kind: str
) -> None:
    with (
        contextlib.closing(MakeClient(KINDS[kind])) as make,
        trace.get_tracer("test").start_as_current_span("request") as request,
    ):
        client = make(gearman_server.host, timeout=PATIENCE).using(trace=True)
        assert client.call(f"{traced}_add", a=1, b=2) == 3
        work = client.submit(f"{traced}_add", a=1, b=3)
        assert work.get_result() == 4
        assert tracing.traceparent_of(work.unique or "")
    jobs = of_jobs(exported, 2)
    sent = [s for s in exported.get_finished_spans() if s.kind is SpanKind.PRODUCER]
    assert [s.parent for s in sent] == [request.get_span_context()] * 2
    assert {s.parent.span_id for s in jobs if s.parent} == {
        s.context.span_id for s in sent if s.context
    }


@pytest.mark.parametrize(
    "unique",
    ["order-5", "f:order-5", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", "00-" * 20],
)
def test_any_other_unique_id_begins_a_trace(
    gearman_server: Server, traced: str, exported: InMemorySpanExporter, unique: str
) -> None:
    call_with_unique(gearman_server.host, f"{traced}_add", unique.encode(), '{"a": 1, "b": 2}')
    (span,) = of_jobs(exported, 1)
    assert span.parent is None


def test_the_traceparent_of_another_library_is_understood(
    gearman_server: Server, traced: str, exported: InMemorySpanExporter
) -> None:
    unique = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    call_with_unique(gearman_server.host, f"{traced}_add", unique, '{"a": 1, "b": 2}')
    (span,) = of_jobs(exported, 1)
    assert span.parent is not None
    assert format(span.parent.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"


def test_no_two_calls_have_the_same_unique_id(exported: InMemorySpanExporter) -> None:
    def uniques() -> set[bytes]:
        random.seed(5)  # the SDK takes its ids from there
        return {tracing.start_span("f").unique for _ in range(10)}

    assert len(uniques() | uniques()) == 20


def test_a_call_that_failed_says_with_what(exported: InMemorySpanExporter) -> None:
    tracing.start_span("f").end(TaskError("f", "builtins.ValueError", "not so"))
    tracing.start_span("f").end(TimeoutError("late"))
    failed, late = exported.get_finished_spans()
    assert (failed.attributes or {})["error.type"] == "builtins.ValueError"
    assert (late.attributes or {})["error.type"] == "builtins.TimeoutError"
    assert {failed.status.status_code, late.status.status_code} == {StatusCode.ERROR}


def test_a_traced_call_goes_on_in_its_worker(
    gearman_client: SimpleClient, traced: str, exported: InMemorySpanExporter
) -> None:
    calling = gearman_client.using(trace=True)
    assert [calling.call(f"{traced}_add", a=a, b=2) for a in (1, 1)] == [3, 3]
    done = of_jobs(exported, 2)
    sent = [span for span in exported.get_finished_spans() if span.kind is SpanKind.PRODUCER]
    parents = {span.parent.span_id for span in done if span.parent is not None}
    assert parents == {span.context.span_id for span in sent if span.context is not None}
    assert len(parents) == 2


def test_the_baggage_of_a_recorded_call_is_there_in_its_task(
    gearman_server: Server, exported: InMemorySpanExporter, tmp_path: Path
) -> None:
    class Carried(BaseWorker):
        name = "carried"
        hooks = [spans]

        def task_user(self) -> object:
            return baggage.get_baggage("user")

        async def task_user_later(self) -> object:
            return baggage.get_baggage("user")

    with contextlib.closing(SQLStore(f"sqlite:///{tmp_path / 'jobs.db'}")) as store:
        client = SimpleClient([gearman_server.host], timeout=PATIENCE, records=store)
        with client, working(Carried([gearman_server.host], records=store)):
            traced = client.using(trace=True, background=True)
            token = attach(baggage.set_baggage("user", "7"))
            works = [traced.carried_user(), traced.carried_user_later()]
            detach(token)
            assert [work.get_result(timeout=PATIENCE) for work in works] == ["7", "7"]
            plain = client.using(trace=True)
            assert plain.carried_user() is None
    parents = {span.parent.span_id for span in of_jobs(exported, 3) if span.parent is not None}
    sent = {span.context.span_id for span in exported.get_finished_spans() if span.context}
    assert len(parents) == 3
    assert parents < sent
