"""A single question to a job server, over a new connection."""

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
    """Asks a job server a question.

    Args:
        host: the job server.
        command: the question in the text of an error.
        question: the bytes to send.
        receive: takes received bytes; returns the answer when it is complete, and None before.
            Its exceptions are passed on.
        timeout: seconds to wait at most, including the connection; None for no limit.
        tls: the TLS settings; None for a plain connection.

    Returns:
        The answer.

    Raises:
        JobServerUnavailable: the server could not be reached, or did not answer in time.
        JobServerLost: the connection ended before the answer was complete.
    """
    deadline = Deadline(timeout)
    connection = connect(host, timeout, tls=tls)
    try:
        connection.send(question, deadline)
        while connection.wait(deadline.remaining()):
            answer = receive(bytes(connection.receive()))
            if answer is not None:
                return answer
            if deadline.has_passed():  # there may always be something to read
                break
    finally:
        connection.close()
    raise JobServerUnavailable({str(host): f"no answer to {command!r} within {timeout or 0:g} s"})
