"""The log of the connections that a job server refuses."""

from __future__ import annotations

import logging
import time
from collections import deque

logger = logging.getLogger("gearmanny.server")

_LOGGED_PER_MINUTE = 20
"""Refused connections that are logged; the others are counted."""


class RefusalLog:
    """Logs why connections are closed, at a limited rate, so that no peer can flood the log."""

    def __init__(self) -> None:
        self._logged: deque[float] = deque(maxlen=_LOGGED_PER_MINUTE)
        self._unlogged = 0

    def add(self, address: str, reason: str) -> None:
        """Logs or counts a refused connection.

        Args:
            address: the address of the peer.
            reason: the reason.
        """
        now = time.monotonic()
        if len(self._logged) == _LOGGED_PER_MINUTE and now - self._logged[0] < 60:
            self._unlogged += 1
            return
        self._logged.append(now)
        more = f" (and {self._unlogged} others recently)" if self._unlogged else ""
        self._unlogged = 0
        logger.warning(
            "closing a connection of %s: %s%s",
            address,
            reason,
            more,
            extra={"action": "peer_refused"},
        )
