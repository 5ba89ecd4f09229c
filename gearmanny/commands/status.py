"""The command `status` of every command line: job servers, functions, and processes."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gearmanny.commands import FAILED, OK, complain, write
from gearmanny.commands.conditions import SYNTAX, Condition, parse_condition
from gearmanny.commands.overview import Overview, as_json, overview_of
from gearmanny.commands.records import add_records, given_store
from gearmanny.commands.servers import add_tls, tls_of
from gearmanny.commands.survey import ask_servers, ask_store
from gearmanny.commands.tables import tables, traps
from gearmanny.errors import InvalidOption
from gearmanny.net.hosts import CONNECT_TIMEOUT, HOSTS
from gearmanny.net.tls import TLSOption
from gearmanny.payload.checks import TIME_LIMIT
from gearmanny.payload.fields import flag_type
from gearmanny.records.contract import Store

_INTERVAL = 2.0
"""Seconds between two looks of `--watch`."""

_CLEAR = "\033[H\033[2J"

_EPILOG = """
The exit code is 0 if everything is known and no condition of --fail-when is met, 1 if not, and 2 if
the command line is wrong.
"""


class Console(NamedTuple):
    """What the command has to do with."""

    hosts: Sequence[str]
    tls: TLSOption
    store: Store | None
    """The records; None where there are none."""
    expected: Iterable[str]
    """Functions that should have workers."""
    write: Callable[[str], object]
    """Writes a line."""
    complain: Callable[[str], object]
    """Writes a line to stderr."""
    is_terminal: bool
    """Whether lines are written to a terminal."""
    color: bool = True
    """Whether what is wrong may be red there."""


def add_status(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that every command line has.

    Args:
        parser: that of the command.
    """
    parser.epilog = _EPILOG
    parser.add_argument(
        "--watch",
        nargs="?",
        type=flag_type(TIME_LIMIT),
        const=_INTERVAL,
        metavar="SECONDS",
        help="show it again and again, until Ctrl-C (default: every %(const)g s)",
    )
    parser.add_argument(
        "--fail-when",
        dest="conditions",
        type=_condition,
        action="append",
        default=[],
        metavar="CONDITION",
        help=f"exit with 1 if a condition is met: {SYNTAX}, such as 'waiting>100'; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="write a JSON object on one line")


def run_status(options: Mapping[str, Any], console: Console) -> int:
    """Does what the arguments say.

    Args:
        options: the arguments, parsed.
        console: with what.

    Returns:
        The exit code.

    Raises:
        InvalidOption: an argument is wrong.
    """
    conditions = options["conditions"]
    if console.store is None:
        for condition in conditions:
            condition.check_without_records()
    if options["watch"] is None:
        return _show(options, console, conditions)
    if conditions:
        raise InvalidOption("--fail-when decides on the exit code, which --watch does not have.")
    with contextlib.suppress(KeyboardInterrupt):
        pause = threading.Event()
        while True:
            _show(options, console, ())
            pause.wait(options["watch"])
    return OK


def _condition(text: str) -> Condition:
    try:
        return parse_condition(text)
    except InvalidOption as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _show(options: Mapping[str, Any], console: Console, conditions: Sequence[Condition]) -> int:
    records = None if console.store is None else ask_store(console.store)
    servers = ask_servers(console.hosts, timeout=CONNECT_TIMEOUT, tls=console.tls)
    overview = overview_of(servers, records, console.expected)
    now = datetime.now(UTC)
    met = [line for condition in conditions for line in condition.met_by(overview)]
    if options["json"]:
        console.write(json.dumps(as_json(overview, now) | {"failed": met}))
    else:
        lines = list(_lines(overview, now, console, options))
        console.write("\n".join(lines))
        for line in met:
            console.complain(line)
    return OK if overview.is_whole and not met else FAILED


def _lines(
    overview: Overview, now: datetime, console: Console, options: Mapping[str, Any]
) -> Iterator[str]:
    is_terminal, environment = console.is_terminal, os.environ
    color = is_terminal and console.color and not environment.get("NO_COLOR")
    color = color and environment.get("TERM") != "dumb"
    size = shutil.get_terminal_size()
    width = size.columns if is_terminal else None
    if options["watch"] is None:
        yield from tables(overview, now, width=width, color=color)
        if not options["conditions"]:  # which are for monitors, who look again and again
            yield from traps(overview.servers, width)
        return
    # What there is most to see of stands above: the rest may not fit.
    rows = sorted(overview.rows, key=lambda row: (-row.abandoned, -row.waiting, -row.running))
    lines = list(tables(overview._replace(rows=rows), now, width=width, color=color))
    yield f"{_CLEAR if is_terminal else ''}{now.astimezone():%H:%M:%S}"
    # A line for the time, one for what did not fit, and one for the cursor.
    fitting = lines[: size.lines - 3] if is_terminal else lines
    yield from fitting
    if len(fitting) < len(lines):
        yield f"… {len(lines) - len(fitting)} more lines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command.

    Args:
        parser: that of the command.
    """
    parser.description = (
        "Shows the versions of job servers with their known traps, the jobs and workers of their "
        "functions, and, with --records, recorded jobs and the processes that run them."
    )
    parser.add_argument("host", nargs="*", default=HOSTS, help="name:port (default: %(default)s)")
    add_status(parser)
    add_tls(parser)
    add_records(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the command.

    Args:
        options: its arguments.

    Returns:
        The exit code.

    Raises:
        InvalidOption: an argument is wrong.
    """
    with given_store(options) as store:
        tls, is_terminal = tls_of(options), sys.stdout.isatty()
        console = Console(options.host, tls, store, (), write, complain, is_terminal)
        return run_status(vars(options), console)
