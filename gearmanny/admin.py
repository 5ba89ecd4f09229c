"""Administration of a job server: its status, workers and version, and cancelling its jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from gearmanny.errors import InvalidOption, JobServerError
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
    """The administrative commands of a job server. Each uses a new connection."""

    def __init__(
        self, host: str, timeout: float | None = CONNECT_TIMEOUT, *, tls: TLSOption = None
    ) -> None:
        """
        Args:
            host: the job server, such as `"localhost:4730"`.
            timeout: seconds to wait for an answer, including the connection; None for no limit.
            tls: the TLS settings: True, a dict of PEM files (`"ca"`, `"cert"`, `"key"`) or an
                `ssl.SSLContext`; None for plain connections.

        Raises:
            InvalidOption: the host or `tls` is invalid.
        """
        self._host = parse_host(host)
        self._timeout = timeout
        self._tls = TLS.of(tls)

    def __str__(self) -> str:
        return str(self._host)

    def status(self) -> Rows[FunctionStatus]:
        """Returns the numbers of jobs and workers of every function that the server knows.

        Rows that cannot be read, because the name of a function contains a line break, are left
        out: a warning is logged, and `skipped_count` of the list is their number.

        Raises:
            JobServerUnavailable: the server could not be reached, or did not answer in time.
            JobServerLost: the connection ended before the answer was complete.
            JobServerError: the server refused the command.
            ProtocolError: the answer is not that of a job server.
        """
        return self._rows("status", parse_status)

    def workers(self) -> Rows[WorkerStatus]:
        """Returns the connections of the server. Clients are listed without functions.

        Rows that cannot be read are left out, as in `status`.

        Raises:
            JobServerUnavailable: the server could not be reached, or did not answer in time.
            JobServerLost: the connection ended before the answer was complete.
            JobServerError: the server refused the command.
            ProtocolError: the answer is not that of a job server.
        """
        return self._rows("workers", parse_worker)

    def version(self) -> str:
        """Returns the version of the server, such as `"1.1.20+ds"`.

        Raises:
            JobServerUnavailable: the server could not be reached, or did not answer in time.
            JobServerLost: the connection ended before the answer was complete.
            JobServerError: the server refused the command.
            ProtocolError: the answer is not that of a job server.
        """
        return self._ask("version", _line)

    def traps(self) -> list[Trap]:
        """Returns the known defects and surprises of this version of gearmand; an empty list for
        gearmanny's own job server.

        Raises:
            JobServerUnavailable: the server could not be reached, or did not answer in time.
            JobServerLost: the connection ended before the answer was complete.
            JobServerError: the server refused the command.
            ProtocolError: the answer is not that of a job server.
        """
        return traps_of(self.version())

    def cancel(self, handle: bytes) -> bool:
        """Removes a job from its queue.

        gearmand 1.1.20 also forgets a running job: its caller gets a failure while its worker
        continues. Check its status first.

        Args:
            handle: the handle of the job on this server.

        Returns:
            Whether the server knew the job.

        Raises:
            InvalidOption: the handle is not bytes.
            JobServerUnavailable: the server could not be reached, or did not answer in time.
            JobServerLost: the connection ended before the answer was complete.
            JobServerError: the server refused the command.
            ProtocolError: the answer is not that of a job server.
        """
        if not isinstance(handle, bytes):
            raise InvalidOption(f"A handle must be bytes, such as b'H:lap:1', not {handle!r}.")
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
