"""The connection to one job server over which recorded jobs are handed over. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from gearmanny.errors import JobServerLost, ProtocolError
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host
from gearmanny.protocol.client import ClientConnection, Rejected, Request

logger = logging.getLogger("gearmanny.client")

_REST = 1.0
"""Seconds for which a job server is left alone that could not be reached."""

_LOOKS = 64
"""Reads of what has come back: as many as the buffers of the kernel can fill."""

Wait = Callable[[float], object]
"""Waits for so many seconds at most; may be called again."""


class Sender(Protocol):
    """A connection that never waits."""

    def send_some(self, data: bytes | memoryview, /) -> int:
        """Returns how many of the bytes have left, 0 if none can now; raises JobServerLost."""

    def receive(self) -> bytes | memoryview:
        """Returns what has arrived, if anything; raises JobServerLost."""

    def finish(self, timeout: float, /) -> None:
        """Closes it when the job server has read everything, or the time is over."""

    def close(self) -> None:
        """Closes it."""


class Line:
    """The connection to one job server."""

    def __init__(self, host: Host, max_packet: int) -> None:
        self.host = host
        self.wait: Wait | None = None
        """Waits for the connection that is being made."""
        self._max_packet = max_packet
        self._sender: Sender | None = None
        self._is_half_done = False
        """Whether something is being sent; or an interrupt has left half of it."""
        self._rest: Deadline | None = None
        self._is_reported = False

    def is_up(self) -> bool:
        """Returns whether there is a connection, which may have ended."""
        return self._sender is not None

    def may_connect(self) -> bool:
        """Returns whether a connection should be made."""
        has_rested = self._rest is None or self._rest.has_passed()
        return self._sender is None and self.wait is None and has_rested

    def connected(self, sender: Sender) -> None:
        self._machine = ClientConnection(self._max_packet)
        self._unsent: bytes | memoryview = b""
        self._rest, self._is_reported, self._is_half_done = None, False, False
        self._sender = sender

    def failed(self, reason: object) -> None:
        """Leaves the job server alone for a while, and says so once."""
        self._rest = Deadline(_REST)
        if not self._is_reported:
            self._is_reported = True
            logger.warning(
                "Recorded jobs are not handed over to %s, but left to the dispatchers: %s",
                self.host,
                reason,
                extra={"action": "hand_over_failed"},
            )

    def send(self, requests: Sequence[Request]) -> bool:
        """Sends jobs, as far as they leave at once. Reads what has come back before.

        Returns:
            Whether this line has taken them: the connection has not ended, and nothing else waits
            to leave.
        """
        sender, is_taken = self._sender, False
        assert sender is not None
        if self._is_half_done:
            self._drop(sender)
            return False
        self._is_half_done = True
        try:
            self._read(sender)
            if not self._unsent or self._flush(sender):
                is_taken = True
                for request in requests:
                    self._machine.submit(request.unique, *request)
                self._flush(sender)
        except (JobServerLost, ProtocolError):
            self._drop(sender)
        self._is_half_done = False
        return is_taken

    def take(self) -> Sender | None:
        """Returns the connection, if there is one, for somebody else to close."""
        sender, self._sender = self._sender, None
        return sender

    def _drop(self, sender: Sender) -> None:
        self._sender = None
        sender.close()

    def _read(self, sender: Sender) -> None:
        for _ in range(_LOOKS):
            if not (data := sender.receive()):
                return
            for _, event in self._machine.receive(data):
                if isinstance(event, Rejected):
                    self.failed(f"it refuses them ({event.code.decode(errors='replace')})")

    def _flush(self, sender: Sender) -> bool:
        while data := self._unsent or self._machine.data_to_send():
            sent = sender.send_some(data)
            self._unsent = memoryview(data)[sent:]
            if not sent:
                return False
        return True
