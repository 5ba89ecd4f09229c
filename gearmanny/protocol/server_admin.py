"""The text commands, on the job server's side."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from gearmanny.errors import ProtocolError
from gearmanny.protocol.admin import FunctionStatus, WorkerStatus
from gearmanny.protocol.broker import Broker
from gearmanny.protocol.queue import NO_LIMIT
from gearmanny.protocol.room import Refusal

_HTTP = re.compile(rb"[!-~]+ [!-~]+ HTTP/[0-9.]+\s*")
"""The first line of an HTTP request. Any web page can make a browser send one to this machine, with
packets in its body."""

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_LIMIT = re.compile(r"-?[0-9]{1,100}")
"""A limit on the number of jobs; below 1, there is none."""


class TextCommands:
    """Answers text commands. Names that are not UTF-8 are passed through as bytes."""

    def __init__(self, broker: Broker, version: str, pid: int) -> None:
        """
        Args:
            broker: the jobs and connections that the commands list and change.
            version: the answer to `version`.
            pid: the answer to `getpid`.
        """
        self._broker = broker
        self._queue = broker.queue
        self._version = version
        self._pid = pid
        self._commands: dict[str, Callable[[list[str]], str]] = {
            "status": self._status,
            "prioritystatus": self._priority_status,
            "workers": self._workers,
            "show jobs": self._show_jobs,
            "show unique jobs": self._show_unique_jobs,
            "cancel job": self._cancel_job,
            "maxqueue": self._max_queue,
            "create function": self._create_function,
            "drop function": self._drop_function,
            "version": lambda _: f"OK {self._version}\n",
            "getpid": lambda _: f"OK {self._pid}\n",
            "verbose": lambda _: "OK ERROR\n",
        }

    def answer(self, line: bytes) -> bytes:
        """Runs a command.

        Args:
            line: the command, with or without the end of the line.

        Returns:
            The answer, to be sent as it is.

        Raises:
            ProtocolError: the line is part of an HTTP request. Close the connection.
        """
        words = [_text(word) for word in line.split()]
        for length in (3, 2, 1):
            command = self._commands.get(" ".join(words[:length]).lower())
            if command:
                try:
                    return command(words[length:]).encode(errors="surrogateescape")
                except Refusal as refusal:
                    return b"ERR %s %s\r\n" % (refusal.code, refusal.text.replace(b" ", b"+"))
        if _HTTP.fullmatch(line):
            raise ProtocolError("this is an HTTP request, and this is a Gearman job server")
        name = words[0] if words else ""
        text = f"ERR UNKNOWN_COMMAND Unknown+server+command+{name}\r\n"
        return text.encode(errors="surrogateescape")

    def _status(self, arguments: list[str]) -> str:
        return _rows(
            "\t".join(
                map(
                    str,
                    FunctionStatus(
                        _shown(function.name),
                        function.total,
                        function.running,
                        len(function.workers),
                    ),
                )
            )
            for function in self._queue.functions.values()
        )

    def _priority_status(self, arguments: list[str]) -> str:
        return _rows(
            "\t".join(
                (
                    _shown(function.name),
                    *(str(len(waiting)) for waiting in function.waiting),
                    str(len(function.workers)),
                )
            )
            for function in self._queue.functions.values()
        )

    def _workers(self, arguments: list[str]) -> str:
        rows = (
            WorkerStatus(
                connection.number,
                connection.address,
                _shown(connection.client_id),
                tuple(_shown(function.name) for function in connection.offered),
            )
            for connection in self._broker.connections
        )
        return _rows(
            " ".join((str(row.fd), row.address, row.client_id, ":", *row.functions)) for row in rows
        )

    def _show_jobs(self, arguments: list[str]) -> str:
        return _rows(
            f"{_shown(job.handle)}\t{job.retries}\t{int(not job.wanted)}\t{int(job.background)}"
            for job in self._queue.jobs.values()
        )

    def _show_unique_jobs(self, arguments: list[str]) -> str:
        return _rows(_shown(job.unique) for job in self._queue.jobs.values())

    def _cancel_job(self, arguments: list[str]) -> str:
        if len(arguments) != 1:
            return _wrong_arguments("cancel+job")
        found = self._broker.cancel(_bytes(arguments[0]))
        return "OK\r\n" if found else "ERR UNKNOWN_JOB\r\n"

    def _max_queue(self, arguments: list[str]) -> str:
        name, *limits = arguments or [""]
        if not name or len(limits) not in (0, 1, 3) or not all(map(_LIMIT.fullmatch, limits)):
            return _wrong_arguments("maxqueue")
        function = self._queue.functions.get(_bytes(name))
        if function:
            numbers = tuple(map(int, limits))
            function.limits = numbers * 3 if len(numbers) == 1 else numbers or NO_LIMIT
        return "OK\r\n"

    def _create_function(self, arguments: list[str]) -> str:
        if len(arguments) != 1:
            return _wrong_arguments("create+function")
        self._queue.function(_bytes(arguments[0]))
        return "OK\r\n"

    def _drop_function(self, arguments: list[str]) -> str:
        if len(arguments) != 1:
            return _wrong_arguments("drop+function")
        name = _bytes(arguments[0])
        if name not in self._queue.functions:
            return "ERR function not found\r\n"
        if not self._broker.drop(name):
            return "ERR there are still connected workers or executing clients\r\n"
        return "OK\r\n"


def _rows(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in (*rows, "."))


def _wrong_arguments(command: str) -> str:
    return f"ERR INVALID_ARGUMENTS The+arguments+of+{command}+are+not+right\r\n"


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def _shown(name: bytes) -> str:
    """Returns a name for use in a row. Control characters and line separators are escaped, as
    `\\x0a`, so that they cannot break the row."""
    if name.isascii() and name.isalnum():  # a shortcut for most names
        return name.decode()
    return _UNSAFE.sub(lambda found: f"\\x{ord(found[0]):02x}", _text(name))


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")
