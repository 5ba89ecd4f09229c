"""The text commands of a job server, and their answers as typed rows.

A command is one line. Its answer is one line, too, or several lines that end
with a single dot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from gearmanny.errors import JobServerError, ProtocolError, printable

Row = TypeVar("Row")

_WRAPPED_BELOW_ZERO = 2**31
"""gearmand's counters are unsigned: one that fell below zero reads 4294967295."""

_LONGEST_ANSWER = 64 * 1024 * 1024
"""Bytes: a row for each of a million functions. A longer answer is not that of a job server."""


class FunctionStatus(NamedTuple):
    """A row of `status`."""

    function: str
    total: int
    """Number of jobs that are waiting or running."""
    running: int
    """Number of jobs that are running."""
    workers: int
    """Number of workers that offer the function."""


class WorkerStatus(NamedTuple):
    """A row of `workers`: one connection. Clients are listed, too, without functions."""

    fd: int
    address: str
    client_id: str
    functions: tuple[str, ...]


class Rows(list[Row]):
    """The readable rows of an answer.

    Attributes:
        skipped: the first row that cannot be read, made printable; empty if there is none.
        skipped_count: the number of rows that cannot be read.
    """

    skipped: str = ""
    skipped_count: int = 0


class AdminConnection:
    """The administrative side of a connection: one command at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def command(self, line: str) -> bytes:
        """Begins a command.

        Args:
            line: the command, without the end of the line.

        Returns:
            The bytes to send.

        Raises:
            ProtocolError: the line contains a line break or another control character.
        """
        if not line.isprintable():
            raise ProtocolError(f"not a command: {line!r}")
        self._buffer.clear()
        return line.encode() + b"\r\n"

    def receive_line(self, data: bytes) -> str | None:
        """Processes received bytes of the answer to a one-line command.

        Args:
            data: the bytes.

        Returns:
            The answer, without the leading `OK`; None while it is incomplete.

        Raises:
            JobServerError: the server does not know the command, or refused it.
            ProtocolError: the answer is too long, or not that of a job server.
        """
        self._take(data)
        if not self._buffer.endswith(b"\n"):
            return None
        line = self._buffer.decode(errors="replace").strip()
        if line.startswith("ERR "):
            code, _, text = line.removeprefix("ERR ").partition(" ")
            if not code.isupper():  # "ERR there are still connected workers …"
                code, text = "ERR", f"{code} {text}"
            raise JobServerError(code, text.replace("+", " "))
        answer = line.removeprefix("OK")
        if answer == line and not line[:1].isdigit():  # the version of an old server
            raise ProtocolError(f"not the answer of a job server: '{printable(line)}'")
        return printable(answer.strip())

    def receive_rows(self, data: bytes) -> list[str] | None:
        """Processes received bytes of an answer of several rows.

        Args:
            data: the bytes.

        Returns:
            The rows; None while they are incomplete.

        Raises:
            JobServerError: the server does not know the command, or refused it.
            ProtocolError: the answer is too long.
        """
        self._take(data)
        if self._buffer.startswith(b"ERR ") and b"\t" not in self._buffer:
            self.receive_line(b"")
        end = self._buffer[-4:] if len(self._buffer) > 3 else b"\n" + self._buffer
        if not end.endswith((b"\n.\n", b"\n.\r\n")):
            return None
        return self._buffer.decode(errors="replace").replace("\r\n", "\n").split("\n")[:-2]

    def _take(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _LONGEST_ANSWER:
            raise ProtocolError(f"an answer is over the limit of {_LONGEST_ANSWER} bytes")


def read_rows(parse: Callable[[str], Row], rows: Iterable[str]) -> Rows[Row]:
    """Parses the rows of an answer.

    Rows that cannot be read are skipped: any worker may offer a function whose name contains a
    line break, and must not hide all the others.

    Args:
        parse: the parser of one row, `parse_status` or `parse_worker`.
        rows: the rows.

    Returns:
        The values of the readable rows.
    """
    read: Rows[Row] = Rows()
    for row in rows:
        try:
            read.append(parse(row))
        except ProtocolError:
            read.skipped = read.skipped or printable(row)
            read.skipped_count += 1
    return read


def parse_status(row: str) -> FunctionStatus:
    """Parses a row of `status`: function, total, running and workers, separated by tabs.

    Args:
        row: the row.

    Returns:
        Its values.

    Raises:
        ProtocolError: it is not such a row.
    """
    try:
        function, total, running, workers = row.rsplit("\t", 3)
        return FunctionStatus(function, _count(total), _count(running), _count(workers))
    except ValueError:
        raise ProtocolError(f"not a row of 'status': {printable(row)}") from None


def parse_worker(row: str) -> WorkerStatus:
    """Parses a row of `workers`: `fd address id : function function`. Ids may contain spaces.

    Args:
        row: the row.

    Returns:
        Its values.

    Raises:
        ProtocolError: it is not such a row.
    """
    try:
        # A connection without functions ends in " :".
        head, _, functions = (row + " ").rpartition(" : ")
        fd, address, client_id = head.split(" ", 2)
        return WorkerStatus(int(fd), address, client_id, tuple(functions.split()))
    except ValueError:
        raise ProtocolError(f"not a row of 'workers': {printable(row)}") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"not a count: {text!r}")
    number = int(text)
    return 0 if number > _WRAPPED_BELOW_ZERO else number
