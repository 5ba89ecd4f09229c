"""`gearmanny server`: a job server for development and tests."""

from __future__ import annotations

import argparse
import signal

from gearmanny import __version__
from gearmanny.commands import FAILED, OK, complain, write
from gearmanny.embedded import JobServer
from gearmanny.errors import InvalidOption
from gearmanny.net.hosts import DEFAULT_PORT
from gearmanny.payload.checks import ADDRESS, MEMORY, PORT_OR_ANY
from gearmanny.payload.fields import flag_type
from gearmanny.serving.process import serve_until

_BANNER = """\
gearmanny {version}: a Gearman job server at {host}, {kept}.
It is for development, tests and single-machine use. In production, use gearmand: only the hosts
change.
Quit with Ctrl-C."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command.

    Args:
        parser: that of the command.
    """
    parser.description = "Runs a job server for development, tests and single-machine use."
    parser.add_argument(
        "--port",
        type=flag_type(PORT_OR_ANY),
        default=DEFAULT_PORT,
        help="port to listen on; 0 chooses a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--address",
        type=flag_type(ADDRESS),
        default="127.0.0.1",
        help="address of this machine to listen on; there is no authentication "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--store",
        metavar="FILE",
        help="file that keeps background and scheduled jobs across restarts, even after kill -9 "
        "(default: none)",
    )
    parser.add_argument(
        "--max-memory",
        type=flag_type(MEMORY),
        metavar="MIB",
        help="MiB that jobs may take before new ones are refused "
        "(default: a quarter of the memory)",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command.

    Args:
        options: its arguments.

    Returns:
        The exit code.
    """
    server = JobServer(
        options.port,
        address=options.address,
        store=options.store,
        max_memory=options.max_memory,
    )

    def print_banner() -> None:
        kept = f"background jobs kept in {options.store}" if options.store else "jobs in memory"
        write(_BANNER.format(version=__version__, host=server.host, kept=kept))

    try:
        serve_until([signal.SIGINT, signal.SIGTERM], server, print_banner)
    except InvalidOption as error:  # the port is taken, or the file cannot be used
        complain(str(error))
        return FAILED
    return OK
