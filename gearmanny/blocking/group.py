"""Calls that are waited for together."""

from __future__ import annotations

from collections import deque
from typing import Any

from gearmanny.calling.call import Call
from gearmanny.calling.exchange import Exchange


class Group:
    """Calls of which somebody waits for any to end."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended: deque[Call[Any]] = deque()
        """Those that have ended, or have to be sent again, in their order. An interrupt may
        have one noticed twice."""

    def notice(self, exchange: Exchange[Any]) -> None:
        """Notes that a call has ended, or has to be sent again. It is watched no longer."""
        assert isinstance(exchange, Call)
        self.ended.append(exchange)
        exchange.unwatch(self)
