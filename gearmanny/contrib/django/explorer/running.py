"""A call whose caller looks on: each update as it comes, then its end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.template.loader import render_to_string

from gearmanny.contrib.django.clients import async_client
from gearmanny.contrib.django.explorer.values import Failure, shortened, value_shown
from gearmanny.contrib.django.settings import get_settings
from gearmanny.errors import GearmanException, TaskError
from gearmanny.payload.masking import masked
from gearmanny.results import Data, Progress

_EVENT = "admin/gearmanny/jobrecord/update.html"


class Update(NamedTuple):
    """Something that a page shows of a call."""

    kind: str
    """`"progress"`, `"data"`, `"warning"`, `"result"` or `"error"`."""
    progress: Progress | None = None
    value: Any = None
    """As HTML."""
    error: Failure | None = None

    @property
    def is_last(self) -> bool:
        """Whether the call is over."""
        return self.kind in ("result", "error")


def run(function: str, arguments: Mapping[str, Any]) -> Iterator[Update]:
    """Calls a function, and yields what comes back, the end at last. Raises nothing.

    Args:
        function: its name.
        arguments: by name.
    """
    try:
        work = getattr(async_client, function)(**arguments)
        for update in work.updates(timeout=get_settings().TIMEOUT):
            if isinstance(update, Progress):
                yield Update("progress", progress=update)
            else:
                kind = "data" if isinstance(update, Data) else "warning"
                yield Update(kind, value=_shown(update.value))
        yield Update("result", value=_shown(work.get_result(get_settings().TIMEOUT)))
    except TaskError as error:
        title = shortened(f"{error.type}: {error.message}" if error.type else error.message)
        yield Update("error", error=Failure(title, error.traceback or ""))
    except GearmanException as error:
        yield Update("error", error=Failure(shortened(str(error)), ""))


def wants_events(request: HttpRequest) -> bool:
    """Returns whether a request is made by the script of the page, which reads events."""
    return "text/event-stream" in request.headers.get("Accept", "")


def stream(request: HttpRequest, updates: Iterator[Update]) -> StreamingHttpResponse:
    """Returns updates as server-sent events, each as it comes.

    Args:
        request: that asked for them.
        updates: of the call.
    """
    events = map(_event, updates)
    content: Any = _in_thread(events) if isinstance(request, ASGIRequest) else events
    response = StreamingHttpResponse(content, content_type="text/event-stream")
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"  # or nginx would keep them until there are many
    return response


async def _in_thread(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    def step() -> bytes | None:
        return next(events, None)

    while (event := await sync_to_async(step, thread_sensitive=False)()) is not None:
        yield event


def _event(update: Update) -> bytes:
    html = render_to_string(_EVENT, {"update": update})
    return f"event: {update.kind}\ndata: {json.dumps(html)}\n\n".encode()


def _shown(value: Any) -> Any:
    return value_shown(masked(value, get_settings().MASK))
