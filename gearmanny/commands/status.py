"""`gearmanny status`."""

from __future__ import annotations

import argparse

from gearmanny.admin import JobServer as Admin
from gearmanny.errors import printable
from gearmanny.net.hosts import HOSTS
from gearmanny.protocol.versions import traps_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command.

    Args:
        parser: that of the command.
    """
    parser.description = (
        "Prints the version of a job server, the jobs and workers of its functions, and the known "
        "traps of that version."
    )
    parser.add_argument("host", nargs="*", default=HOSTS, help="name:port (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    """Runs the command.

    Args:
        options: its arguments.
    """
    for server in [Admin(host) for host in options.host]:
        version = server.version()
        print(f"{server}: {printable(version)}")  # noqa: T201
        for row in sorted(server.status()):
            waiting = row.total - row.running
            print(  # noqa: T201
                f"  {printable(row.function)}: {waiting} waiting, {row.running} running, "
                f"{row.workers} workers"
            )
        for trap in traps_of(version):
            print(f"  trap {trap.name}: {trap.text} {trap.advice}")  # noqa: T201
