"""One question to a job server, over a connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gearmanny.errors import JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host
from gearmanny.net.tls import TLS
from gearmanny.net.transport import connect

Answer = TypeVar("Answer")


def ask(
    host: Host,
    command: str,
    question: bytes,
    receive: Callable[[bytes], Answer | None],
    *,
    timeout: float | None,
    tls: TLS | None = None,
) -> Answer:
    """Returns the answer to a question.

    Args:
        host: the job server.
        command: the question, as an error names it.
        question: the same, as it is sent.
        receive: takes what arrives; returns the answer once it is whole.
        timeout: seconds that it may take, connecting included; None for as long as it takes.
        tls: how the job server is secured.

    Raises:
        JobServerUnavailable: no connection, or no answer in time.
        JobServerLost: the connection ended before the answer was whole.
        What `receive` raises.
    """
    deadline = Deadline(timeout)
    connection = connect(host, timeout, tls=tls)
    try:
        connection.send(question, deadline)
        while connection.wait(deadline.remaining()):
            answer = receive(bytes(connection.receive()))
            if answer is not None:
                return answer
    finally:
        connection.close()
    raise JobServerUnavailable({str(host): f"no answer to {command!r} within {timeout or 0:g} s"})
