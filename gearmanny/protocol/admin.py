"""The text commands of a job server, and their answers as typed rows.

A command is one line. Its answer is one line too, or lines up to one that
holds a single dot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from gearmanny.errors import JobServerError, ProtocolError, printable

Row = TypeVar("Row")

_WRAPPED_BELOW_ZERO = 2**31
"""gearmand counts unsigned, and a counter that fell below zero reads 4294967295."""


_LONGEST_ANSWER = 64 * 1024 * 1024
"""Bytes: a row for each of a million functions. What goes on is no job server."""


class FunctionStatus(NamedTuple):
    """A row of `status`."""

    function: str
    total: int
    """Jobs that wait or run."""
    running: int
    """Jobs that run."""
    workers: int
    """Workers that offer the function."""


class WorkerStatus(NamedTuple):
    """A row of `workers`: one connection. Clients are listed too, without functions."""

    fd: int
    address: str
    client_id: str
    functions: tuple[str, ...]


class Rows(list[Row]):
    """The rows of an answer that could be read."""

    skipped: str = ""
    """The first of the others, made printable."""
    skipped_count: int = 0
    """How many others there are."""


class AdminConnection:
    """The admin side of one connection: one command at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def command(self, line: str) -> bytes:
        """Returns the bytes that send one command.

        Raises:
            ProtocolError: it is more than one line.
        """
        if not line.isprintable():
            raise ProtocolError(f"not a command: {line!r}")
        self._buffer.clear()
        return line.encode() + b"\r\n"

    def receive_line(self, data: bytes) -> str | None:
        """Takes what arrived; returns the answer of a one-line command once it is whole.

        Raises:
            JobServerError: the server does not know the command, or refuses it.
            ProtocolError: the answer does not end.
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
        return printable(line.removeprefix("OK").strip())

    def receive_rows(self, data: bytes) -> list[str] | None:
        """Takes what arrived; returns the rows of the answer once they are whole.

        Raises:
            JobServerError: the server does not know the command, or refuses it.
            ProtocolError: the answer does not end.
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
            raise ProtocolError(f"an answer of more than {_LONGEST_ANSWER} bytes")


def read_rows(parse: Callable[[str], Row], rows: Iterable[str]) -> Rows[Row]:
    """Returns what could be read of some rows. One that cannot be read takes no other along:
    anybody may offer a function with a line break in its name.

    Args:
        parse: reads one, `parse_status` or `parse_worker`.
        rows: of an answer.
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
    """Reads a row of `status`: function, total, running, workers, with tabs between.

    Raises:
        ProtocolError: the row is not of that form.
    """
    try:
        function, total, running, workers = row.rsplit("\t", 3)
        return FunctionStatus(function, _count(total), _count(running), _count(workers))
    except ValueError:
        raise ProtocolError(f"not a row of 'status': {printable(row)}") from None


def parse_worker(row: str) -> WorkerStatus:
    """Reads a row of `workers`: `fd address id : function function`. Ids may hold spaces.

    Raises:
        ProtocolError: the row is not of that form.
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
