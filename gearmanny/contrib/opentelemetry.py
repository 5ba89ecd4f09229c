"""Spans of OpenTelemetry around jobs: `pip install 'gearmanny[opentelemetry]'`.

`spans` is a hook. If the call was made with `using(trace=True)`, the span continues the trace of
the caller; `gearmanny.calling.tracing` describes how the trace is passed on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gearmanny.calling.tracing import attributes_of, record_error, traceparent_of, tracer
from gearmanny.hooks import never_waits
from gearmanny.payload.headers import NO_HEADERS
from gearmanny.vocabulary.gearman_api import GearmanJob

try:
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.context import Context, attach, detach
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImportError(
        "The spans need opentelemetry-api: pip install 'gearmanny[opentelemetry]'"
    ) from error

__all__ = ["spans"]

_propagator, _baggage = TraceContextTextMapPropagator(), W3CBaggagePropagator()


@never_waits
@contextmanager
def spans(job: GearmanJob) -> Iterator[None]:
    """Runs a job in a span, which is the current span while it runs.

    Each attempt at a job that is retried has its own span.

    Args:
        job: the job.

    Returns:
        A context manager for the job.
    """
    context = _context_of_caller(job)
    with (
        _attached(context),
        tracer().start_as_current_span(
            f"process {job.task}",
            context=context,
            kind=SpanKind.CONSUMER,
            attributes={
                **attributes_of("process", job.task),
                "messaging.message.id": job.handle,
                "gearmanny.attempt": getattr(job, "attempt", 1),
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span,
    ):
        try:
            yield
        except BaseException as error:
            record_error(span, error)
            raise


@contextmanager
def _attached(context: Context | None) -> Iterator[None]:
    """Runs the block in a context: a span that is made current there leaves out its baggage."""
    if context is None:
        yield
        return
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def _context_of_caller(job: GearmanJob) -> Context | None:
    # Of a job with a record, the unique id is that of the record, which has its trace.
    traceparent = getattr(job, "traceparent", "") or traceparent_of(job.unique)
    if not traceparent:
        return None
    headers = getattr(job, "headers", NO_HEADERS)
    carrier = {**headers, "traceparent": traceparent}
    return _baggage.extract(carrier, context=_propagator.extract(carrier))
