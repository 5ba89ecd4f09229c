"""Connecting to a host with several addresses in an event loop.

`create_connection(happy_eyeballs_delay=…)` would look up the name itself, in a thread that outlives
its time, and not every event loop has it.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque

from gearmanny.net.deadline import Deadline
from gearmanny.net.forks import keep_from_children
from gearmanny.net.racing import pace
from gearmanny.net.resolving import Address


async def connect_to_any(addresses: list[Address], deadline: Deadline) -> socket.socket:
    """Returns a socket that is connected to the first address that answers.

    Args:
        addresses: in the order in which they are tried.
        deadline: until when all of them have to be tried. The caller keeps it.

    Raises:
        OSError: none answered; the error of the first one.
    """
    sockets: list[socket.socket] = []
    running: set[asyncio.Task[socket.socket]] = set()
    try:
        winner = await _race(deque(addresses), pace(len(addresses), deadline), running, sockets)
        sockets.remove(winner)
        return winner
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for sock in sockets:
            sock.close()


async def _race(
    left: deque[Address],
    delay: float,
    running: set[asyncio.Task[socket.socket]],
    sockets: list[socket.socket],
) -> socket.socket:
    failure: OSError | None = None
    while left or running:
        if left:
            running.add(asyncio.create_task(_connect(left.popleft(), sockets)))
        done, _ = await asyncio.wait(
            running, timeout=delay if left else None, return_when=asyncio.FIRST_COMPLETED
        )
        running -= done
        for task in done:
            try:
                return task.result()
            except OSError as error:
                failure = failure or error
    raise failure or OSError("it has no address")


async def _connect(address: Address, sockets: list[socket.socket]) -> socket.socket:
    # Kept before it is connected, because another thread may fork meanwhile.
    sock = keep_from_children(socket.socket(address.family, socket.SOCK_STREAM))
    sockets.append(sock)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, address.address)
    return sock
