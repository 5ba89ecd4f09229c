"""A raw connection to a job server, written independently of the library's own parsing."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import Self

from gearmanny.protocol.packets import PacketType as P
from tests.support.servers import PATIENCE
from tests.unit.wire import request

Received = tuple[P, list[bytes]]


class Wire:
    """Sends packets and lines, and receives them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._stream = self._socket.makefile("rb")

    def send(self, *packets: tuple[P, tuple[bytes, ...]]) -> None:
        """Sends packets, in one piece."""
        self.send_bytes(b"".join(request(type, *arguments) for type, arguments in packets))

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> Received:
        """Returns the next packet, its body cut at every NUL."""
        header = self._stream.read(12)
        assert len(header) == 12, "the job server closed the connection"
        assert header[:4] == b"\0RES"
        body = self._stream.read(int.from_bytes(header[8:], "big"))
        return P(int.from_bytes(header[4:8], "big")), body.split(b"\0")

    def ask(self, type: P, *arguments: bytes) -> Received:
        """Sends a packet, and returns the next one that comes."""
        self.send((type, arguments))
        return self.receive()

    def tell(self, type: P, *arguments: bytes) -> None:
        """Sends a packet that has no answer, and returns when it was read."""
        self.send((type, arguments), (P.ECHO_REQ, (b"told",)))
        assert self.receive() == (P.ECHO_RES, [b"told"])

    def has_nothing(self) -> bool:
        """Returns whether the server has sent nothing since the last packet received."""
        return self.ask(P.ECHO_REQ, b"marker") == (P.ECHO_RES, [b"marker"])

    def submit(self, type: P, *arguments: bytes) -> bytes:
        """Submits a job; returns its handle."""
        answer, (handle, *_) = self.ask(type, *arguments)
        assert answer == P.JOB_CREATED, handle
        return handle

    def line(self, command: str) -> str:
        """Sends a command; returns its answer of one line."""
        self.send_bytes(f"{command}\r\n".encode())
        return self._stream.readline().decode().strip()

    def rows(self, command: str) -> list[str]:
        """Sends a command; returns the rows of its answer."""
        self.send_bytes(f"{command}\r\n".encode())
        rows = []
        while (row := self._stream.readline().decode()) != ".\n":
            assert row, "the job server closed the connection"
            rows.append(row.removesuffix("\n"))
        return rows

    def row(self, command: str, function: bytes) -> list[int]:
        """Sends a command; returns the numbers of the row of a function."""
        for row in self.rows(command):
            name, *numbers = row.split("\t")
            if name == function.decode():
                return [int(number) for number in numbers]
        return []

    def knows(self, client_id: bytes) -> bool:
        """Returns whether the server has a connection of this name."""
        return any(f" {client_id.decode()} :" in row for row in self.rows("workers"))

    def is_silent(self) -> bool:
        """Returns whether the server sends nothing for half a second."""
        return not select.select([self._socket], [], [], 0.5)[0]

    def is_closed(self) -> bool:
        """Returns whether the server closes the connection, whatever it sends before."""
        try:
            self.received_until_closed()
        except TimeoutError:
            return False
        return True

    def received_until_closed(self) -> bytes:
        """Returns what the server sends before it closes the connection."""
        with contextlib.suppress(ConnectionError):
            return self._stream.read()
        return b""

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
