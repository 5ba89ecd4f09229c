"""The strictest policy for the content of pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def strict(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A middleware that sends the policy."""

    def middleware(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'"
        return response

    return middleware
