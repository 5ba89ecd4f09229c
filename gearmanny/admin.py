"""Questions to a job server about itself: its status, its workers, its version."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from gearmanny.errors import JobServerError
from gearmanny.net.hosts import CONNECT_TIMEOUT, parse_host
from gearmanny.net.question import ask
from gearmanny.net.tls import TLS, TLSOption
from gearmanny.protocol.admin import (
    AdminConnection,
    FunctionStatus,
    Row,
    Rows,
    WorkerStatus,
    parse_status,
    parse_worker,
    read_rows,
)
from gearmanny.protocol.versions import Trap, traps_of

__all__ = ["FunctionStatus", "JobServer", "Rows", "Trap", "WorkerStatus"]

logger = logging.getLogger("gearmanny.admin")

Answer = TypeVar("Answer")

_line = AdminConnection.receive_line


class JobServer:
    """Asks a job server about itself. Every question uses a connection of its own."""

    def __init__(
        self, host: str, timeout: float | None = CONNECT_TIMEOUT, *, tls: TLSOption = None
    ) -> None:
        """
        Args:
            host: its address, `"name:port"`, `"[address]:port"` or `"unix:/path"`.
            timeout: seconds for a question to be answered, connecting included; None waits
                for as long as it takes.
            tls: how it is secured: True for the authorities that the system trusts, a dict with
                the paths of PEM files `"ca"`, `"cert"` and `"key"`, each optional, or an
                `ssl.SSLContext`. None, the default, for plain connections.

        Raises:
            InvalidOption: the host or `tls` is invalid.
        """
        self._host = parse_host(host)
        self._timeout = timeout
        self._tls = TLS.of(tls)

    def __str__(self) -> str:
        return str(self._host)

    def status(self) -> Rows[FunctionStatus]:
        """Returns a row for every function that the server knows: its jobs and its workers.

        Rows that cannot be read, because of a line break in the name of a function, are left out:
        a warning is logged, and `skipped_count` of the list says how many there are.

        Raises:
            JobServerUnavailable: no connection, or no answer in time.
            JobServerLost: the connection ended before the answer was whole.
            JobServerError: the server refused.
            ProtocolError: the other side is no job server.
        """
        return self._rows("status", parse_status)

    def workers(self) -> Rows[WorkerStatus]:
        """Returns a row for every connection of the server, without those that cannot be read.

        Raises:
            JobServerUnavailable: no connection, or no answer in time.
            JobServerLost: the connection ended before the answer was whole.
            JobServerError: the server refused.
            ProtocolError: the other side is no job server.
        """
        return self._rows("workers", parse_worker)

    def version(self) -> str:
        """Returns the version of the server, `"1.1.20+ds"`.

        Raises:
            JobServerUnavailable: no connection, or no answer in time.
            JobServerLost: the connection ended before the answer was whole.
            JobServerError: the server refused.
            ProtocolError: the other side is no job server.
        """
        return self._ask("version", _line)

    def traps(self) -> list[Trap]:
        """Returns what takes users of this version of gearmand by surprise; nothing for the job
        server of our own.

        Raises:
            JobServerUnavailable: no connection, or no answer in time.
            JobServerLost: the connection ended before the answer was whole.
            JobServerError: the server refused.
            ProtocolError: the other side is no job server.
        """
        return traps_of(self.version())

    def cancel(self, handle: bytes) -> bool:
        """Takes a job from its queue.

        gearmand 1.1.20 also forgets a job that runs: its caller is told that it failed, and its
        worker goes on. Ask for its status before.

        Args:
            handle: of the job, as this server named it.

        Returns:
            Whether the server knew the job.

        Raises:
            JobServerUnavailable: no connection, or no answer in time.
            JobServerLost: the connection ended before the answer was whole.
            JobServerError: the server refused.
            ProtocolError: the other side is no job server.
        """
        try:
            self._ask(f"cancel job {handle.decode('utf-8', 'backslashreplace')}", _line)
        except JobServerError as error:
            if error.code == "UNKNOWN_JOB":
                return False
            raise
        return True

    def _rows(self, command: str, parse: Callable[[str], Row]) -> Rows[Row]:
        rows = read_rows(parse, self._ask(command, AdminConnection.receive_rows))
        if rows.skipped_count:
            logger.warning(
                "the answer of %s to %r has %d rows that cannot be read, such as '%s'",
                self,
                command,
                rows.skipped_count,
                rows.skipped,
                extra={"action": "rows_skipped"},
            )
        return rows

    def _ask(
        self, command: str, receive: Callable[[AdminConnection, bytes], Answer | None]
    ) -> Answer:
        machine = AdminConnection()
        return ask(
            self._host,
            command,
            machine.command(command),
            partial(receive, machine),
            timeout=self._timeout,
            tls=self._tls,
        )
