"""Spans of OpenTelemetry over calls, and how they travel.

The arguments of a job are plain JSON for workers in any language, so the trace
context travels as the job's unique id: the `traceparent` of W3C, which has 55 of
the 63 bytes that there are, a dash, and seven characters at random. To workers
that know nothing of it, it is a unique id like any other. Without those seven, two
processes that were given the same seed of `random` would make the same ids, and
gearmand would take their jobs for one.

OpenTelemetry is imported where a call is traced, and nowhere else.
"""

from __future__ import annotations

import base64
import functools
import os
import re
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gearmanny import __version__
from gearmanny.errors import InvalidOption, TaskError
from gearmanny.payload.failures import message_of, type_name
from gearmanny.payload.headers import NO_HEADERS, Headers

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_TRACED = re.compile(r"(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)


class CallSpan:
    """The span of one call, a child of the one that is current where it is made."""

    def __init__(self, span: Span, unique: bytes, headers: Headers = NO_HEADERS) -> None:
        self._span = span
        self.headers = headers
        """The rest of its context, which travels where there is a record: `tracestate`, and the
        `baggage` of the caller."""
        self.unique = unique
        """The unique id for the job, another one for every call; empty where there is no trace,
        because the process has not set OpenTelemetry up."""

    def end(self, error: BaseException | None = None) -> None:
        """Ends it. To be called once.

        Args:
            error: what the call failed with.
        """
        if error is not None:
            record_error(self._span, error)
        self._span.end()


def check_tracing() -> None:
    """Raises InvalidOption when OpenTelemetry is not installed."""
    try:
        import opentelemetry.trace  # noqa: F401, PLC0415
    except ImportError as error:
        raise InvalidOption(
            "Tracing needs opentelemetry-api: pip install 'gearmanny[opentelemetry]'"
        ) from error


def start_span(function: str) -> CallSpan:
    """Returns the span of a call that is about to be sent.

    Args:
        function: the Gearman function.

    Raises:
        InvalidOption: OpenTelemetry is not installed.
    """
    check_tracing()
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.baggage import propagation as baggage  # noqa: PLC0415
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415

    span = tracer().start_span(
        f"send {function}",
        kind=trace.SpanKind.PRODUCER,
        attributes=attributes_of("send", function),
    )
    carrier: dict[str, str] = {}
    propagator = tracecontext.TraceContextTextMapPropagator()
    propagator.inject(carrier, trace.set_span_in_context(span))
    traceparent = carrier.get("traceparent")
    if traceparent is None:
        return CallSpan(span, b"")
    another = base64.urlsafe_b64encode(os.urandom(6))[:7]
    del carrier["traceparent"]
    baggage.W3CBaggagePropagator().inject(carrier)
    return CallSpan(span, traceparent.encode() + b"-" + another, carrier)


class CallSpans(list[CallSpan]):
    """The spans of calls that are sent together, in a block that ends them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for span in self:
            span.end(error)


def traceparent_of(unique: str) -> str | None:
    """Returns the trace context that the unique id of a job is made of, or None."""
    found = _TRACED.fullmatch(unique)
    return found[1] if found else None


@functools.cache
def tracer() -> Tracer:
    """Returns what makes our spans, where OpenTelemetry is installed."""
    from opentelemetry import trace  # noqa: PLC0415

    return trace.get_tracer("gearmanny", __version__)


def attributes_of(operation: str, function: str) -> dict[str, str]:
    """Returns what the conventions of OpenTelemetry for messaging say of a job.

    Args:
        operation: `"send"` or `"process"`.
        function: the Gearman function.
    """
    return {
        "messaging.system": "gearman",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": function,
    }


def record_error(span: Span, error: BaseException) -> None:
    """Tells a span what its job failed with: of a `TaskError`, the type on the worker."""
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    remote = error.type if isinstance(error, TaskError) else None
    span.set_attribute("error.type", remote or type_name(error))
    span.record_exception(error)
    span.set_status(StatusCode.ERROR, message_of(error))
