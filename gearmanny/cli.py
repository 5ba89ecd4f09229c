"""The command line: `gearmanny`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence

from gearmanny import __version__
from gearmanny.admin import JobServer as Admin
from gearmanny.dispatching.options import DispatchOptions
from gearmanny.dispatching.process import dispatch
from gearmanny.embedded import JobServer
from gearmanny.errors import GearmanException, InvalidOption, printable
from gearmanny.logs import escape_unprintable
from gearmanny.net.hosts import DEFAULT_PORT, HOSTS
from gearmanny.payload.checks import ADDRESS, MEMORY, PORT_OR_ANY, Rule
from gearmanny.payload.fields import flag_type, options_of
from gearmanny.payload.masking import MASK
from gearmanny.protocol.versions import traps_of
from gearmanny.records.console import Console, add_jobs, run_jobs
from gearmanny.records.sql import SQLStore
from gearmanny.serving.process import serve_until

OK = 0
FAILED = 1
"""Exit codes. Wrong arguments exit with 2, as in every command that uses argparse."""

_BANNER = """\
gearmanny {version}: a Gearman job server at {host}, {kept}.
It is for development, tests and single-machine use. In production, use gearmand: only the hosts
change.
Quit with Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: its arguments; None for those of the command line.

    Returns:
        The exit code.

    Raises:
        SystemExit: the arguments are wrong, or ask for help.
    """
    escape_unprintable()
    parser = argparse.ArgumentParser(
        prog="gearmanny", description="Gearman, from the command line."
    )
    parser.add_argument("--version", action="version", version=f"gearmanny {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_server(commands.add_parser("server", help="run a job server for development and tests"))
    _add_dispatch(
        commands.add_parser("dispatch", help="hand over recorded jobs, apart from the workers")
    )
    _add_jobs(commands.add_parser("jobs", help="show and change recorded jobs"))
    _add_status(commands.add_parser("status", help="show what a job server says of itself"))
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        code: int | None = options.run(options)
    except GearmanException as error:
        print(f"gearmanny: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    return OK if code is None else code


def _add_server(parser: argparse.ArgumentParser) -> None:
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
    parser.set_defaults(run=_run_server)


def _run_server(options: argparse.Namespace) -> None:
    server = JobServer(
        options.port,
        address=options.address,
        store=options.store,
        max_memory=options.max_memory,
    )

    def print_banner() -> None:
        kept = f"background jobs kept in {options.store}" if options.store else "jobs in memory"
        banner = _BANNER.format(version=__version__, host=server.host, kept=kept)
        print(banner, flush=True)  # noqa: T201

    serve_until([signal.SIGINT, signal.SIGTERM], server, print_banner)


def _add_dispatch(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Hands over the recorded jobs that are due, and those that got lost. Every runner does so, "
        "unless told otherwise; any number of dispatchers work side by side."
    )
    _add_records(parser)
    parser.add_argument(
        "--host",
        dest="hosts",
        action="append",
        metavar="HOST",
        help=f"a job server, name:port or unix:/path; may be repeated (default: {HOSTS[0]})",
    )
    for name, described in options_of(DispatchOptions).items():
        assert isinstance(described.rule, Rule)
        default = getattr(DispatchOptions, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=flag_type(described.rule),
            metavar=described.metavar,
            default=default,
            help=f"{described.help} (default: {default:g})",
        )
    parser.set_defaults(run=_run_dispatch)


def _run_dispatch(options: argparse.Namespace) -> None:
    store = _store(options, "dispatch")
    logging.getLogger("gearmanny").setLevel(logging.INFO)
    dispatch(
        store,
        options.hosts,
        **{name: getattr(options, name) for name in options_of(DispatchOptions)},
    )


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.description = "Shows recorded jobs, queues them again, cancels and deletes them."
    _add_records(parser)
    add_jobs(parser)
    parser.set_defaults(run=_run_jobs)


def _run_jobs(options: argparse.Namespace) -> int:
    with contextlib.closing(_store(options, "jobs")) as store:
        return run_jobs(vars(options), Console(store, print, MASK))


def _add_records(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--records",
        metavar="URL",
        default=os.environ.get("GEARMANNY_RECORDS"),
        help="the database: sqlite:///jobs.db or postgresql://user:password@host/name. A password "
        "is better kept from the command line, in the environment variable GEARMANNY_RECORDS",
    )


def _store(options: argparse.Namespace, command: str) -> SQLStore:
    if not options.records:
        raise InvalidOption(
            "No database is given. Name the one that callers and workers have as records=: "
            f"gearmanny {command} --records postgresql://user:password@host/name."
        )
    return SQLStore(options.records)


def _add_status(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Prints the version of a job server, the jobs and workers of its functions, and the known "
        "traps of that version."
    )
    parser.add_argument("host", nargs="*", default=HOSTS, help="name:port (default: %(default)s)")
    parser.set_defaults(run=_print_status)


def _print_status(options: argparse.Namespace) -> None:
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
