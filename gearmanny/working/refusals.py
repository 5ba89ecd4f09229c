"""The log of what job servers refuse: a server that refuses without end must not fill the disk."""

from __future__ import annotations

import logging
import time

from gearmanny.errors import printable
from gearmanny.net.hosts import Host
from gearmanny.protocol.worker import Refused

logger = logging.getLogger("gearmanny.worker")

_MOST = 10
"""Refusals that are logged in one period."""

_PERIOD = 1.0
"""Seconds."""


class Refusals:
    """Logs refusals: so many in a period; of the others, how many there were."""

    def __init__(self) -> None:
        self._until = 0.0
        self._logged = 0
        self._left_out = 0

    def log(self, host: Host, refused: Refused) -> None:
        """Logs a refusal, unless there were too many.

        Args:
            host: the job server.
            refused: its words.
        """
        now = time.monotonic()
        if now >= self._until:
            self._until, self._logged = now + _PERIOD, 0
        if self._logged == _MOST:
            self._left_out += 1
            return
        self._logged += 1
        left_out, self._left_out = self._left_out, 0
        logger.warning(
            "the job server %s refused: %s (%s)%s",
            host,
            printable(refused.code.decode(errors="replace")),
            printable(refused.text.decode(errors="replace")),
            f"; {left_out} refusals before this one were not logged" if left_out else "",
            extra={"action": "server_refused"},
        )
