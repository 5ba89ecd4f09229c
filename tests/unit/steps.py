"""A driver of steps for tests: what each step is answered with is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gearmanny.calling.again import Again
from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Cancelled
from gearmanny.calling.options import CallOptions
from gearmanny.calling.pool import Pool
from gearmanny.calling.steps import Give
from gearmanny.calling.walk import Walk
from gearmanny.errors import EncodingError
from gearmanny.net.hosts import Host, Servers
from gearmanny.protocol.client import Request
from gearmanny.vocabulary.encoders import JSONDataEncoder

A, B, C = (Host(name, 4730) for name in "abc")

REQUEST = Request(b"f", b"{}", b"unique")


class FakeLine:
    """A connection that nothing is sent over."""

    def __init__(self, host: Host = A) -> None:
        self.host = host
        self.tls = None
        self.given_up = False
        self.cancelled = Cancelled()
        self.up = True

    def usable(self) -> bool:
        return self.up


def pool_of(*hosts: Host, connect_timeout: float = 60) -> Pool[str, FakeLine]:
    return Pool(Servers([*hosts], connect_timeout, 1000, None))


def call_of(
    line: FakeLine | None = None,
    request: Request | EncodingError = REQUEST,
    pool: Pool[Any, Any] | None = None,
    **options: Any,
) -> Call[FakeLine]:
    """A call that was just sent; one that may be sent again where a pool is given."""
    again = None if pool is None else Again(REQUEST, None, pool)
    return Call(
        line or FakeLine(), "f", JSONDataEncoder, CallOptions(**options), request, again=again
    )


def carry_out(steps: Any, *answers: Any) -> tuple[Any, list[Any], list[Any]]:
    """Carries out steps.

    Args:
        steps: the generator.
        answers: one for each step that gives nothing: a value, an exception to be thrown in, or
            a function of the step, which returns the value.

    Returns:
        What the steps lead to, the steps that were answered, and what was given.
    """
    left, seen, given = list(answers), [], []
    walk: Walk[Any, Any] = Walk(steps)
    while (step := walk.step) is not None:
        if isinstance(step, Give):
            given.append(step.item)
            walk.answer(None)
            continue
        seen.append(step)
        answer = left.pop(0)
        try:
            answered = answer(step) if isinstance(answer, Callable) else answer  # type: ignore[arg-type]
        except Exception as error:
            answered = error
        if isinstance(answered, Exception):
            walk.fail(answered)
        else:
            walk.answer(answered)
    assert not left, "there were fewer steps"
    return walk.result, seen, given
