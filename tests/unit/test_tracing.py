"""Spans around calls, and the unique id in which a trace travels; without an SDK."""

from __future__ import annotations

import sys

import pytest

from gearmanny.calling import tracing
from gearmanny.errors import InvalidOption, TaskError

trace = pytest.importorskip("opentelemetry.trace")

from opentelemetry import baggage  # noqa: E402
from opentelemetry.context import attach, detach  # noqa: E402

PARENT = trace.SpanContext(0xA, 0xB, is_remote=False, trace_flags=trace.TraceFlags(1))


class RecordingSpan(trace.NonRecordingSpan):  # type: ignore[misc, name-defined]
    """A span that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(PARENT)
        self.attributes: dict[str, object] = {}
        self.errors: list[BaseException] = []
        self.ended = 0

    def set_attribute(self, key: str, value: object) -> None:
        self.attributes[key] = value

    def record_exception(self, exception: BaseException, *args: object, **kwargs: object) -> None:
        self.errors.append(exception)

    def end(self, end_time: int | None = None) -> None:
        self.ended += 1


def test_a_trace_travels_as_the_unique_id_another_one_for_each_call() -> None:
    with trace.use_span(trace.NonRecordingSpan(PARENT)):
        ids = [tracing.start_span("f").unique for _ in range(2)]
    assert ids[0] != ids[1]
    for unique in ids:
        assert len(unique) == 63
        assert tracing.traceparent_of(unique.decode()) == f"00-{0xA:032x}-{0xB:016x}-01"


def test_the_rest_of_a_context_travels_where_there_is_a_record() -> None:
    state = trace.TraceState([("vendor", "x")])
    parent = trace.SpanContext(0xA, 0xB, True, trace.TraceFlags(1), state)
    context = baggage.set_baggage(
        "user", "7", trace.set_span_in_context(trace.NonRecordingSpan(parent))
    )
    token = attach(context)
    try:
        assert tracing.start_span("f").headers == {"tracestate": "vendor=x", "baggage": "user=7"}
    finally:
        detach(token)
    with trace.use_span(trace.NonRecordingSpan(PARENT)):
        assert tracing.start_span("f").headers == {}


def test_where_there_is_no_trace_nothing_travels() -> None:
    assert tracing.start_span("f").unique == b""
    assert tracing.traceparent_of("f:key") is None


def test_without_opentelemetry_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(InvalidOption, match="opentelemetry"):
        tracing.check_tracing()


def test_spans_end_with_the_block_and_keep_its_error() -> None:
    good, bad = RecordingSpan(), RecordingSpan()
    with tracing.CallSpans() as spans:
        spans.append(tracing.CallSpan(good, b""))
    failed = tracing.CallSpans([tracing.CallSpan(bad, b"")])
    error = TaskError("f", "builtins.ValueError", "no luck")
    with pytest.raises(TaskError), failed:
        raise error
    assert (good.ended, good.errors, bad.ended, bad.errors) == (1, [], 1, [error])
    assert bad.attributes == {"error.type": "builtins.ValueError"}
    tracing.record_error(good, KeyError("a"))
    assert good.attributes == {"error.type": "builtins.KeyError"}


def test_attributes_are_those_of_messaging() -> None:
    assert tracing.attributes_of("send", "f")["messaging.destination.name"] == "f"
