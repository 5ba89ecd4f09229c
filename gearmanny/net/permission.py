"""Whether clients may connect to a job server: in tests, perhaps not."""

from __future__ import annotations

from collections.abc import Callable

from gearmanny.net.hosts import Host


class Permission:
    """The checks of the hosts that clients connect to, and the job servers of this process."""

    def __init__(self) -> None:
        self._checks: list[Callable[[Host], None]] = []
        self._own_ports: set[int] = set()

    def ask(self, host: Host) -> None:
        """Must be called before a client connects.

        Args:
            host: the job server.

        Raises:
            AssertionError: a test must not connect to it.
        """
        if self._checks and host.port not in self._own_ports:
            for check in self._checks:
                check(host)

    def require(self, check: Callable[[Host], None]) -> None:
        """Adds a check.

        Args:
            check: called with each host, except for job servers of this process; raises an
                `AssertionError` if a client must not connect to it.
        """
        self._checks.append(check)

    def add_own(self, port: int) -> None:
        """Notes that this process has started a job server.

        Args:
            port: its port.
        """
        self._own_ports.add(port)

    def remove_own(self, port: int) -> None:
        """Notes that a job server of this process has ended.

        Args:
            port: its port.
        """
        self._own_ports.discard(port)


permission = Permission()
