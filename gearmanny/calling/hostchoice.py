"""Which of several job servers a call goes to, and which are left alone for a while."""

from __future__ import annotations

import hashlib
import itertools

from gearmanny.net.deadline import Deadline
from gearmanny.net.hosts import Host

_AVOID_UNREACHABLE = 30.0
"""Seconds for which a host that did not answer is not tried while another one does."""


class HostChoice:
    """The hosts of one client. May be used by several threads."""

    def __init__(self, hosts: list[Host]) -> None:
        self._hosts = hosts
        self._turns = itertools.count()
        self._avoided: dict[Host, Deadline] = {}

    def order(self, key: str | None) -> list[Host]:
        """Returns the hosts in the order in which they are to be tried: in turn, or as a key
        prefers them."""
        if key is not None:
            return order_by(key, self._hosts)
        turn = next(self._turns) % len(self._hosts)
        return self._hosts[turn:] + self._hosts[:turn] if turn else self._hosts

    def hopeful_first(self, hosts: list[Host]) -> list[Host]:
        """Returns hosts in their order, those that failed lately behind the others."""
        return sorted(hosts, key=self._is_avoided)

    def avoid(self, host: Host) -> None:
        """Takes note that a host could not be reached."""
        self._avoided[host] = Deadline(_AVOID_UNREACHABLE)

    def trust(self, host: Host) -> None:
        """Takes note that a host was reached."""
        self._avoided.pop(host, None)

    def _is_avoided(self, host: Host) -> bool:
        until = self._avoided.get(host)
        return until is not None and until.remaining() != 0


def order_by(key: str, hosts: list[Host]) -> list[Host]:
    """Returns the hosts in the order in which a key prefers them: the same in every process,
    however they are listed, and when one of them is away the rest keeps its order."""

    def weight(host: Host) -> bytes:
        return hashlib.blake2b(f"{host} {key}".encode(), digest_size=8).digest()

    return sorted(hosts, key=weight) if len(hosts) > 1 else hosts
