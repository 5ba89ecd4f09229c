"""Connecting in another thread, for those who wait for nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from gearmanny.errors import JobServerUnavailable
from gearmanny.net.hosts import Host, Servers
from gearmanny.net.permission import permission
from gearmanny.net.transport import Connection, connect, reason_of


class Aside:
    """Makes connections in threads that end with them."""

    def check(self, host: Host) -> None:
        """Raises an AssertionError in a test that must not connect to this host."""
        permission.ask(host)

    def new_lock(self) -> Any:
        """Returns a lock that its thread may acquire again."""
        return threading.RLock()

    def connect(
        self,
        host: Host,
        servers: Servers,
        receive: Callable[[Connection | JobServerUnavailable], object],
    ) -> Callable[[float], object]:
        """Connects to a job server.

        Args:
            host: the job server.
            servers: how the job servers of the client are reached.
            receive: called in the thread, with the connection or the reason why there is none.

        Returns:
            A function that waits for that, for so many seconds at most.

        Raises:
            RuntimeError: there can be no more threads.
        """
        over = threading.Event()

        def work() -> None:
            try:
                receive(_connected(host, servers))
            finally:
                over.set()

        threading.Thread(target=work, name=f"connecting to {host}", daemon=True).start()
        return over.wait


def _connected(host: Host, servers: Servers) -> Connection | JobServerUnavailable:
    try:
        return connect(host, servers.connect_timeout, tls=servers.tls)
    except JobServerUnavailable as error:
        return error
    except Exception as error:  # a certificate that cannot be read
        return JobServerUnavailable({str(host): reason_of(error)})


ASIDE = Aside()
