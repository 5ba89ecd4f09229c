"""Asks all job servers for their status, side by side, within a time that does not depend on how
many there are."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from gearmanny.admin import JobServer
from gearmanny.commands.overview import Records, Server
from gearmanny.errors import GearmanException, JobServerUnavailable
from gearmanny.net.deadline import Deadline
from gearmanny.net.tls import TLSOption
from gearmanny.records.contract import Store


def ask_servers(hosts: Sequence[str], *, timeout: float, tls: TLSOption = None) -> list[Server]:
    """Returns what is known of job servers.

    Args:
        hosts: them.
        timeout: seconds for all of it.
        tls: how they are secured.

    Raises:
        InvalidOption: a host or `tls` is invalid.
    """
    asked = [JobServer(host, timeout, tls=tls) for host in dict.fromkeys(hosts)]
    answers: dict[str, Server] = {}

    def ask(server: JobServer) -> None:
        try:
            answers[str(server)] = Server(str(server), server.version(), functions=server.status())
        except JobServerUnavailable as error:
            answers[str(server)] = Server(str(server), error="; ".join(error.failures.values()))
        except GearmanException as error:
            answers[str(server)] = Server(str(server), error=str(error))

    deadline = Deadline(timeout)
    threads = [threading.Thread(target=ask, args=(server,), daemon=True) for server in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(deadline.remaining())
    silent = f"no answer within {timeout:g} s"
    return [answers.get(str(each), Server(str(each), error=silent)) for each in asked]


def ask_store(store: Store) -> Records:
    """Returns what is known of recorded jobs.

    Args:
        store: where they are.
    """
    try:
        return Records(store.counts(), store.processes())
    except GearmanException as error:
        return Records(error=str(error))
