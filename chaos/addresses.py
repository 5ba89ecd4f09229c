"""A name with several addresses, of which others are up every time.

    python -m chaos.addresses [SECONDS]

Every call connects anew. As long as one address answers, it has to be answered within the
connect timeout, whatever stands before it: addresses that do not answer, or refuse.
"""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from gearmanny.client import SimpleClient
from gearmanny.embedded import JobServer
from gearmanny.worker import BaseWorker
from tools.processes import working

NAME = "several.example"
LIVE = "127.0.0.51"
DEAF = [f"127.0.0.{number}" for number in range(52, 56)]
REFUSING = [f"127.0.0.{number}" for number in range(56, 60)]
CONNECT_TIMEOUT = 3.0


class Named(BaseWorker):
    name = "named"

    def task_echo(self, n: int) -> int:
        return n


@contextlib.contextmanager
def deaf(address: str, port: int) -> Iterator[None]:
    """Makes an address that neither accepts nor refuses a connection: its backlog is full."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(socket.create_server((address, port), backlog=0))
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((address, port))
        yield


def main(seconds: float = 30) -> bool:
    """Prints the figures; returns whether every call was answered in time."""
    chance, ask = random.Random(4730), socket.getaddrinfo
    addresses = [LIVE]

    def getaddrinfo(name: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        names = addresses if name == NAME and not kwargs.get("flags") else [name]
        return [found for each in names for found in ask(each, port, *args, **kwargs)]

    options: dict[str, Any] = {"timeout": 20, "connect_timeout": CONNECT_TIMEOUT}
    calls, longest, failed = 0, 0.0, []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(JobServer(address=LIVE))
        stack.enter_context(working(Named([server.host])))
        for address in DEAF:
            stack.enter_context(deaf(address, server.port))
        stack.callback(setattr, socket, "getaddrinfo", ask)
        socket.getaddrinfo = getaddrinfo
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            others = chance.sample([*DEAF, *REFUSING], chance.randrange(8))
            addresses[:] = chance.sample([LIVE, *others], len(others) + 1)
            begun, calls = time.monotonic(), calls + 1
            try:
                with SimpleClient([f"{NAME}:{server.port}"], **options) as client:
                    client.named_echo(n=calls)
            except Exception as error:
                failed.append(f"{addresses}: {type(error).__name__}: {error}")
            longest = max(longest, time.monotonic() - begun)
    print(f"addresses: {calls:,} calls, {len(failed)} failed; longest {longest:.1f} s")
    for text in failed:
        print(f"  {text}")
    return not failed


if __name__ == "__main__":
    sys.exit(not main(*map(float, sys.argv[1:])))
