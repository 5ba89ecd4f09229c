"""The addresses of a name, looked up in a thread: resolvers know no timeout.

A name is looked up by one thread at a time, however many wait for it. So a resolver that does not
answer costs a thread for each name, and not for each call.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host

UNREACHABLE = (OSError, UnicodeError)
"""Errors of connecting. UnicodeError is raised for an invalid host name."""


class Address(NamedTuple):
    """One of the addresses of a host, as sockets take them."""

    family: int
    address: Any


Found = list[Address] | Exception
"""The addresses, or why there are none."""


Receive = Callable[[Found], object]


class _Lookups:
    """The names that are being looked up, and who is told of their addresses."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.receivers: dict[Host, list[Receive]] = {}


_lookups = _Lookups()


def resolve(host: Host, deadline: Deadline) -> list[Address]:
    """Returns the addresses of a host, in the order in which they are tried.

    Args:
        host: its name and port.
        deadline: when to give up.

    Raises:
        OSError: it has none, or there was no answer in time.
        UnicodeError: the name cannot be one.
    """
    answer: queue.SimpleQueue[Found] = queue.SimpleQueue()
    look_up(host, answer.put)
    try:
        return addresses_of(answer.get(timeout=deadline.remaining()))
    except queue.Empty:
        raise TimeoutError(NO_ANSWER) from None


NO_ANSWER = "timed out while its name was looked up"


def addresses_of(found: Found) -> list[Address]:
    """Returns what was found, or raises it."""
    if isinstance(found, Exception):
        raise found
    return found


def look_up(host: Host, receive: Receive) -> None:
    """Looks up a host. An address needs no looking up.

    Args:
        host: its name and port.
        receive: called with what was found, here or in another thread.
    """
    try:
        found = _ask(host, socket.AI_NUMERICHOST)
    except UNREACHABLE:
        _look_up_aside(host, receive)
    else:
        receive(found)


def _look_up_aside(host: Host, receive: Receive) -> None:
    receivers: list[Receive] = []
    try:
        with _lookups.lock:
            receivers = _lookups.receivers.setdefault(host, receivers)
            receivers.append(receive)
            is_first = len(receivers) == 1
        if is_first:
            threading.Thread(target=_look_up, args=(host, receivers), daemon=True).start()
    except RuntimeError:  # no thread can be started: a program ends, or there are too many
        _look_up(host, receivers)
    except BaseException:  # there may be no thread: the next one starts another
        _forget(host, receivers)
        raise


def _look_up(host: Host, receivers: list[Receive]) -> None:
    found: Found
    try:
        found = _ask(host)
    except Exception as error:
        found = error
    _forget(host, receivers)
    for receive in receivers:
        receive(found)


def _forget(host: Host, receivers: list[Receive]) -> None:
    with _lookups.lock:
        if _lookups.receivers.get(host) is receivers:
            del _lookups.receivers[host]


def _ask(host: Host, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM, flags=flags)
    addresses = list(dict.fromkeys(Address(family, address) for family, *_, address in found))
    return in_turns(addresses)


def in_turns(addresses: list[Address]) -> list[Address]:
    """Returns addresses with their families by turns, as RFC 8305 tells: where one family leads
    nowhere, the second attempt is one with the other."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address.family, []).append(address)
    return [a for a in chain.from_iterable(zip_longest(*families.values())) if a is not None]


def _after_fork_in_child() -> None:
    global _lookups  # noqa: PLW0603
    _lookups = _Lookups()  # its threads are the parent's


os.register_at_fork(after_in_child=_after_fork_in_child)
