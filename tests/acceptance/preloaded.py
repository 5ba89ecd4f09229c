"""A web application whose client has a connection before its server forks or starts threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from gearmanny.client import SimpleClient

client = SimpleClient([os.environ["GEARMAN_HOST"]], timeout=20)
assert client.web_echo(value="preloaded") == "preloaded"


def answer(query: bytes) -> bytes:
    """Returns our pid, and what the worker answered to a number."""
    return b"%d %d" % (os.getpid(), client.web_echo(value=int(query)))


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    body = answer(environ["QUERY_STRING"].encode())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(
    scope: dict[str, Any], receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    if scope["type"] != "http":
        return
    body = await asyncio.to_thread(answer, scope["query_string"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
