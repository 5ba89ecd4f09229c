"""Questions that nothing waits for: for the log.

They are asked beside the connection, by a thread. Processes that were forked from each other share
the memory of the job servers that were asked, so a runner with many processes asks each of them
once.
"""

from __future__ import annotations

import mmap
import threading
import zlib
from collections.abc import Callable

from gearmanny.errors import GearmanException
from gearmanny.net.hosts import CONNECT_TIMEOUT, Host
from gearmanny.net.question import ask
from gearmanny.net.tls import TLS

_HOSTS = mmap.PAGESIZE
"""How many job servers are told apart, by their hash."""

_asked = mmap.mmap(-1, _HOSTS)


def ask_once(
    host: Host,
    tls: TLS | None,
    command: str,
    question: bytes,
    receive: Callable[[bytes], str | None],
    then: Callable[[str], object],
) -> None:
    """Asks a job server a question, unless it was asked before by a related process.

    Args:
        host: the job server.
        tls: the TLS settings; None for a plain connection.
        command: the question in the text of an error.
        question: the bytes to send.
        receive: takes received bytes; returns the answer when it is complete, and None before.
        then: called with the answer, in another thread. Not called if there is none in time.
    """
    place = zlib.crc32(str(host).encode()) % _HOSTS
    if _asked[place]:
        return
    _asked[place] = 1

    def ask_it() -> None:
        try:
            answer = ask(host, command, question, receive, timeout=CONNECT_TIMEOUT, tls=tls)
        except GearmanException:
            _asked[place] = 0  # to be asked by the next connection
        else:
            then(answer)

    threading.Thread(target=ask_it, name="gearmanny version", daemon=True).start()


def forget_all() -> None:
    """Has all job servers asked again."""
    _asked[:] = bytes(_HOSTS)
